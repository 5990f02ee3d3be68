"use strict";

// Curves as inline SVG. All begin at 0, so that heights can be compared.
const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 300, HEIGHT = 160;
const LEFT = 42, RIGHT = 8, TOP = 8, BOTTOM = 34;
const MAX_DOTS = 60; // of a curve whose points can still be told apart
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });

function svgNode(tag, attributes, ...children) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

// Round numbers from at most low to at least high, about `wanted` of them.
function ticks(low, high, wanted, smallest = 0) {
  const rough = Math.max((high - low) / wanted, smallest);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: last - first + 1 }, (_, i) => (first + i) * step);
}

// Value -> place, linear.
function scale(from, to, start, end) {
  return (value) => start + ((value - from) / (to - from || 1)) * (end - start);
}

function axes(curve) {
  const points = curve.series.flatMap(([, ofSeries]) => ofSeries);
  const xs = points.map(([x]) => x), ys = points.map(([, y]) => y);
  const x0 = Math.min(...xs), x1 = Math.max(...xs);
  const low = Math.min(0, ...ys), high = Math.max(0, ...ys);
  const yTicks = ticks(low, high > low ? high : 1, 3);
  const xTicks = ticks(x0, Math.max(x1, x0 + 1), 5, 1).filter((x) => x >= x0 && x <= x1);
  return {
    xTicks, yTicks,
    x: scale(x0, x1, LEFT, WIDTH - RIGHT),
    y: scale(yTicks[0], yTicks.at(-1), HEIGHT - BOTTOM, TOP),
  };
}

function grid({ x, y, xTicks, yTicks }, xName) {
  const middle = (LEFT + WIDTH - RIGHT) / 2;
  return [
    ...yTicks.map((tick) =>
      svgNode("line", { class: "grid", x1: LEFT, x2: WIDTH - RIGHT, y1: y(tick), y2: y(tick) })),
    ...yTicks.map((tick) =>
      svgNode("text", { x: LEFT - 5, y: y(tick) + 4, "text-anchor": "end" }, short.format(tick))),
    ...xTicks.map((tick) =>
      svgNode("text", { x: x(tick), y: HEIGHT - BOTTOM + 14, "text-anchor": "middle" }, short.format(tick))),
    svgNode("text", { x: middle, y: HEIGHT - 4, "text-anchor": "middle" }, xName),
  ];
}

function line(points, { x, y }, index, xName) {
  const path = points.map(([px, py]) => `${x(px).toFixed(1)},${y(py).toFixed(1)}`).join(" ");
  const dots = points.length > MAX_DOTS ? [] : points;
  return svgNode("g", { class: `series-${index}` },
    svgNode("polyline", { points: path }),
    ...dots.map(([px, py]) =>
      svgNode("circle", { cx: x(px), cy: y(py), r: 2 }, svgNode("title", {}, `${xName} ${px}: ${py}`))));
}

// "0.52 → 0.66", after the name of the series where it has one.
function ends([name, points]) {
  const fromTo = points.length ? `${short.format(points[0][1])} \u2192 ${short.format(points.at(-1)[1])}` : "no data";
  return name ? `${name} ${fromTo}` : fromTo;
}

function legend(series, index) {
  const key = svgNode("svg", { viewBox: "0 0 20 8", class: `key series-${index}`, "aria-hidden": "true" },
    svgNode("polyline", { points: "0,4 20,4" }));
  const entry = document.createElement("span");
  entry.append(key, ends(series));
  return entry;
}

function drawCurve(curve) {
  const figure = document.createElement("figure"), caption = document.createElement("figcaption");
  const title = document.createElement("strong"), keys = document.createElement("span");
  const scales = axes(curve);
  title.append(curve.title);
  keys.append(...curve.series.map(legend));
  caption.append(title, keys);
  const label = `${curve.title} by ${curve.x}: ${curve.series.map(ends).join("; ")}`;
  figure.append(caption, svgNode("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label },
    ...grid(scales, curve.x), ...curve.series.map(([, points], i) => line(points, scales, i, curve.x))));
  return figure;
}
