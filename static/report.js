/** Classification report: the scores of each class in a table to sort, with averages that stay in view. */

import { button, count, decimal, el, fill } from "./dom.js";

/** @typedef {import("./types.js").ClassScore} ClassScore */
/** @typedef {{ name: string, score: ClassScore, weight: number | undefined }} Row */
/** @typedef {{ name: string, value: (row: Row) => any, show: (row: Row) => string }} Column */

/** A table of more rows scrolls within itself. */
const MANY = 12;

/** @type {Column[]} */
const COLUMNS = [
  { name: "Class", value: ({ name }) => name, show: ({ name }) => name },
  { name: "Precision", value: ({ score }) => score.precision, show: ({ score }) => decimal(score.precision) },
  { name: "Recall", value: ({ score }) => score.recall, show: ({ score }) => decimal(score.recall) },
  { name: "F1", value: ({ score }) => score.f1, show: ({ score }) => decimal(score.f1) },
  { name: "Support", value: ({ score }) => score.support, show: ({ score }) => count(score.support) },
];
/** @type {Column} */
const WEIGHT = { name: "Class weight", value: ({ weight }) => weight ?? 0, show: ({ weight }) => decimal(weight, 3) };

/** @param {import("./types.js").Evaluation} result */
export function report({ report: { macro_avg: macro, weighted_avg: weighted, ...classes }, confusion_matrix: { labels }, class_weights: weights }) {
  // A class named like an average is listed as "macro_avg (class)".
  const rows = labels.map((name) => ({ name, score: classes[name] ?? classes[`${name} (class)`], weight: weights?.[name] }));
  const columns = weights ? [...COLUMNS, WEIGHT] : COLUMNS;
  /** @type {{ by: Column | null, rising: boolean }} */
  const order = { by: null, rising: true };
  const [head, body] = [el("thead", null), el("tbody", null)];
  const cells = (/** @type {Row} */ row) => el("tr", null, columns.map((column, index) =>
    index === 0 ? el("th", { scope: "row", title: row.name }, row.name) : el("td", { class: "number" }, column.show(row))));
  const show = () => {
    const { by, rising } = order;
    fill(head, el("tr", null, columns.map((column, index) => el("th", {
      scope: "col", class: index ? "number" : undefined, "aria-sort": column === by ? (rising ? "ascending" : "descending") : undefined,
    }, button(column.name, () => {
      order.rising = column === by ? !rising : true;
      order.by = column;
      show();
      head.querySelectorAll("button")[index].focus();
    })))));
    const sorted = by ? [...rows].sort((a, b) => compare(by.value(a), by.value(b)) * (rising ? 1 : -1)) : rows;
    fill(body, sorted.map(cells));
  };
  show();
  const average = (/** @type {string} */ name, /** @type {ClassScore} */ score) => cells({ name, score, weight: undefined });
  return el("div", { class: "stack" },
    el("div", { class: rows.length > MANY ? "scroll tall" : "scroll", tabIndex: rows.length > MANY ? 0 : undefined, role: "group", "aria-label": "Classification report" },
      el("table", { class: "report" }, el("caption", null, "Classification report"), head, body,
        el("tfoot", null, average("macro average", macro), average("weighted average", weighted)))),
    weights && el("p", { class: "hint" }, "Class weights: how much an image of the class counts in the training loss."));
}

/** @param {any} a @param {any} b */
const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b) : a - b);
