/** Evaluation of a job's best epoch on the test split, with its misclassified images. */

import { path } from "./api.js";
import { calibration } from "./calibration.js";
import { curves } from "./curves.js";
import { attempt, button, count, decimal, el, fill, percent } from "./dom.js";
import { matrix, worstPairs } from "./matrix.js";
import { misclassifiedPanel } from "./misclassified.js";
import { save } from "./picture.js";
import { report } from "./report.js";
import { inWords } from "./sentence.js";

/** @typedef {import("./types.js").Evaluation} Evaluation */
/** @typedef {import("./types.js").Job} Job */

/** Confusion matrices of more classes than this get most of the width. */
const NARROW = 6;
/** Charts that can be saved, by their names in the API. */
const SVG_CHARTS = {
  accuracy: "Accuracy", loss: "Loss", confusion: "Confusion matrix", pr: "PR curve", roc: "ROC curve", reliability: "Reliability diagram",
};

/** @param {HTMLElement} place @param {Evaluation} result @param {Job} job @param {AbortSignal} signal */
export async function evaluation(place, result, job, signal) {
  const { labels } = result.confusion_matrix;
  const wrong = misclassifiedPanel(result, job, signal);
  const [confusion, scores] = [matrix(result, wrong.show), report(result)];
  const pairs = labels.length > 2 && worstPairs(result, wrong.show);
  fill(place,
    el("section", { class: "panel", "aria-label": "Evaluation" },
      el("h2", null, `Evaluation on ${count(result.count)} ${result.split} images`),
      el("p", { class: "lead" }, inWords(result)),
      el("div", { class: "figures" }, figures(result)),
      crossValidation(result),
      threshold(result),
      el("div", { class: labels.length <= NARROW ? "columns" : "wide-first" }, confusion, pairs || scores),
      pairs && scores,
      curves(result)),
    calibration(result, job.model_id),
    el("section", { class: "panel", "aria-label": "Charts as files" },
      el("div", { class: "row" }, el("span", { class: "hint" }, "Save as SVG:"), Object.entries(SVG_CHARTS).map(([chart, name]) =>
        button(name, () => void attempt(place, () => save(`jobs/${path(job.id)}/charts/${chart}.svg`, `${job.name}-${chart}.svg`)), { class: "link" })))),
    wrong.node);
  await wrong.updateVersionNote();
}

/** The main numbers. @param {Evaluation} result */
function figures(result) {
  const { accuracy_interval: interval, one_vs_rest: rest, pr_curve: pr, roc_curve: roc, top_5_accuracy: top } = result;
  const figure = (/** @type {string} */ value, /** @type {string} */ name) => el("div", null, el("b", null, value), el("span", null, name));
  const macro = rest ? "Macro " : "";
  return [
    figure(percent(result.accuracy), `Accuracy (${Math.round(interval.confidence * 100)}% CI ${(interval.low * 100).toFixed(1)}–${percent(interval.high)})`),
    typeof top === "number" && figure(percent(top), "Top-5 accuracy"),
    figure(decimal(result.loss), "Loss"),
    figure(decimal(rest ? rest.macro.roc_auc : roc?.auc, 3), `${macro}ROC AUC`),
    figure(decimal(rest ? rest.macro.average_precision : pr?.average_precision, 3), rest ? "Macro average precision" : "Average precision"),
    figure(percent((result.calibration.scaled ?? result.calibration).expected_calibration_error), "Expected calibration error (ECE)"),
  ];
}

/** @param {Evaluation} result */
function crossValidation({ cross_validation: crossed }) {
  if (!crossed) return null;
  const { low, high } = crossed.accuracy_interval;
  return el("p", { class: "soft" }, `${crossed.folds}-fold cross-validation on the images of all splits: ${count(crossed.correct)} of ${count(crossed.count)} correct (${percent(crossed.accuracy)}; 95% CI ${(low * 100).toFixed(1)}–${percent(high)}). It uses all images, so it varies less than the test accuracy; where you chose the splits yourself, the test accuracy is the independent figure.`);
}

/** @param {Evaluation} result */
function threshold({ best_threshold: best, threshold, split }) {
  return best && el("p", { class: "soft" }, `Decision threshold ${threshold}. At ${decimal(best.threshold, 3)} (best F1 on the validation split), ${split} accuracy is ${percent(best.accuracy)}.`);
}
