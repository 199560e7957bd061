/** Precision–recall and ROC curves: of the second of two classes, or of a class against the rest. */

import { lineChart } from "./chart.js";
import { decimal, el, field, select } from "./dom.js";

/** @typedef {import("./types.js").BothCurves} BothCurves */
/** @typedef {import("./chart.js").Lines} Lines */

const UNIT = /** @type {[number, number]} */ ([0, 1]);
/** @type {import("./chart.js").Series} */
const CHANCE = { name: "chance", dashed: true, colour: 5, points: [[0, 0], [1, 1]] };

/** @param {import("./types.js").Evaluation} result */
export function curves({ pr_curve: pr, roc_curve: roc, one_vs_rest: rest, confusion_matrix: { labels } }) {
  if (pr && roc) {
    const both = { pr_curve: pr, roc_curve: roc };
    return el("div", { class: "columns" }, lineChart(precision(both, labels[1])).node, lineChart(rates(both, "model")).node);
  }
  if (!rest) return null;
  const [first, second] = [lineChart(precision(rest.micro, "micro average")), lineChart(rates(rest.micro, "micro average"))];
  /** @type {[string, string][]} */
  const options = [["", "Micro average"], ...rest.classes.map(({ label }, index) => /** @type {[string, string]} */ ([String(index), label]))];
  const area = el("span", { class: "soft", role: "status" });
  const show = () => {
    const chosen = which.value === "" ? { label: "micro average", ...rest.micro } : rest.classes[Number(which.value)];
    first.update(precision(chosen, chosen.label));
    second.update(rates(chosen, chosen.label));
    area.textContent = `ROC AUC ${decimal(chosen.roc_curve.auc, 3)}, average precision ${decimal(chosen.pr_curve.average_precision, 3)}. Macro average: ${decimal(rest.macro.roc_auc, 3)} and ${decimal(rest.macro.average_precision, 3)}.`;
  };
  const which = select(options, { class: "inline", onchange: show });
  show();
  return el("div", { class: "stack" },
    el("h3", null, "Each class against the rest"),
    el("div", { class: "row" }, field("Curves of", which), area),
    el("div", { class: "columns" }, first.node, second.node));
}

/** @param {BothCurves} curves @param {string} name @returns {Lines} */
function precision({ pr_curve: pr }, name) {
  return { title: "Precision–recall curve", x: `recall (${name})`, y: "precision", xRange: UNIT, yRange: UNIT,
    series: [{ name: "precision", points: pr.recall.map((recall, index) => [recall, pr.precision[index]]) }],
    summary: `Precision–recall curve of ${name}: AUC ${decimal(pr.auc, 3)}, average precision ${decimal(pr.average_precision, 3)}` };
}

/** @param {BothCurves} curves @param {string} name @returns {Lines} */
function rates({ roc_curve: roc }, name) {
  return { title: "ROC curve", x: "false positive rate", y: "true positive rate", xRange: UNIT, yRange: UNIT,
    series: [{ name, points: roc.fpr.map((rate, index) => [rate, roc.tpr[index]]) }, CHANCE],
    summary: `ROC curve of ${name}: AUC ${decimal(roc.auc, 3)}` };
}
