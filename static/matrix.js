/** Confusion matrix: a table of few classes, a heat map of many; and the pairs that are confused most often. */

import { button, count, el, fill, percent, plural, select } from "./dom.js";
import { HeatMap } from "./heatmap.js";

/** @typedef {import("./types.js").Evaluation} Evaluation */
/** @typedef {(label: string, predicted: string) => void} Show shows the images of such a pair */

/** The most classes of a table. */
const TABLE = 12;
/** The most classes of a table whose cells have percentages. */
const ROOMY = 6;
/** Pairs shown at first. */
const PAIRS = 10;

/** @param {Evaluation} result @param {Show} show */
export function matrix({ confusion_matrix: { labels, matrix } }, show) {
  return labels.length > TABLE ? map(labels, matrix, show) : table(labels, matrix, show);
}

/** @param {string[]} labels @param {number[][]} matrix @param {Show} show */
function table(labels, matrix, show) {
  const binary = labels.length === 2;
  const roomy = labels.length <= ROOMY;
  const head = (/** @type {string} */ label) => el("th", { scope: "col", title: `predicted ${label}` }, binary ? `predicted ${label}` : el("span", { class: "short" }, label));
  const cell = (/** @type {number} */ value, /** @type {number} */ all, /** @type {number} */ truth, /** @type {number} */ predicted) => {
    const share = percent(value / all);
    const text = `${labels[truth]} predicted as ${labels[predicted]}: ${plural(value, "image")} (${share})`;
    const small = roomy && el("small", null, share);
    const opens = !binary && truth !== predicted && value > 0;
    const node = el("td", { title: text, class: binary ? undefined : value === 0 ? "zero" : truth === predicted ? undefined : "wrong" }, opens
      ? button(count(value), () => show(labels[truth], labels[predicted]), { class: "cell", "aria-label": `${text}; show them` })
      : count(value), small);
    // Of several classes, errors are spread over many cells; the root makes small fractions visible.
    const depth = binary || truth === predicted ? value / all : Math.sqrt(value / all);
    node.style.setProperty("--share", `${Math.round(depth * 45)}%`);
    return node;
  };
  return el("div", { class: "scroll" }, el("table", { class: binary ? "matrix" : `matrix ${roomy ? "several" : "dense"}` },
    el("caption", null, "Confusion matrix (rows: true class, columns: predicted class)"),
    el("thead", null, el("tr", null, el("td", { class: "corner" }), labels.map(head))),
    el("tbody", null, matrix.map((row, truth) => {
      const all = row.reduce((sum, one) => sum + one, 0) || 1;
      return el("tr", null, el("th", { scope: "row" }, labels[truth]), row.map((value, predicted) => cell(value, all, truth, predicted)));
    }))));
}

/** @param {string[]} labels @param {number[][]} matrix @param {Show} show */
function map(labels, matrix, show) {
  const confused = byConfusion(matrix);
  const alphabetical = labels.map((_, index) => index).sort((a, b) => labels[a].localeCompare(labels[b]));
  const heat = new HeatMap(labels, matrix, confused, show);
  const order = select([["confusion", "Most confused first"], ["name", "Alphabetical"]], { class: "inline", "aria-label": "Order of the classes",
    onchange: () => heat.order(order.value === "name" ? alphabetical : confused) });
  return el("div", { class: "stack" },
    el("div", { class: "row apart" },
      el("h3", null, "Confusion matrix"),
      el("div", { class: "row" }, order, heat.zoom)),
    el("p", { class: "hint" }, "Rows: true class, columns: predicted class. Point at a cell, or move with the arrow keys, to read it; Enter or a click shows the misclassified images."),
    heat.node);
}

/** The classes, those first whose images or predictions are wrong most often. @param {number[][]} matrix */
function byConfusion(matrix) {
  const errors = matrix.map((row, truth) => row.reduce((sum, value, predicted) => (predicted === truth ? sum : sum + value + matrix[predicted][truth]), 0));
  return matrix.map((_, index) => index).sort((a, b) => errors[b] - errors[a]);
}

/** The pairs of classes that are confused most often. @param {Evaluation} result @param {Show} show */
export function worstPairs({ confusion_matrix: { labels, matrix } }, show) {
  const pairs = matrix.flatMap((row, truth) => row.flatMap((value, predicted) => (value > 0 && predicted !== truth ? [{ truth, predicted, value }] : [])));
  pairs.sort((a, b) => b.value - a.value);
  if (pairs.length === 0) return null;
  const list = el("ol", { class: "pairs" });
  const all = button(`Show all ${count(pairs.length)} pairs`, () => {
    fill(list, pairs.map(item));
    list.classList.add("tall");
    all.hidden = true;
    /** @type {HTMLElement | null} */ (list.querySelector(`li:nth-child(${PAIRS + 1}) button`))?.focus();
  }, { class: "link", hidden: pairs.length <= PAIRS });
  const item = (/** @type {typeof pairs[0]} */ { truth, predicted, value }) => el("li", null,
    button(`${labels[truth]} classified as ${labels[predicted]}: ${plural(value, "image")}`, () => show(labels[truth], labels[predicted]), { class: "link" }));
  fill(list, pairs.slice(0, PAIRS).map(item));
  return el("div", { class: "stack" }, el("h3", null, "Most frequent errors"), list, el("div", null, all));
}
