"use strict";
// A click, or Enter, on a heading of a table sorts it: figures from high to low first, names from A to Z.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const order = [...body.rows];
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent.trim();
    const number = parseFloat(text.replace(/,/g, ""));
    return column === 0 || cell.classList.contains("text") ? text : Number.isNaN(number) ? null : number;
  };
  const compare = (a, b) => {
    if (a === null || b === null) return (a === null) - (b === null); // what is empty comes last
    return typeof a === "string" ? a.localeCompare(b) : b - a;
  };
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const before = heading.getAttribute("aria-sort");
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      const text = order.length && typeof valueOf(order[0], column) === "string";
      const [first, second] = text ? ["ascending", "descending"] : ["descending", "ascending"];
      if (before === second) { // the third click brings the order of the page back
        body.append(...order);
        return;
      }
      heading.setAttribute("aria-sort", before === first ? second : first);
      const sorted = [...order].sort((a, b) => compare(valueOf(a, column), valueOf(b, column)));
      body.append(...(before === first ? sorted.reverse() : sorted));
    });
  });
}
