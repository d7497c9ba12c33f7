"use strict";
// The results explorer: a figure and a table of results.json, filtered. Each `.lv-results` on a page becomes one.
const SHAPES = { // kind of recipe -> colour (colour-blind safe) and shape
  "no compression": ["#555555", "square"], "budget search (ours)": ["#0173b2", "circle"], "other searches": ["#b35900", "triangle"],
  "one method": ["#027a57", "diamond"], "several methods": ["#a2518f", "circle"]};
const base = document.currentScript.src.replace(/_static\/results\.js.*$/, "");
const el = (name, attributes = {}, ...children) => make(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) => make(document.createElementNS("http://www.w3.org/2000/svg", name), attributes, children);
function make(node, attributes, children) {
  for (const [k, v] of Object.entries(attributes)) node.setAttribute(k, v);
  node.append(...children);
  return node;
}
const size = b => b == null ? "" : b >= 999500 ? `${(b/1e6).toFixed(2)} MB` : `${(b/1e3).toFixed(0)} KB`;
const percent = v => v.toFixed(2);
const interval = g => g.low == null ? "" : `[${percent(g.low)}, ${percent(g.high)}]`;
const page = (g, name) => `${base}evidence/${g.study}/${name.split("/").map(encodeURIComponent).join("/")}.html`;
const seeds = g => g.seeds.length === 1 ? "1 seed" : `${g.seeds.length} seeds`;
const describe = g => `${g.recipe} on ${g.arch}, ${g.task}: ${percent(g.mean)} %${g.low == null ? "" : ` ${interval(g)}`}, ${size(g.bytes)} as .${g.format}, ${seeds(g)}, study ${g.study}`;

function kind(g) {
  if (g.recipe === "fp32" || g.recipe.startsWith("finetune") || g.recipe.startsWith("scratch")) return "no compression";
  if (g.recipe.startsWith("budget")) return g.recipe.includes("method=") ? "other searches" : "budget search (ours)";
  return g.recipe.includes("+") ? "several methods" : "one method";
}

function mark(shape, x, y) {
  const r = 6;
  if (shape === "circle") return svg("circle", {cx: x, cy: y, r});
  if (shape === "square") return svg("rect", {x: x - r + 1, y: y - r + 1, width: 2*r - 2, height: 2*r - 2});
  const points = shape === "triangle" ? [[0, -r - 1], [r + 1, r - 1], [-r - 1, r - 1]] : [[0, -r - 1], [r + 1, 0], [0, r + 1], [-r - 1, 0]];
  return svg("polygon", {points: points.map(([a, b]) => `${x + a},${y + b}`).join(" ")});
}

// Steps of 1, 2 or 5 times a power of ten, so that there are about n of them.
function ticks(low, high, n) {
  const raw = (high - low)/n, power = 10**Math.floor(Math.log10(raw));
  const step = power*[1, 2, 5, 10].find(s => s*power >= raw), found = [];
  for (let v = Math.ceil(low/step)*step; v <= high + 1e-9; v += step) found.push(Number(v.toFixed(6)));
  return found;
}

function sizeTicks(low, high) {
  const found = [];
  for (let power = 10**Math.floor(Math.log10(low)); power <= high; power *= 10)
    for (const s of [1, 2, 5]) if (s*power >= low && s*power <= high) found.push(s*power);
  return found;
}

function chart(box, all) {
  const groups = all.filter(g => g.bytes != null);
  box.replaceChildren();
  if (!groups.length) return box.append(el("p", {}, "No row with a file size."));
  const width = Math.max(300, Math.min(box.clientWidth || 700, 860)), height = Math.max(300, width*0.5);
  const left = 48, right = 12, top = 12, bottom = 44;
  const xs = groups.map(g => Math.log10(g.bytes)), ys = groups.map(g => g.mean);
  const x0 = Math.min(...xs) - 0.1, x1 = Math.max(...xs) + 0.1, span = Math.max(1, Math.max(...ys) - Math.min(...ys));
  const y0 = Math.max(0, Math.min(...ys) - 0.08*span), y1 = Math.min(100, Math.max(...ys) + 0.08*span);
  const x = b => left + (Math.log10(b) - x0)/(x1 - x0)*(width - left - right);
  const y = v => top + (y1 - Math.min(y1, Math.max(y0, v)))/(y1 - y0)*(height - top - bottom);
  const plot = svg("svg", {viewBox: `0 0 ${width} ${height}`, width, height, role: "group", "aria-label": "Test accuracy by size of the file"});
  for (const v of ticks(y0, y1, 6)) plot.append(
    svg("line", {x1: left, x2: width - right, y1: y(v), y2: y(v), class: "lv-grid"}),
    svg("text", {x: left - 6, y: y(v) + 4, "text-anchor": "end"}, String(v)));
  for (const b of sizeTicks(10**x0, 10**x1)) plot.append(
    svg("line", {x1: x(b), x2: x(b), y1: height - bottom, y2: height - bottom + 4, class: "lv-axis"}),
    ...(String(b)[0] === "1" || x1 - x0 < 1.5 ? [svg("text", {x: x(b), y: height - bottom + 17, "text-anchor": "middle"}, size(b).replace(".00", ""))] : []));
  plot.append(svg("line", {x1: left, x2: width - right, y1: height - bottom, y2: height - bottom, class: "lv-axis"}),
    svg("text", {x: (left + width - right)/2, y: height - 8, "text-anchor": "middle"}, "size of the file"),
    svg("text", {x: 12, y: (top + height - bottom)/2, "text-anchor": "middle", transform: `rotate(-90 12 ${(top + height - bottom)/2})`}, "test accuracy, %"));
  const tip = el("div", {class: "lv-tip", role: "status"});
  for (const g of groups) {
    const [colour, shape] = SHAPES[kind(g)], link = svg("a", {href: page(g, g.seeds[0].page), class: "lv-point", "aria-label": describe(g)});
    if (g.low != null) link.append(svg("line", {x1: x(g.bytes), x2: x(g.bytes), y1: y(g.low), y2: y(g.high), stroke: colour, "stroke-width": 1.5, opacity: 0.6}));
    const point = mark(shape, x(g.bytes), y(g.mean));
    point.setAttribute("fill", colour);
    link.append(svg("circle", {cx: x(g.bytes), cy: y(g.mean), r: 12, fill: "transparent"}), point);
    const show = () => {
      tip.replaceChildren(el("strong", {}, g.recipe), el("br"), `${percent(g.mean)} % ${interval(g)}`, el("br"),
        `${size(g.bytes)}, .${g.format}, ${seeds(g)}`, el("br"), `${g.arch}, ${g.study}`);
      tip.style.left = `${Math.max(0, Math.min(x(g.bytes) + 12, width - 230))}px`;
      tip.style.top = `${y(g.mean) + 14}px`;
      tip.classList.add("lv-shown");
    };
    for (const event of ["mouseenter", "focus"]) link.addEventListener(event, show);
    for (const event of ["mouseleave", "blur"]) link.addEventListener(event, () => tip.classList.remove("lv-shown"));
    plot.append(link);
  }
  const legend = el("p", {class: "lv-legend"});
  for (const name of Object.keys(SHAPES)) if (groups.some(g => kind(g) === name)) {
    const sign = mark(SHAPES[name][1], 8, 8);
    sign.setAttribute("fill", SHAPES[name][0]);
    legend.append(el("span", {}, svg("svg", {width: 16, height: 16, "aria-hidden": "true"}, sign), name));
  }
  box.append(plot, tip, legend);
}

const COLUMNS = [["study", g => g.study], ["task", g => g.task], ["architecture", g => g.arch], ["recipe", g => g.recipe],
  ["test accuracy, %", g => g.mean], ["95 % interval", g => g.low ?? -1], ["file", g => g.bytes ?? 0], ["MACs, million", g => g.macs ?? 0],
  ["seed: accuracy", g => g.seeds.length]];

function table(box, groups, state, redraw) {
  const head = el("tr"), body = el("tbody");
  COLUMNS.forEach(([name], i) => {
    const button = el("button", {type: "button"}, name + (state.sort === i ? (state.down ? " ▾" : " ▴") : ""));
    button.addEventListener("click", () => { state.down = state.sort === i ? !state.down : true; state.sort = i; redraw(); });
    head.append(el("th", {scope: "col", "aria-sort": state.sort === i ? (state.down ? "descending" : "ascending") : "none"}, button));
  });
  const by = COLUMNS[state.sort]?.[1], sorted = [...groups];
  if (by) sorted.sort((a, b) => (by(a) < by(b) ? -1 : by(a) > by(b) ? 1 : 0)*(state.down ? -1 : 1));
  for (const g of sorted) { // a long recipe may break behind a comma
    const links = el("td");
    g.seeds.forEach((s, i) => links.append(...(i ? [", "] : []),
      el("a", {href: page(g, s.page), "aria-label": `${s.seed}: ${percent(s.accuracy)} %, seed and accuracy of ${g.recipe}, ${g.arch}, ${g.study}`}, `${s.seed}: ${percent(s.accuracy)}`)));
    const cells = [el("a", {href: page(g, "index")}, g.study), g.task, g.arch, el("code", {}, ...g.recipe.split(/(?<=[,+])/).flatMap(part => [part, el("wbr")])), percent(g.mean), interval(g),
      g.bytes == null ? "" : `${size(g.bytes)} .${g.format}`, g.macs == null ? "" : (g.macs/1e6).toFixed(1)];
    body.append(el("tr", {}, ...cells.map(c => el("td", {}, c)), links));
  }
  box.replaceChildren(el("p", {"aria-live": "polite"}, `${groups.length} rows`),
    el("div", {class: "lv-scroll", tabindex: "0", role: "region", "aria-label": "Table of results"}, el("table", {}, el("thead", {}, head), body)));
}

function explorer(root, groups) {
  const fixed = (name, g) => !root.dataset[name] || root.dataset[name].split(",").includes(g[name]);
  const mine = groups.filter(g => fixed("study", g) && fixed("arch", g) && fixed("task", g));
  const figure = el("div", {class: "lv-chart"}), rows = el("div"), filters = el("form", {class: "lv-filters"}), state = {sort: -1, down: true};
  const chosen = {study: "", task: "", arch: ""}, text = el("input", {type: "search", id: "lv-recipe", placeholder: "such as prune or qat8"});
  const redraw = () => {
    const found = mine.filter(g => Object.entries(chosen).every(([k, v]) => !v || g[k] === v) && g.recipe.includes(text.value.trim()));
    chart(figure, found);
    if (!("chartOnly" in root.dataset)) table(rows, found, state, redraw);
  };
  if ("chartOnly" in root.dataset) root.append(figure);
  else {
    for (const [key, label] of [["task", "task"], ["arch", "architecture"], ["study", "study"]]) {
      const select = el("select", {id: `lv-${key}`}, el("option", {value: ""}, "all"), ...[...new Set(mine.map(g => g[key]))].map(v => el("option", {value: v}, v)));
      select.addEventListener("change", () => { chosen[key] = select.value; redraw(); });
      filters.append(el("label", {for: `lv-${key}`}, label), select);
    }
    filters.append(el("label", {for: "lv-recipe"}, "recipe has"), text);
    text.addEventListener("input", redraw);
    filters.addEventListener("submit", e => e.preventDefault());
    root.append(filters, figure, rows);
  }
  redraw();
  let before = figure.clientWidth;
  addEventListener("resize", () => { if (figure.clientWidth !== before) { before = figure.clientWidth; redraw(); } });
}

const places = document.querySelectorAll(".lv-results");
if (places.length) fetch(`${base}_static/results.json`).then(r => r.json()).then(({groups}) => places.forEach(p => explorer(p, groups)))
  .catch(e => places.forEach(p => p.append(el("p", {role: "alert"}, `The results could not be read (${e.message}): open this site through a web server.`))));
