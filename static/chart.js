/**
 * SVG charts, drawn at the available width, with a tooltip of the values at the pointer. Screen
 * readers get a one-sentence summary; the exact numbers are in tables next to the charts.
 */

import { el, fill, svg } from "./dom.js";
import { marked, marker, seriesClass } from "./markers.js";

/** @typedef {{ name: string, points: [number, number][], dots?: boolean, dashed?: boolean, colour?: number, marker?: number }} Series `marker`: number of a series that is compared with others */
/**
 * @typedef {{ title: string, x: string, y: string, series: Series[], xRange?: [number, number], yRange?: [number, number],
 *   whole?: boolean, mark?: { x: number, text: string, low?: boolean } | null, summary?: string }} Lines
 */

const HEIGHT = 260;
const MARGIN = { left: 62, right: 12, top: 10, bottom: 42 };
const COLOURS = 6;
/** Maximum half-width of a bar. */
const WIDEST = 36;
/** Maximum number of points drawn one by one. */
const DOTS = 500;
/** Bars that the summary for screen readers lists. */
const SPOKEN = 30;
/** Characters of a name under a bar. */
const LONGEST = 10;

/** A figure that redraws when its width changes. */
class Figure {
  /** @param {string} title */
  constructor(title) {
    this.plot = el("div", { class: "plot" });
    this.legend = el("ul", { class: "legend" });
    this.node = el("figure", { class: "chart" }, el("figcaption", null, title), this.plot, this.legend);
    /** @type {(width: number) => void} */
    this.paint = () => {};
    this.width = 0;
    new ResizeObserver(() => {
      const width = Math.round(this.plot.clientWidth);
      if (width === this.width || width === 0) return;
      this.width = width;
      this.paint(width);
    }).observe(this.plot);
  }

  /** @param {(width: number) => void} paint */
  draw(paint) {
    this.paint = paint;
    if (this.width > 0) paint(this.width);
  }

  /** @param {Entry[]} entries */
  explain(entries) {
    fill(this.legend, entries.length < 2 ? [] : entries.map((entry) => el("li", null, key(entry), entry.name)));
  }
}

/** @typedef {{ name: string, class: string, dots?: boolean, marker?: number }} Entry */

/** @param {Entry} entry */
function key({ class: style, dots, marker: series }) {
  const sign = dots ? svg("circle", { cx: 9, cy: 5, r: 3, class: `dot ${style}` }) : svg("line", { x1: 0, x2: 18, y1: 5, y2: 5, class: `line ${style}` });
  const box = svg("svg", { viewBox: "0 0 18 10", "aria-hidden": "true" }, sign);
  if (series !== undefined) {
    // Wide enough for the dashes of the line to be seen beside the marker.
    box.setAttribute("viewBox", "0 0 36 10");
    sign.setAttribute("x2", "36");
    box.setAttribute("class", "wide");
    box.append(marker(series, 18, 5));
  }
  return el("span", { class: "chart" }, box);
}

/** CSS class of the n-th series; after the last colour they repeat, dashed. @param {Series} series @param {number} index */
function style(series, index) {
  if (series.marker !== undefined) return seriesClass(series.marker);
  const colour = series.colour ?? index;
  const again = colour >= COLOURS || series.dashed;
  return `s${colour % COLOURS}${again ? (colour >= COLOURS * 2 ? " hatch" : " dashed") : ""}`;
}

/**
 * A chart of lines and points.
 *
 * @param {Lines} lines
 * @returns {{ node: HTMLElement, update: (lines: Lines) => void }}
 */
export function lineChart(lines) {
  const figure = new Figure(lines.title);
  const update = (/** @type {Lines} */ now) => {
    figure.explain(now.series.map((series, index) => ({ name: series.name, class: style(series, index), dots: series.dots, marker: series.marker })));
    figure.draw((width) => paintLines(figure.plot, now, width));
  };
  update(lines);
  return { node: figure.node, update };
}

/** @param {HTMLElement} plot @param {Lines} lines @param {number} width */
function paintLines(plot, lines, width) {
  const all = lines.series.flatMap(({ points }) => points);
  const [left, right] = lines.xRange ?? extent(all.map(([x]) => x));
  const [low, high] = lines.yRange ?? rounded(extent(all.map(([, y]) => y)));
  const frame = new Frame(width, [left, right], [low, high], lines);
  for (const [index, series] of lines.series.entries()) {
    const at = series.points.filter(([, y]) => Number.isFinite(y)).map(([x, y]) => [frame.x(x), frame.y(y)]);
    if (series.dots) frame.root.append(...thinned(at).map(([x, y]) => svg("circle", { cx: x, cy: y, r: at.length > 60 ? 2 : 3, class: `dot ${style(series, index)}` })));
    else frame.root.append(svg("polyline", { points: at.map((point) => point.map((value) => value.toFixed(1)).join()).join(" "), class: `line ${style(series, index)}` }));
    if (series.marker !== undefined) frame.root.append(...marked(at, series.marker).map(([x, y]) => marker(/** @type {number} */ (series.marker), x, y)));
    else if (at.length === 1 && !series.dots) frame.root.append(svg("circle", { cx: at[0][0], cy: at[0][1], r: 3, class: `dot ${style(series, index)}` }));
  }
  if (lines.mark) {
    const x = frame.x(lines.mark.x);
    const end = x > width * 0.7;
    frame.root.append(
      svg("line", { x1: x, x2: x, y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, class: "mark" }),
      svg("text", { x: end ? x - 5 : x + 5, y: lines.mark.low ? HEIGHT - MARGIN.bottom - 6 : MARGIN.top + 11, "text-anchor": end ? "end" : "start" }, lines.mark.text));
  }
  frame.root.setAttribute("aria-label", lines.summary ?? `${lines.title}: ${lines.series.map(({ name, points }) => `final ${name} ${short(points.at(-1)?.[1])}`).join(", ")}`);
  fill(plot, frame.root);
  if (all.length > 0) point(plot, frame, lines);
}

/** Every second, third, … point of more than {@link DOTS}. @param {number[][]} points */
function thinned(points) {
  const step = Math.ceil(points.length / DOTS);
  return points.filter((_, index) => index % step === 0);
}

/** Shows a tooltip with the values nearest to the pointer. @param {HTMLElement} plot @param {Frame} frame @param {Lines} lines */
function point(plot, frame, lines) {
  const tip = el("div", { class: "tip", hidden: true });
  const cursor = svg("line", { y1: MARGIN.top, y2: HEIGHT - MARGIN.bottom, class: "cursor", visibility: "hidden" });
  frame.root.append(cursor);
  plot.append(tip);
  const positions = [...new Set(lines.series.flatMap(({ points }) => points.map(([x]) => x)))];
  frame.root.addEventListener("pointermove", (event) => {
    const at = frame.root.getBoundingClientRect();
    const wanted = frame.valueAt(/** @type {PointerEvent} */ (event).clientX - at.left);
    const near = positions.reduce((best, x) => (Math.abs(x - wanted) < Math.abs(best - wanted) ? x : best));
    const values = lines.series.flatMap(({ name, points }) => {
      const found = points.find(([x]) => x === near);
      return found ? [el("div", null, `${name}: `, el("b", null, short(found[1])))] : [];
    });
    const x = frame.x(near);
    fill(tip, el("div", null, `${lines.x}: ${short(near)}`), values);
    tip.hidden = false;
    tip.style.left = `${Math.min(Math.max(x + 10, 0), Math.max(frame.width - tip.offsetWidth, 0))}px`;
    cursor.setAttribute("x1", String(x));
    cursor.setAttribute("x2", String(x));
    cursor.setAttribute("visibility", "visible");
  });
  frame.root.addEventListener("pointerleave", () => {
    tip.hidden = true;
    cursor.setAttribute("visibility", "hidden");
  });
}

/** The axes, and the mapping from values to pixels. */
class Frame {
  /** @param {number} width @param {[number, number]} across @param {[number, number]} up @param {{ x: string, y: string, whole?: boolean }} names */
  constructor(width, [left, right], [low, high], names) {
    this.width = width;
    this.left = left;
    this.scaleX = (width - MARGIN.left - MARGIN.right) / (right - left || 1);
    this.low = low;
    this.scaleY = (HEIGHT - MARGIN.top - MARGIN.bottom) / (high - low || 1);
    this.root = svg("svg", { viewBox: `0 0 ${width} ${HEIGHT}`, height: HEIGHT, role: "img" });
    for (const tick of ticks(low, high, 5)) {
      this.root.append(
        svg("line", { x1: MARGIN.left, x2: width - MARGIN.right, y1: this.y(tick), y2: this.y(tick), class: "frame" }),
        svg("text", { x: MARGIN.left - 7, y: this.y(tick) + 4, "text-anchor": "end" }, short(tick)));
    }
    const across = ticks(left, right, Math.max(2, Math.floor(width / 80))).filter((tick) => !names.whole || Number.isInteger(tick));
    for (const tick of across) this.root.append(svg("text", { x: this.x(tick), y: HEIGHT - MARGIN.bottom + 16, "text-anchor": "middle" }, short(tick)));
    this.root.append(
      svg("text", { x: (MARGIN.left + width - MARGIN.right) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, names.x),
      svg("text", { transform: `translate(11 ${(MARGIN.top + HEIGHT - MARGIN.bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, names.y));
  }

  /** @param {number} value */
  x(value) {
    return MARGIN.left + (value - this.left) * this.scaleX;
  }

  /** @param {number} value */
  y(value) {
    return HEIGHT - MARGIN.bottom - (value - this.low) * this.scaleY;
  }

  /** @param {number} pixel */
  valueAt(pixel) {
    return this.left + (pixel - MARGIN.left) / this.scaleX;
  }
}

/** @param {number[]} values @returns {[number, number]} */
function extent(values) {
  const finite = values.filter(Number.isFinite);
  if (finite.length === 0) return [0, 1];
  const [low, high] = [Math.min(...finite), Math.max(...finite)];
  if (low !== high) return [low, high];
  // Shares stay between 0 and 1.
  return low >= 0 && low <= 1 ? [Math.max(low - 0.5, 0), Math.min(low + 0.5, 1)] : [low - 0.5, low + 0.5];
}

/** Extends a range to round numbers. @param {[number, number]} range @returns {[number, number]} */
function rounded([low, high]) {
  const step = stepOf(low, high, 5);
  return [Math.floor(low / step + 1e-9) * step, Math.ceil(high / step - 1e-9) * step];
}

/** A round step that divides the range from `low` to `high` into about `wanted` parts. @param {number} low @param {number} high @param {number} wanted */
function stepOf(low, high, wanted) {
  const rough = (high - low) / wanted;
  const power = 10 ** Math.floor(Math.log10(rough));
  return ([1, 2, 5, 10].find((factor) => factor * power >= rough * (1 - 1e-9)) ?? 10) * power;
}

/** About `wanted` round numbers from `low` to `high`. @param {number} low @param {number} high @param {number} wanted */
function ticks(low, high, wanted) {
  const step = stepOf(low, high, wanted);
  const first = Math.ceil(low / step - 1e-9);
  return Array.from({ length: Math.floor(high / step + 1e-9) - first + 1 }, (_, index) => Number(((first + index) * step).toPrecision(12)));
}

/** @param {number | undefined} value */
function short(value) {
  if (value === undefined || !Number.isFinite(value)) return "–";
  return Number.isInteger(value) ? value.toLocaleString("en-GB") : String(Number(value.toPrecision(4)));
}

/**
 * A bar chart; multiple series are grouped side by side.
 *
 * @param {{ title: string, x: string, bars: { name: string, values: number[] }[], series: string[] }} chart
 */
export function barChart({ title, x, bars, series }) {
  const figure = new Figure(title);
  figure.explain(series.map((name, index) => ({ name, class: `s${index % COLOURS}`, dots: true })));
  figure.draw((width) => {
    const [, most] = rounded([0, Math.max(1, ...bars.flatMap(({ values }) => values))]);
    const frame = new Frame(width, [0, bars.length], [0, most], { x, y: "number of images", whole: true });
    for (const text of frame.root.querySelectorAll('text[text-anchor="middle"]:not([transform])')) text.remove();
    const longest = Math.min(Math.max(...bars.map(({ name }) => name.length)), LONGEST);
    const every = Math.ceil((bars.length * Math.max(58, longest * 7.5)) / Math.max(width - MARGIN.left, 1));
    for (const [index, { name, values }] of bars.entries()) {
      const middle = frame.x(index + 0.5);
      const half = Math.min((frame.x(index + 1) - frame.x(index)) * (width / bars.length > 8 ? 0.42 : 0.5), WIDEST * values.length);
      const [from, to] = [middle - half, middle + half];
      const each = (to - from) / values.length;
      for (const [which, value] of values.entries()) {
        frame.root.append(svg("rect", { x: from + each * which, width: each > 3 ? each - 1 : Math.max(each, 1), y: frame.y(value), height: frame.y(0) - frame.y(value), class: `bar s${which % COLOURS}` },
          svg("title", {}, `${name}${series.length > 1 ? `, ${series[which]}` : ""}: ${value.toLocaleString("en-GB")}`)));
      }
      if (index % every === 0) frame.root.append(svg("text", { x: middle, y: HEIGHT - MARGIN.bottom + 16, "text-anchor": "middle" }, bars.length > 1 && name.length > LONGEST ? `${name.slice(0, LONGEST)}…` : name));
    }
    frame.root.append(svg("text", { x: (MARGIN.left + width) / 2, y: HEIGHT - 6, "text-anchor": "middle" }, x));
    frame.root.setAttribute("aria-label", `${title}. ${bars.slice(0, SPOKEN).map(({ name, values }) => `${name}: ${values.join(" and ")}`).join("; ")}${bars.length > SPOKEN ? "; …" : ""}`);
    fill(figure.plot, frame.root);
  });
  return figure.node;
}
