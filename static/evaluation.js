/** Evaluation of a job's best epoch on the test split, with its misclassified images. */

import { get, path, request, requestWithRetry, send } from "./api.js";
import { lineChart } from "./chart.js";
import { attempt, button, confirmLoss, count, decimal, el, fill, once, percent, plural } from "./dom.js";
import { picture, save, showBlob } from "./picture.js";

/** @typedef {import("./types.js").Evaluation} Evaluation */
/** @typedef {import("./types.js").Job} Job */

/** Misclassified images shown per page. */
const SHOWN = 24;
/** Charts that can be saved, by their names in the API. */
const SVG_CHARTS = {
  accuracy: "Accuracy", loss: "Loss", confusion: "Confusion matrix", pr: "PR curve", roc: "ROC curve", reliability: "Reliability diagram",
};

/** @param {HTMLElement} place @param {Evaluation} result @param {Job} job @param {AbortSignal} signal */
export async function evaluation(place, result, job, signal) {
  const { accuracy_interval: interval, calibration, best_threshold: best } = result;
  const figure = (/** @type {string} */ value, /** @type {string} */ name) => el("div", null, el("b", null, value), el("span", null, name));
  fill(place,
    el("section", { class: "panel", "aria-label": "Evaluation" },
      el("h2", null, `Evaluation on ${count(result.count)} ${result.split} images`),
      el("div", { class: "figures" },
        figure(percent(result.accuracy), `Accuracy (${Math.round(interval.confidence * 100)}% CI ${(interval.low * 100).toFixed(1)}–${percent(interval.high)})`),
        figure(decimal(result.loss), "Loss"),
        figure(decimal(result.roc_curve.auc, 3), "ROC AUC"),
        figure(decimal(result.pr_curve.average_precision, 3), "Average precision"),
        figure(percent(calibration.expected_calibration_error), "Expected calibration error (ECE)")),
      best && el("p", { class: "soft" }, `Decision threshold ${result.threshold}. At ${decimal(best.threshold, 3)} (best F1 on the validation split), ${result.split} accuracy is ${percent(best.accuracy)}.`),
      el("div", { class: "columns" }, matrix(result), report(result)),
      el("div", { class: "columns" }, ...charts(result)),
      el("div", { class: "row" }, el("span", { class: "hint" }, "Save as SVG:"), Object.entries(SVG_CHARTS).map(([chart, name]) =>
        button(name, () => void attempt(place, () => save(`jobs/${path(job.id)}/charts/${chart}.svg`, `${job.name}-${chart}.svg`)), { class: "link" })))),
    await misclassifiedPanel(result, job, signal));
}

/** @param {Evaluation} result */
function matrix({ confusion_matrix: { labels, matrix } }) {
  const table = el("table", { class: "matrix" },
    el("caption", null, "Confusion matrix (rows: true class, columns: predicted class)"),
    el("thead", null, el("tr", null, el("td", { class: "corner" }), labels.map((label) => el("th", { scope: "col" }, `predicted ${label}`)))),
    el("tbody", null, matrix.map((row, truth) => {
      const all = row.reduce((sum, one) => sum + one, 0) || 1;
      return el("tr", null, el("th", { scope: "row" }, labels[truth]), row.map((value) => {
        const cell = el("td", null, count(value), el("small", null, percent(value / all)));
        cell.style.setProperty("--share", `${Math.round((value / all) * 45)}%`);
        return cell;
      }));
    })));
  return el("div", { class: "scroll" }, table);
}

/** @param {Evaluation} result */
function report({ report: { macro_avg: macro, weighted_avg: weighted, ...classes } }) {
  const rows = [...Object.entries(classes), /** @type {[string, any]} */ (["macro average", macro]), /** @type {[string, any]} */ (["weighted average", weighted])];
  return el("div", { class: "scroll" }, el("table", null,
    el("caption", null, "Classification report"),
    el("thead", null, el("tr", null, el("th", { scope: "col" }, "Class"), ["Precision", "Recall", "F1", "Support"].map((text) => el("th", { scope: "col", class: "number" }, text)))),
    el("tbody", null, rows.map(([name, score]) => el("tr", null, el("th", { scope: "row" }, name),
      [decimal(score.precision), decimal(score.recall), decimal(score.f1), count(score.support)].map((text) => el("td", { class: "number" }, text)))))));
}

/** @param {Evaluation} result */
function charts({ pr_curve: pr, roc_curve: roc, calibration, confusion_matrix: { labels } }) {
  const unit = /** @type {[number, number]} */ ([0, 1]);
  const diagonal = { name: "chance", dashed: true, colour: 5, points: /** @type {[number, number][]} */ ([[0, 0], [1, 1]]) };
  const filled = calibration.bins.filter(({ count }) => count > 0);
  return [
    lineChart({ title: "Precision–recall curve", x: `recall (${labels[1]})`, y: "precision", xRange: unit, yRange: unit,
      series: [{ name: "precision", points: pr.recall.map((recall, index) => [recall, pr.precision[index]]) }],
      summary: `Precision–recall curve for ${labels[1]}: AUC ${decimal(pr.auc, 3)}, average precision ${decimal(pr.average_precision, 3)}` }).node,
    lineChart({ title: "ROC curve", x: "false positive rate", y: "true positive rate", xRange: unit, yRange: unit,
      series: [{ name: "model", points: roc.fpr.map((rate, index) => [rate, roc.tpr[index]]) }, diagonal],
      summary: `ROC curve: AUC ${decimal(roc.auc, 3)}` }).node,
    lineChart({ title: "Reliability diagram", x: `mean predicted probability (${labels[1]})`, y: `fraction of positives (${labels[1]})`, xRange: unit, yRange: unit,
      series: [{ name: "model", points: filled.map((bin) => [bin.mean_predicted_probability ?? 0, bin.fraction_of_positives ?? 0]) }, { ...diagonal, name: "perfectly calibrated" }],
      summary: `Reliability diagram: expected calibration error ${percent(calibration.expected_calibration_error)}` }).node,
  ];
}

/**
 * Misclassified images, most confident first, with actions to correct their labels.
 *
 * @param {Evaluation} result @param {Job} job @param {AbortSignal} signal
 */
async function misclassifiedPanel({ misclassified, confusion_matrix: { labels } }, job, signal) {
  const list = el("ul", { class: "cards" });
  let shown = 0;
  const more = button("Show more", () => show());
  const show = () => {
    for (const one of misclassified.slice(shown, shown + SHOWN)) list.append(card(one, job, labels, () => void updateVersionNote()));
    shown += SHOWN;
    more.hidden = shown >= misclassified.length;
  };
  const version = el("p", { class: "hint" });
  const updateVersionNote = async () => {
    const now = await get(`datasets/${path(job.dataset)}`, signal).catch(() => null);
    if (!now) version.textContent = "The dataset is no longer available.";
    else if (now.version !== job.dataset_version) fill(version, `The dataset has changed (now version ${now.version.slice(0, 12)}; this job used ${job.dataset_version.slice(0, 12)}). `, el("a", { href: `#/train?dataset=${path(job.dataset)}` }, "Train on the current version"), ".");
    else version.textContent = "Relabelling or removing an image creates a new dataset version. This evaluation does not change.";
  };
  show();
  await updateVersionNote();
  return el("section", { class: "panel", "aria-label": "Misclassified images" },
    el("h2", null, misclassified.length === 0 ? "No misclassified images" : `${plural(misclassified.length, "misclassified image")}, most confident first`),
    version, list, more);
}

/** @param {import("./types.js").Misclassified} one @param {Job} job @param {string[]} labels @param {() => void} changed */
function card(one, job, labels, changed) {
  const name = one.file_name ?? "no longer in the dataset";
  const image = el("div", { class: "view" }, one.file_name === null ? null : picture(`images/${path(one.image_id)}/thumbnail?size=400`, `${name} (true class: ${one.label})`));
  const messages = el("div", null);
  const image_url = `datasets/${path(job.dataset)}/images/${path(one.image_id)}`;
  const done = (/** @type {string} */ text) => {
    const message = el("span", { class: "good", tabIndex: -1 }, text);
    fill(actions, message);
    message.focus();
    changed();
  };
  const relabel = () => attempt(messages, async () => {
    await send("PATCH", image_url, { label: one.predicted });
    done(`Relabelled as ${one.predicted}.`);
  });
  const remove = async () => {
    if (!(await confirmLoss(`Remove ${name} from ${job.dataset}?`, "Remove"))) return;
    await attempt(messages, async () => {
      await send("DELETE", image_url);
      done("Removed.");
    });
  };
  const toggle = button("Explain", () => void once(toggle, messages, () => explain(toggle, image, one, job)), { "aria-pressed": "false", "aria-label": `Explain ${name}`, hidden: !job.model_id });
  const actions = el("div", { class: "actions" }, toggle,
    button(`Relabel as ${one.predicted}`, relabel, { "aria-label": `Relabel ${name} as ${one.predicted}`, hidden: !labels.includes(one.predicted) }),
    button("Remove", remove, { class: "danger", "aria-label": `Remove ${name}` }));
  return el("li", { class: "panel card" }, image, el("div", { class: "words" },
    el("span", { class: "name", title: name }, name),
    el("p", null, `True: ${one.label}. Predicted: `, el("b", null, one.predicted), ` (${percent(one.probability)})`),
    one.file_name === null ? null : actions, messages));
}

/** Switches between the image and its Grad-CAM heat map. @param {HTMLButtonElement} toggle @param {HTMLElement} view @param {import("./types.js").Misclassified} one @param {Job} job */
async function explain(toggle, view, one, job) {
  const image = /** @type {HTMLImageElement} */ (view.querySelector("img"));
  const on = toggle.getAttribute("aria-pressed") !== "true";
  const original = await (await request(`images/${path(one.image_id)}`)).blob();
  if (on) {
    const response = await requestWithRetry(`explain?model=${path(job.model_id ?? "")}`, { method: "POST", body: original, headers: { "Content-Type": original.type } });
    await showBlob(image, await response.blob());
  } else await showBlob(image, original);
  toggle.setAttribute("aria-pressed", String(on));
}
