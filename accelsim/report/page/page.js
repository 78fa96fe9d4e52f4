"use strict";
// What a report's page does in a browser: charts drawn from the page's own data, tables that sort, filter and give CSV.
// Nothing is fetched.  Without it all tables are there as they stand.

const COLOURS = ["#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#7F7F7F", "#8A6D3B"];
const data = JSON.parse(document.getElementById("data").textContent);
const colour = (index) => COLOURS[index % COLOURS.length];
const number = (value) =>
  value === null || value === undefined || value === "" ? "" :
  typeof value !== "number" ? String(value) :
  Number.isInteger(value) ? value.toLocaleString("en") : value.toLocaleString("en", { maximumSignificantDigits: 5 });

function short(value) {
  for (const [unit, name] of [[1e9, "G"], [1e6, "M"], [1e3, "k"]]) {
    if (Math.abs(value) >= unit) return `${+(value / unit).toPrecision(3)}${name}`;
  }
  return String(+value.toPrecision(3));
}

const UNITS = {  // what a figure of each unit is told in, the largest first
  pJ: [[1e12, "J"], [1e9, "mJ"], [1e6, "\u00b5J"], [1e3, "nJ"]],
  bytes: [[1e9, "GB"], [1e6, "MB"], [1e3, "kB"]],
};

function withUnit(value, unit) {
  const [size, name] = UNITS[unit].find(([least]) => value >= least) ?? [1, unit];
  return `${+(value / size).toPrecision(4)} ${name}`;
}

function element(name, attributes = {}, text = "") {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text) made.textContent = text;
  return made;
}

// ---- Hints beside the pointer ------------------------------------------------------------------------------------

const tip = document.body.appendChild(element("div", { class: "tip", role: "status", hidden: "" }));

function hint(mark, text) {
  mark.addEventListener("pointerenter", (event) => { tip.textContent = text(); tip.hidden = false; place(event); });
  mark.addEventListener("pointermove", place);
  mark.addEventListener("pointerleave", () => { tip.hidden = true; });
}

function place(event) {
  const right = Math.min(event.clientX + 14, window.innerWidth - tip.offsetWidth - 6);
  const below = event.clientY + 16 + tip.offsetHeight > window.innerHeight ? -tip.offsetHeight - 8 : 16;
  tip.style.left = `${Math.max(4, right)}px`;
  tip.style.top = `${event.clientY + below}px`;
}

// ---- Drawing -----------------------------------------------------------------------------------------------------

class Drawing {
  // A figure's <svg>, in pixels of the page; made anew at every change.
  constructor(figure, height) {
    this.svg = figure.querySelector("svg");
    this.svg.replaceChildren();
    this.width = Math.max(300, figure.clientWidth);
    this.height = height;
    this.svg.setAttribute("viewBox", `0 0 ${this.width} ${height}`);
  }

  add(name, attributes, text = "") {
    const made = document.createElementNS(this.svg.namespaceURI, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.textContent = text;
    return this.svg.appendChild(made);
  }

  label(x, y, text, anchor = "start") {
    return this.add("text", { x, y, "text-anchor": anchor }, text);
  }
}

function ticks(low, high, logarithmic, count = 5) {
  if (!logarithmic) {
    const raw = (high - low) / count || 1;
    const power = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 5, 10].map((f) => f * power).find((s) => s >= raw);
    const first = Math.ceil(low / step) * step;
    return Array.from({ length: Math.floor((high - first) / step + 1e-9) + 1 }, (_, i) => first + i * step);
  }
  const factors = high / low > 100 ? [1] : [1, 2, 5];
  const found = [];
  for (let p = Math.floor(Math.log10(low)); p <= Math.ceil(Math.log10(high)); p++) {
    found.push(...factors.map((f) => f * 10 ** p).filter((t) => t >= low && t <= high));
  }
  return found;
}

// ---- Bars a layer --------------------------------------------------------------------------------------------------

const filters = [];  // of rows by name and kind, shared by the chart and the table of layers

function layerBars(figure) {
  const choice = figure.querySelector("select");
  const draw = () => {
    const column = choice.value;
    const shown = data.layers.map((layer, i) => ({ ...layer, i })).filter((layer) =>
      filters.every((f) => f(layer)) && layer.runs.some((run) => run[column] > 0));
    const bar = data.machines.length > 3 ? 8 : 12;
    const group = bar * data.machines.length + 8;
    const d = new Drawing(figure, 34 + group * shown.length);
    const longest = Math.max(6, ...shown.map((layer) => layer.name.length));
    const left = Math.min(0.38 * d.width, 8 + 6.3 * longest);
    const most = Math.max(1e-12, ...shown.flatMap((layer) => layer.runs.map((run) => run[column])));
    const scale = (value) => (value / most) * (d.width - left - 12);
    for (const t of ticks(0, most, false, d.width < 500 ? 3 : 6)) {
      d.add("line", { class: "grid", x1: left + scale(t), x2: left + scale(t), y1: 18, y2: d.height });
      d.label(left + scale(t), 12, short(t), t ? "middle" : "start");
    }
    shown.forEach((layer, row) => {
      const y = 22 + row * group;
      const room = Math.floor(left / 6.3) - 1;
      const name = layer.name.length > room ? `${layer.name.slice(0, room - 1)}\u2026` : layer.name;
      d.label(left - 6, y + (group - 8) / 2 + 4, name, "end");
      layer.runs.forEach((run, m) => {
        const whole = scale(run[column]);
        const pale = column === "cycles" ? scale(run.stall_cycles) : 0;
        const at = { x: left, y: y + m * bar, height: bar - 1 };
        const solid = d.add("rect", { ...at, width: Math.max(whole - pale, 0.5), fill: colour(m) });
        const rest = d.add("rect", { ...at, x: left + whole - pale, width: pale, fill: colour(m), opacity: 0.35 });
        for (const mark of [solid, rest]) hint(mark, () => aboutRun(layer, m, column, choice));
      });
    });
  };
  choice.addEventListener("change", draw);
  return draw;
}

function aboutRun(layer, m, column, choice) {
  const run = layer.runs[m];
  const what = choice.options[choice.selectedIndex].text;
  return [`${layer.name} on ${data.machines[m]}`, `${what}: ${number(run[column])}`,
    `mode ${run.mode}, bound by ${run.bound}`, `stalled ${number(run.stall_cycles)} of ${number(run.cycles)} cycles`,
    `lanes used ${number(100 * run.utilization)} %`].join("\n");
}

// ---- Stacked bars a machine ----------------------------------------------------------------------------------------

function stackedBars(figure) {
  const parts = JSON.parse(figure.dataset.parts);
  const unit = figure.dataset.unit;
  return () => {
    const d = new Drawing(figure, 4 + 40 * data.machines.length);
    const sums = data.totals.map((total) => parts.reduce((sum, [column]) => sum + total[column], 0));
    const most = Math.max(1e-12, ...sums);
    const scale = (value) => (value / most) * (d.width - 80);
    data.totals.forEach((total, m) => {
      const y = 14 + 40 * m;
      d.label(0, y, data.machines[m]);
      let x = 0;
      parts.forEach(([column, name], i) => {
        const width = scale(total[column]);
        const mark = d.add("rect", { x, y: y + 4, width, height: 18, fill: colour(i) });
        hint(mark, () => `${data.machines[m]}\n${name}: ${number(total[column])} ${unit}\n` +
          `${number((100 * total[column]) / sums[m])} % of ${withUnit(sums[m], unit)}`);
        x += width;
      });
      d.label(x + 5, y + 17, withUnit(sums[m], unit));
    });
  };
}

// ---- Clouds of points ----------------------------------------------------------------------------------------------

function scatter(figure) {
  // data-cloud names a list in the data: points with x and y by column, a group, a text for the hint.
  const cloud = data[figure.dataset.cloud];
  const [acrossChoice, upChoice] = figure.querySelectorAll("select");
  let view = null;  // [x0, x1, y0, y1] in shares of the whole, null for all of it
  const draw = () => {
    const across = acrossChoice.value;
    const up = upChoice.value;
    const d = new Drawing(figure, Math.min(460, 0.75 * figure.clientWidth + 60));
    const box = { left: 52, right: d.width - 10, top: 26, bottom: d.height - 34 };
    const points = cloud.points.filter((p) => Number.isFinite(p[across]) && Number.isFinite(p[up]));
    if (!points.length) { d.label(box.left, 40, "no points"); return; }
    const x = axis(points.map((p) => p[across]), box.left, box.right, view && view.slice(0, 2));
    const y = axis(points.map((p) => p[up]), box.bottom, box.top, view && view.slice(2));
    for (const t of ticks(x.low, x.high, x.logarithmic, d.width < 500 ? 3 : 6)) {
      d.add("line", { class: "grid", x1: x.at(t), x2: x.at(t), y1: box.top, y2: box.bottom });
      d.label(x.at(t), box.bottom + 14, short(t), "middle");
    }
    for (const t of ticks(y.low, y.high, y.logarithmic)) {
      d.add("line", { class: "grid", x1: box.left, x2: box.right, y1: y.at(t), y2: y.at(t) });
      d.label(box.left - 5, y.at(t) + 4, short(t), "end");
    }
    d.label(2, 12, upChoice.options[upChoice.selectedIndex].text);
    d.label((box.left + box.right) / 2, d.height - 4, acrossChoice.options[acrossChoice.selectedIndex].text, "middle");
    for (const roof of cloud.roofs ?? []) drawRoof(d, roof, x, y, box);
    for (const p of points) {
      const at = [x.at(p[across]), y.at(p[up])];
      if (at[0] < box.left || at[0] > box.right || at[1] < box.top || at[1] > box.bottom) continue;
      const big = p.marked ? 6 : 3.5;
      const mark = d.add("circle", { cx: at[0], cy: at[1], r: big, fill: colour(p.group), "fill-opacity": 0.75 });
      if (p.marked) mark.setAttribute("stroke", "var(--ink)");
      hint(mark, () => `${p.text}\n${acrossChoice.options[acrossChoice.selectedIndex].text}: ${number(p[across])}\n` +
        `${upChoice.options[upChoice.selectedIndex].text}: ${number(p[up])}`);
      if (p.command) mark.addEventListener("click", () => tellCommand(figure, p));
    }
  };
  const svg = figure.querySelector("svg");
  svg.addEventListener("wheel", (event) => {
    event.preventDefault();
    const area = svg.getBoundingClientRect();
    const f = event.deltaY < 0 ? 0.8 : 1.25;
    const [x0, x1, y0, y1] = view ?? [0, 1, 0, 1];
    const cx = x0 + (x1 - x0) * ((event.clientX - area.left) / area.width);
    const cy = y1 - (y1 - y0) * ((event.clientY - area.top) / area.height);
    view = [cx - (cx - x0) * f, cx + (x1 - cx) * f, cy - (cy - y0) * f, cy + (y1 - cy) * f];
    if (view[1] - view[0] >= 1) view = null;
    draw();
  }, { passive: false });
  svg.addEventListener("dblclick", () => { view = null; draw(); });
  for (const choice of [acrossChoice, upChoice]) choice.addEventListener("change", () => { view = null; draw(); });
  return draw;
}

function axis(values, from, to, view) {
  const least = Math.min(...values);
  const most = Math.max(...values);
  const logarithmic = least > 0 && most > 4 * least;
  const ahead = logarithmic ? Math.log10 : (v) => v;
  const back = logarithmic ? (v) => 10 ** v : (v) => v;
  const margin = 0.04 * (ahead(most) - ahead(least)) || 0.5;
  const [a, b] = [ahead(least) - margin, ahead(most) + margin];
  const [low, high] = view ? [a + view[0] * (b - a), a + view[1] * (b - a)] : [a, b];
  return { low: back(low), high: back(high), logarithmic,
    at: (value) => from + ((ahead(value) - low) / (high - low)) * (to - from) };
}

function drawRoof(d, roof, x, y, box) {
  // The attainable MACs a cycle at each intensity: min(lanes, bytes a cycle x MACs a byte).
  const steps = Array.from({ length: 60 }, (_, i) => x.low * (x.high / x.low) ** (i / 59));
  const inside = steps.map((s) => [x.at(s), y.at(Math.min(roof.lanes, roof.bytes_per_cycle === null ? Infinity :
    roof.bytes_per_cycle * s))]).filter(([, v]) => v >= box.top && v <= box.bottom);
  const line = d.add("polyline", { class: "roof", points: inside.map((p) => p.join(",")).join(" ") });
  hint(line, () => roof.name);
}

function tellCommand(figure, point) {
  const told = figure.querySelector("code.command");
  if (told) told.textContent = point.command;
}

// ---- Tables --------------------------------------------------------------------------------------------------------

const plain = (cell) => (cell.dataset.value ?? cell.textContent).trim();

function sortable(table) {
  const heads = table.querySelectorAll("thead tr:last-child th");
  heads.forEach((head, column) => {
    const button = element("button", { type: "button" }, head.textContent);
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const body = table.tBodies[0];
      body.querySelectorAll("tr.detail").forEach((row) => row.remove());
      const rows = [...body.rows];
      rows.sort((a, b) => (up ? 1 : -1) * order(plain(a.cells[column]), plain(b.cells[column])));
      body.append(...rows);
    });
  });
}

function order(a, b) {
  const [x, y] = [a, b].map((text) => parseFloat(text.replaceAll(",", "")));
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y;
}

function csv(table) {
  const rows = [...table.rows].filter((row) => !row.hidden && !row.matches(".detail, .groups"));
  const quoted = (text) => `"${(/^[=+\-@]/.test(text) && Number.isNaN(Number(text)) ? `'${text}` : text)
    .replaceAll('"', '""')}"`;
  return rows.map((row) => [...row.cells].map((cell) => {
    const text = plain(cell);
    return /^-?[\d,]+(\.\d+)?$/.test(text) ? text.replaceAll(",", "") : quoted(text);
  }).join(",")).join("\n");
}

function tools(table) {
  const bar = element("div", { class: "tools" });
  const find = element("input", { type: "search", placeholder: "filter rows", "aria-label": "filter rows of the table" });
  find.addEventListener("input", () => {
    const wanted = find.value.toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
  const save = element("button", { type: "button" }, "CSV");
  save.addEventListener("click", () => {
    const link = element("a", { download: `${table.dataset.name ?? "table"}.csv` });
    link.href = URL.createObjectURL(new Blob([`${csv(table)}\n`], { type: "text/csv" }));
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  bar.append(find, save);
  table.closest(".wide").before(bar);
}

// ---- A layer in full -----------------------------------------------------------------------------------------------

function details(table) {
  for (const row of [...table.tBodies[0].rows]) {
    const first = row.cells[0];
    const layer = data.layers[Number(row.dataset.layer)];
    const button = element("button", { type: "button", class: "more", "aria-expanded": "false" }, first.textContent);
    first.dataset.value = first.textContent;
    first.replaceChildren(button);
    button.addEventListener("click", () => {
      const open = row.nextElementSibling?.classList.contains("detail");
      button.setAttribute("aria-expanded", String(!open));
      if (open) { row.nextElementSibling.remove(); return; }
      const cell = element("td", { colspan: row.cells.length });
      cell.append(element("h3", {}, layer.name), inFull(layer));
      const detail = element("tr", { class: "detail" });
      detail.append(cell);
      row.after(detail);
    });
  }
}

function inFull(layer) {
  const wide = element("div", { class: "wide" });
  const table = wide.appendChild(element("table"));
  const head = table.createTHead().insertRow();
  ["", ...data.machines].forEach((text) => head.append(element("th", { scope: "col" }, text)));
  const body = table.createTBody();
  for (const column of Object.keys(layer.runs[0])) {
    const row = body.insertRow();
    row.insertCell().textContent = data.words[column] ?? column;
    for (const run of layer.runs) row.insertCell().textContent = number(run[column]);
  }
  return wide;
}

// ---- The page ------------------------------------------------------------------------------------------------------

const makers = { layers: layerBars, stack: stackedBars, scatter };
const drawings = [...document.querySelectorAll("figure[data-chart]")].map((figure) => makers[figure.dataset.chart](figure));
const redraw = () => drawings.forEach((draw) => draw());

for (const legend of document.querySelectorAll("[data-legend]")) {
  legend.append(...data[legend.dataset.legend].map((name, i) => element("span", { style: `--of:${colour(i)}` }, name)));
}
const search = document.getElementById("layer-filter");
if (search) {
  filters.push((layer) => `${layer.name} ${layer.kind}`.toLowerCase().includes(search.value.toLowerCase()));
  search.addEventListener("input", redraw);
}
document.querySelectorAll("table.layers").forEach(details);
document.querySelectorAll("table.sortable").forEach((table) => { sortable(table); tools(table); });
document.querySelector("button.theme").addEventListener("click", () => {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
});
window.addEventListener("resize", redraw);
redraw();
