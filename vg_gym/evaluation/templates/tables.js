"use strict";
// A click (or Enter) on a column heading sorts the table: numbers in descending order first, names from A to Z.
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
    if (a === null || b === null) return (a === null) - (b === null); // empty cells come last
    return typeof a === "string" ? a.localeCompare(b) : b - a;
  };
  const headings = [...table.tHead.rows[0].cells];
  const directions = column =>
    order.length && typeof valueOf(order[0], column) === "string" ? ["ascending", "descending"] : ["descending", "ascending"];
  const sort = () => {
    const column = headings.findIndex(heading => heading.hasAttribute("aria-sort"));
    if (column < 0) { // the original order
      body.append(...order);
      return;
    }
    const sorted = [...order].sort((a, b) => compare(valueOf(a, column), valueOf(b, column)));
    body.append(...(headings[column].getAttribute("aria-sort") === directions(column)[0] ? sorted : sorted.reverse()));
  };
  headings.forEach((heading, column) => {
    const button = document.createElement("button");
    button.textContent = heading.textContent;
    heading.replaceChildren(button);
    button.addEventListener("click", () => {
      const [first, second] = directions(column), before = heading.getAttribute("aria-sort");
      for (const other of headings) other.removeAttribute("aria-sort");
      if (before !== second) heading.setAttribute("aria-sort", before === first ? second : first); // the third click restores the original order
      sort();
    });
  });
  table.addEventListener("change", sort); // the values have changed
}
