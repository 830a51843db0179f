// Bar charts as inline SVG. Each has a table beside it for readers who cannot see the chart.
import { el, t } from "./core.js";

const ns = "http://www.w3.org/2000/svg";
function svg(name, attributes = {}, ...children) {
  const e = document.createElementNS(ns, name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

function table(head, rows) {
  return el("table", { className: "unseen" },
    el("thead", {}, el("tr", {}, ...head.map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, ...rows.map((r) => el("tr", {}, ...r.map((c) => el("td", {}, c))))));
}

// columns draws one bar, or two beside each other, for each row {name, values}.
export function columns(rows, series, write) {
  const width = 480, height = 200, foot = 22, most = Math.max(1, ...rows.flatMap((r) => r.values));
  const step = width / Math.max(1, rows.length), bar = Math.min(36, (step * 0.7) / series.length);
  const every = Math.ceil(rows.length / 12);
  const g = rows.flatMap((row, i) => [
    ...row.values.map((value, k) => {
      const h = Math.max(0, (value / most) * (height - foot - 18));
      return svg("rect", { class: "s" + k, x: i * step + (step - bar * series.length) / 2 + k * bar, y: height - foot - h, width: bar - 2, height: h, rx: 2 });
    }),
    ...(i % every ? [] : [svg("text", { x: i * step + step / 2, y: height - 6, "text-anchor": "middle" }, row.name)]),
  ]);
  const top = svg("text", { x: 0, y: 12 }, write(most === 1 ? 0 : most));
  const key = series.length > 1 ? [el("p", { className: "key", ariaHidden: "true" }, ...series.map((s, k) => el("span", { className: "k" + k }, s)))] : [];
  return [svg("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true", class: "chart" },
    svg("line", { x1: 0, x2: width, y1: height - foot, y2: height - foot }), top, ...g), ...key,
  table([t("time"), ...series], rows.map((r) => [r.name, ...r.values.map(write)]))];
}

// bars draws horizontal bars for rows {name, value, words}.
export function bars(rows, head) {
  const most = Math.max(1, ...rows.map((r) => r.value)), step = 34, width = 480;
  return [svg("svg", { viewBox: `0 0 ${width} ${Math.max(step, rows.length * step)}`, "aria-hidden": "true", class: "chart" },
    ...rows.flatMap((row, i) => [
      svg("text", { x: 0, y: i * step + 12 }, row.name),
      svg("text", { x: width, y: i * step + 12, "text-anchor": "end" }, row.words),
      svg("rect", { class: "s0", x: 0, y: i * step + 17, width: Math.max(1, (row.value / most) * width), height: 9, rx: 2 }),
    ])), table(head, rows.map((r) => [r.name, r.words]))];
}
