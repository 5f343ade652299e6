"use strict";
{
  // All text is inserted as text, never as HTML, since expressions and names may come from other people.
  const data = JSON.parse(document.getElementById("data").textContent);
  const find = id => document.getElementById(id);
  const shown = data.shown.map(i => data.rows[i]);
  const state = { kind: "", row: null }; // "" and null stand for all kinds and all rows

  function element(name, attributes = {}, ...children) {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }
  function drawn(name, attributes = {}, ...children) {
    const node = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    node.append(...children);
    return node;
  }
  const counted = (n, what) => `${n} ${what}${n === 1 ? "" : "s"}`;
  const signed = x => (x < 0 ? "−" : "+") + Math.abs(x).toFixed(3);

  // Images are loaded when they come near the screen.
  const load = image => { image.src = data.images[image.dataset.image]; };
  const watcher = "IntersectionObserver" in window && new IntersectionObserver(entries => {
    for (const entry of entries) if (entry.isIntersecting) { load(entry.target); watcher.unobserve(entry.target); }
  }, { rootMargin: "400px" });

  function rectangle(box, attributes) {
    const [x, y, right, bottom] = box;
    return drawn("rect", { x, y, width: right - x, height: bottom - y, fill: "none", "vector-effect": "non-scaling-stroke", ...attributes });
  }

  // An image with the boxes of some methods (indices into `shown`) and the true box on top.
  function picture(query, methods, withPaths) {
    const frame = element("div", { class: "picture" });
    const size = data.sizes[query.image];
    if (size) {
      frame.style.aspectRatio = `${size[0]} / ${size[1]}`;
      if (data.images[query.image]) {
        const image = element("img", { alt: query.text, "data-image": query.image });
        watcher ? watcher.observe(image) : load(image);
        frame.append(image);
      } else frame.append(element("div", { class: "lost" }, data.lost[query.image] ?? ""));
      const thick = methods.length > 3 ? 2.5 : 6; // with one or two methods, the true box is drawn inside
      const over = drawn("svg", { viewBox: `0 0 ${size[0]} ${size[1]}`, "aria-hidden": "true" });
      for (const m of methods) {
        const path = withPaths ? query.paths[m].slice(0, -1) : [];
        path.forEach((box, step) => over.append(rectangle(box, {
          stroke: shown[m].color, "stroke-width": 1.5, "stroke-opacity": 0.3 + 0.6 * (step + 1) / path.length, class: "step",
        })));
        for (const box of query.boxes[m] ?? []) over.append(rectangle(box, { stroke: shown[m].color, "stroke-width": thick, class: "answer" }));
      }
      for (const box of query.truth) over.append(rectangle(box, { "stroke-width": 3.5, class: "truth-edge" }), rectangle(box, { "stroke-width": 1.5, class: "truth" }));
      frame.append(over);
    } else frame.append(element("div", { class: "lost" }, data.lost[query.image] ?? ""));
    return frame;
  }

  function figure(index, methods, { withPaths = false, withIous = true } = {}) {
    const query = data.queries[index];
    const caption = element("figcaption", {}, query.text, " ", element("small", {}, query.truth.length ? query.kind : "means nothing"));
    if (withIous) for (const m of methods) {
      const steps = withPaths && query.paths[m].length > 1 ? `, ${counted(query.paths[m].length - 1, "move")}` : "";
      const worth = query.ious[m] === null ? `F1 ${query.f1[m].toFixed(2)}` : `IoU ${query.ious[m].toFixed(3)}`;
      const count = query.boxes[m]?.length;
      const said = count === undefined ? `no box: ${query.why[m]}` : count === 0 ? `nothing, ${worth}` : `${worth}${count > 1 ? `, ${count} boxes` : ""}${steps}`;
      caption.append(element("br"), dot(m), methods.length > 1 ? `${shown[m].method} ` : "", said);
    }
    return element("figure", { class: "case" }, picture(query, methods, withPaths), caption);
  }

  function dot(m) {
    const node = element("span", { class: "dot" });
    node.style.background = shown[m].color;
    return node;
  }
  const key = m => element("span", { class: "key" }, dot(m), shown[m].method);

  function gallery(...figures) {
    return element("div", { class: "gallery" }, ...figures);
  }

  function showCases() {
    const place = find("gallery");
    const m = data.shown.indexOf(state.row);
    if (state.row !== null && m < 0) {
      place.replaceChildren(element("p", {}, "Floors have no pictures: choose another method, or all methods."));
      return;
    }
    if (state.row === null) {
      const all = shown.map((_, i) => i);
      const chosen = data.samples.filter(i => !state.kind || data.queries[i].kind === state.kind);
      place.replaceChildren(
        element("p", {}, "Evenly spaced expressions with the box of every method. Choose a method above for its worst and most typical cases, with paths."),
        element("p", {}, ...all.map(i => key(i))),
        gallery(...chosen.map(i => figure(i, all, { withIous: false }))),
      );
      if (!chosen.length) place.append(element("p", { class: "muted" }, "No expression here is of this kind; choose a method."));
      return;
    }
    const { worst, typical } = data.cases[m];
    const figures = part => gallery(...part[state.kind].map(i => figure(i, [m], { withPaths: true })));
    place.replaceChildren(
      element("h3", {}, `${shown[m].method}: worst cases`), figures(worst),
      element("h3", {}, `${shown[m].method}: most typical cases, nearest to its median IoU`), figures(typical),
    );
  }

  // The table shows the values of the chosen kind, and hides columns without values by kind.
  const whole = new Map([...document.querySelectorAll("#figures [data-figure]")].map(cell => [cell, [...cell.childNodes]]));
  function showFigures() {
    for (const [cell, nodes] of whole) {
      const figures = data.rows[cell.parentNode.dataset.row].figures[state.kind];
      const value = figures[cell.dataset.figure];
      cell.dataset.value = value;
      if (!state.kind) cell.replaceChildren(...nodes);
      else cell.replaceChildren(cell.dataset.figure === "n" ? String(value) : value === null ? "–" : value.toFixed(3));
    }
    find("figures").dispatchEvent(new Event("change")); // the values of the sorted column have changed
    for (const cell of document.querySelectorAll("#figures .whole")) cell.hidden = Boolean(state.kind);
    for (const line of document.querySelectorAll("#curves polyline")) line.setAttribute("points", data.rows[line.dataset.row].curves[state.kind]);
    for (const chart of document.querySelectorAll("figure[data-kind]")) chart.hidden = Boolean(state.kind) && chart.dataset.kind !== state.kind;
    for (const part of document.querySelectorAll("tr[data-row], polyline[data-row], g[data-row], figure[data-row]")) {
      const other = state.row !== null && Number(part.dataset.row) !== state.row;
      if (part.tagName === "g") part.setAttribute("opacity", other ? 0.2 : 1);
      else if (part.tagName === "polyline") part.setAttribute("stroke-opacity", other ? 0.15 : 1);
      else part.hidden = other;
    }
  }

  // Differences of a pair; the data has them for A before B, and they are negated where B comes before A.
  const turned = ci => ci && [-ci[1], -ci[0]]; // null: too few images
  function differences(a, b) {
    const rows = data.pairs[a < b ? `${a},${b}` : `${b},${a}`];
    return rows.map(([kind, n, iou, ci, acc, accCi, onlyA, onlyB]) => a < b
      ? { kind, n, iou, ci, acc, accCi, onlyA, onlyB }
      : { kind, n, iou: -iou, ci: turned(ci), acc: -acc, accCi: turned(accCi), onlyA: onlyB, onlyB: onlyA });
  }
  const colorOf = ci => !ci ? "" : ci[0] > 0 ? "better" : ci[1] < 0 ? "worse" : "";
  function interval(value, ci, scale) {
    if (!ci) return element("td", { class: "text" }, element("small", {}, "too few images"));
    const [low, high] = ci;
    const x = v => 70 + 64 * v / scale;
    const line = drawn("svg", { viewBox: "0 0 140 16", width: 140, height: 16, class: colorOf(ci) });
    line.append(
      drawn("line", { x1: 70, x2: 70, y1: 0, y2: 16, stroke: "#868e96" }),
      drawn("line", { x1: x(low), x2: x(high), y1: 8, y2: 8, stroke: "currentColor", "stroke-width": 3 }),
      drawn("circle", { cx: x(value), cy: 8, r: 4, fill: "currentColor" }),
    );
    return element("td", { class: "text" }, line, element("small", {}, `${signed(low)} to ${signed(high)}`));
  }

  function showPair() {
    const [a, b] = [Number(find("a").value), Number(find("b").value)];
    const body = find("differences").tBodies[0];
    if (a === b) {
      body.replaceChildren(element("tr", {}, element("td", { colspan: 8 }, "Choose two different methods.")));
      for (const id of ["scatter", "cells", "ahead-a", "ahead-b"]) find(id).replaceChildren();
      return;
    }
    const parts = differences(a, b);
    const scale = Math.max(0.02, ...parts.flatMap(d => [...(d.ci || []), ...(d.accCi || [])].map(Math.abs)));
    body.replaceChildren(...parts.map(d => element("tr", d.kind === state.kind ? { class: "chosen" } : {},
      element("td", {}, d.kind || "all"), element("td", {}, String(d.n)),
      element("td", { class: colorOf(d.ci) }, signed(d.iou)), interval(d.iou, d.ci, scale),
      element("td", { class: colorOf(d.accCi) }, signed(d.acc)), interval(d.acc, d.accCi, scale),
      element("td", {}, String(d.onlyA)), element("td", {}, String(d.onlyB)))));
    showScatter(a, b);
    showCells(a, b);
    const valueOf = (query, m) => query.ious[m] ?? query.f1[m];
    const gain = query => valueOf(query, b) - valueOf(query, a);
    const pictured = Object.entries(data.queries).filter(([, query]) => !state.kind || query.kind === state.kind);
    const ahead = sign => {
      const best = pictured.filter(([, query]) => sign * gain(query) > 0.005).sort((x, y) => sign * (gain(y[1]) - gain(x[1]))).slice(0, 4);
      return best.length ? best.map(([i]) => figure(i, [a, b], { withPaths: true })) : [element("p", {}, "Nowhere.")];
    };
    find("ahead-b").replaceChildren(...ahead(1));
    find("ahead-a").replaceChildren(...ahead(-1));
  }

  function showScatter(a, b) {
    const side = 260, parts = [];
    for (const t of [0, 0.5, 1]) parts.push(
      drawn("line", { x1: t * side, x2: t * side, y1: 0, y2: side, stroke: "#868e96", "stroke-opacity": 0.4 }),
      drawn("line", { x1: 0, x2: side, y1: t * side, y2: t * side, stroke: "#868e96", "stroke-opacity": 0.4 }),
      drawn("text", { x: t * side, y: side + 17, "font-size": 12, "text-anchor": "middle" }, String(t)),
      drawn("text", { x: -7, y: side - t * side + 4, "font-size": 12, "text-anchor": "end" }, String(t)));
    parts.push(
      drawn("line", { x1: 0, x2: side, y1: side, y2: 0, stroke: "#868e96" }),
      drawn("text", { x: side / 2, y: side + 32, "font-size": 12, "text-anchor": "middle" }, "A"),
      drawn("text", { x: -40, y: side / 2 + 4, "font-size": 12, "text-anchor": "middle" }, "B"));
    for (const point of data.points) if (!state.kind || point.kind === state.kind) {
      const [x, y] = [point.ious[a], point.ious[b]];
      parts.push(drawn("circle", { cx: x * side, cy: side - y * side, r: 3.5, fill: y > x ? "#2f9e44" : y < x ? "#e03131" : "#868e96", "fill-opacity": 0.55 },
        drawn("title", {}, `${point.text}: A ${x.toFixed(3)}, B ${y.toFixed(3)}`)));
    }
    find("scatter").replaceChildren(...parts);
  }

  function showCells(a, b) {
    find("cells").replaceChildren(...shown[a].cells.map((before, i) => {
      const gain = before === null ? null : shown[b].cells[i] - before;
      return drawn("g", { transform: `translate(${i % 3 * 50} ${Math.floor(i / 3) * 50})` },
        drawn("rect", { x: 0.5, y: 0.5, width: 49, height: 49, stroke: "#868e96", "stroke-opacity": 0.5,
          fill: gain > 0 ? "#2f9e44" : "#e03131", "fill-opacity": Math.abs(gain ?? 0) * 0.7 }),
        drawn("text", { x: 25, y: 29, "font-size": 12, "text-anchor": "middle" }, gain === null ? "–" : signed(gain).slice(0, 5)));
    }));
  }

  function show() {
    showFigures();
    showCases();
    if (find("a")) showPair();
  }
  if (find("a")) { // the best two methods at first, the better one as B
    const best = shown.map((_, i) => i).sort((x, y) => shown[y].figures[""].iou - shown[x].figures[""].iou);
    find("b").value = best[0];
    find("a").value = best[1];
    for (const id of ["a", "b"]) find(id).addEventListener("change", showPair);
  }
  find("kind")?.addEventListener("change", event => { state.kind = event.target.value; show(); });
  find("method").addEventListener("change", event => { state.row = event.target.value === "" ? null : Number(event.target.value); show(); });
  show();
}
