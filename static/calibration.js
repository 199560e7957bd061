/** Calibration of the probabilities before and after temperature scaling, and when the model is unsure. */

import { path } from "./api.js";
import { lineChart } from "./chart.js";
import { count, decimal, el, percent, plural } from "./dom.js";

/** @typedef {import("./types.js").Evaluation} Evaluation */
/** @typedef {import("./types.js").Reliability} Reliability */
/** @typedef {[number, number][]} Points */

const UNIT = /** @type {[number, number]} */ ([0, 1]);
/** @type {import("./chart.js").Series} */
const PERFECT = { name: "perfectly calibrated", dashed: true, colour: 5, points: [[0, 0], [1, 1]] };

/** @param {Evaluation} result @param {string | null} model */
export function calibration(result, model) {
  const { calibration: { scaled, raw, temperature }, coverage, confusion_matrix: { labels } } = result;
  const binary = labels.length === 2;
  return el("section", { class: "panel", "aria-label": "Calibration and confidence" },
    el("h2", null, "Calibration and confidence"),
    scaled && raw && el("p", { class: "soft" }, `A well calibrated model that is 80% confident is right in 80% of cases. ${!temperature ? "" : Math.abs(temperature - 1) < 0.0005 ? "The temperature is 1: scaling changes nothing, for example because logistic regression is scaled to the validation split while it trains." : `Its outputs are divided by the temperature ${decimal(temperature, 3)}, chosen on the validation split.`}`),
    el("div", { class: "columns" },
      scaled && raw && numbers(scaled, raw),
      coverage?.length ? unsure(result, model) : null),
    el("div", { class: "columns" },
      (binary || !scaled) && ofClass(result),
      scaled && raw && confidence(scaled, raw, binary ? "Confidence and accuracy" : "Reliability diagram"),
      coverage?.length ? answered(coverage, result.unsure) : null));
}

/** @param {Reliability} scaled @param {Reliability} raw */
function numbers(scaled, raw) {
  /** @type {[string, (of: Reliability) => string][]} */
  const rows = [
    ["Expected calibration error (ECE)", (of) => percent(of.expected_calibration_error)],
    ["Log loss", (of) => decimal(of.log_loss)],
    ["Brier score", (of) => decimal(of.brier_score)],
  ];
  return el("div", { class: "scroll" }, el("table", null,
    el("caption", null, "Calibration (lower is better)"),
    el("thead", null, el("tr", null, el("th", { scope: "col" }, ""), ["Before", "After"].map((text) => el("th", { scope: "col", class: "number" }, text)))),
    el("tbody", null, rows.map(([name, value]) => el("tr", null, el("th", { scope: "row" }, name), [raw, scaled].map((of) => el("td", { class: "number" }, value(of))))))));
}

/** How many images the model is unsure of, and its accuracy on the others. @param {Evaluation} result @param {string | null} model */
function unsure({ unsure: report, count: images, split, accuracy }, model) {
  if (!report) return null;
  const change = model ? el("a", { href: `#/models/${path(model)}` }, "change them on the model's page") : "its model was deleted";
  const { low_confidence: low, unlike_training: unlike, answered_accuracy: answered } = report;
  const none = low + unlike === 0;
  return el("div", { class: "stack" },
    el("h3", null, "When it is unsure"),
    el("p", null, none
      ? `The model is unsure of none of the ${plural(images, `${split} image`)}.`
      : `The model is unsure of ${count(low + unlike)} of ${plural(images, `${split} image`)}: ${[low > 0 && `${count(low)} with low confidence`, unlike > 0 && `${count(unlike)} unlike the training images`].filter(Boolean).join(", ")}.`),
    !none && (answered === null ? el("p", null, "It answers none of them.") : el("p", null, `Accuracy of the ${count(images - low - unlike)} others: `, el("b", null, percent(answered)), ` (of all: ${percent(accuracy)}).`)),
    el("p", { class: "hint" }, report.answer_above ? `It is unsure if the probability is below ${decimal(report.answer_above, 3)}. ` : "", "These are the thresholds from training; ", change, "."));
}

/** Of two classes, the calibration of the second; of older evaluations, the only one there is. @param {Evaluation} result */
function ofClass({ calibration: { bins, expected_calibration_error: error }, confusion_matrix: { labels } }) {
  const filled = bins.filter(({ count }) => count > 0);
  return lineChart({ title: "Reliability diagram", x: `mean predicted probability (${labels[1]})`, y: `fraction of positives (${labels[1]})`, xRange: UNIT, yRange: UNIT,
    series: [{ name: "model", points: filled.map((bin) => [bin.mean_predicted_probability ?? 0, bin.fraction_of_positives ?? 0]) }, PERFECT],
    summary: `Reliability diagram: expected calibration error ${percent(error)}` }).node;
}

/** @param {Reliability} scaled @param {Reliability} raw @param {string} title */
function confidence(scaled, raw, title) {
  const points = (/** @type {Reliability} */ { bins }) => /** @type {Points} */ (bins.filter(({ count }) => count > 0).map((bin) => [bin.mean_confidence ?? 0, bin.accuracy ?? 0]));
  return lineChart({ title, x: "confidence (probability of the predicted class)", y: "accuracy", xRange: UNIT, yRange: UNIT,
    series: [{ name: "before calibration", colour: 1, points: points(raw) }, { name: "after", colour: 0, points: points(scaled) }, PERFECT],
    summary: `${title}: expected calibration error ${percent(scaled.expected_calibration_error)}, before calibration ${percent(raw.expected_calibration_error)}` }).node;
}

/** @param {import("./types.js").CoveragePoint[]} coverage @param {Evaluation["unsure"]} report */
function answered(coverage, report) {
  return coverageChart(coverage, coverage.find(({ threshold }) => threshold >= (report?.answer_above ?? 0)) ?? null).node;
}

/**
 * Accuracy by the share of images that are answered.
 *
 * @param {import("./types.js").CoveragePoint[]} coverage @param {import("./types.js").CoveragePoint | null} at the chosen point
 */
export function coverageChart(coverage, at) {
  const lines = (/** @type {import("./types.js").CoveragePoint | null} */ at) => {
    const all = coverage.find(({ threshold }) => threshold === 0) ?? coverage[0];
    return /** @type {import("./chart.js").Lines} */ ({
      title: "Accuracy by share of answered images", x: "share of images answered", y: "accuracy", xRange: UNIT,
      series: [{ name: "accuracy", points: coverage.map(({ answered, accuracy }) => /** @type {[number, number]} */ ([answered, accuracy])).reverse() }],
      mark: at && { x: at.answered, text: `${percent(at.answered)} answered`, low: true },
      summary: `Accuracy ${percent(all.accuracy)} if all images are answered${at ? `, ${percent(at.accuracy)} at ${percent(at.answered)} answered` : ""}`,
    });
  };
  const { node, update } = lineChart(lines(at));
  return { node, update: (/** @type {import("./types.js").CoveragePoint} */ now) => update(lines(now)) };
}
