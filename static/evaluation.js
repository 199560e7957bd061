/** How well a job's best epoch does on the test split, and which photos it misclassified. */

import { get, path, request, requestWithRetry, send } from "./api.js";
import { lineChart } from "./chart.js";
import { attempt, button, confirmLoss, count, decimal, el, fill, once, percent } from "./dom.js";
import { picture, save, showBlob } from "./picture.js";

/** @typedef {import("./types.js").Evaluation} Evaluation */
/** @typedef {import("./types.js").Job} Job */

/** Wrong photos that are shown at first, and with each further push. */
const SHOWN = 24;

/** @param {HTMLElement} place @param {Evaluation} judged @param {Job} job @param {AbortSignal} signal */
export async function evaluation(place, judged, job, signal) {
  const { accuracy_interval: interval, calibration, best_threshold: best } = judged;
  const figure = (/** @type {string} */ value, /** @type {string} */ name) => el("div", null, el("b", null, value), el("span", null, name));
  fill(place,
    el("section", { class: "panel", "aria-label": "Evaluation" },
      el("h2", null, `Evaluation on ${count(judged.count)} ${judged.split} images`),
      el("div", { class: "figures" },
        figure(percent(judged.accuracy), `accuracy; ${percent(interval.low)} to ${percent(interval.high)} with 95 % confidence`),
        figure(decimal(judged.loss), "loss"),
        figure(decimal(judged.roc_curve.auc, 3), "area under ROC"),
        figure(decimal(judged.pr_curve.average_precision, 3), "average precision"),
        figure(percent(calibration.expected_calibration_error), "expected calibration error")),
      best && el("p", { class: "soft" }, `Threshold ${judged.threshold}. With ${decimal(best.threshold, 3)}, the best F1 of the validation split, the accuracy is ${percent(best.accuracy)}.`),
      el("div", { class: "columns" }, matrix(judged), report(judged)),
      el("div", { class: "columns" }, ...charts(judged)),
      el("div", { class: "row" }, el("span", { class: "hint" }, "Save as SVG:"), ["accuracy", "loss", "confusion", "pr", "roc", "reliability"].map((chart) =>
        button(chart, () => void attempt(place, () => save(`jobs/${path(job.id)}/charts/${chart}.svg`, `${job.name}-${chart}.svg`)), { class: "link" })))),
    await misclassifiedPanel(judged, job, signal));
}

/** @param {Evaluation} judged */
function matrix({ confusion_matrix: { labels, matrix } }) {
  const table = el("table", { class: "matrix" },
    el("caption", null, "Confusion matrix: rows are true classes, columns predicted classes"),
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

/** @param {Evaluation} judged */
function report({ report: { macro_avg: macro, weighted_avg: weighted, ...classes } }) {
  const rows = [...Object.entries(classes), /** @type {[string, any]} */ (["macro average", macro]), /** @type {[string, any]} */ (["weighted average", weighted])];
  return el("div", { class: "scroll" }, el("table", null,
    el("caption", null, "Classification report"),
    el("thead", null, el("tr", null, el("th", { scope: "col" }, "Class"), ["Precision", "Recall", "F1", "Support"].map((text) => el("th", { scope: "col", class: "number" }, text)))),
    el("tbody", null, rows.map(([name, score]) => el("tr", null, el("th", { scope: "row" }, name),
      [decimal(score.precision), decimal(score.recall), decimal(score.f1), count(score.support)].map((text) => el("td", { class: "number" }, text)))))));
}

/** @param {Evaluation} judged */
function charts({ pr_curve: pr, roc_curve: roc, calibration, confusion_matrix: { labels } }) {
  const unit = /** @type {[number, number]} */ ([0, 1]);
  const diagonal = { name: "chance", dashed: true, colour: 5, points: /** @type {[number, number][]} */ ([[0, 0], [1, 1]]) };
  const filled = calibration.bins.filter(({ count }) => count > 0);
  return [
    lineChart({ title: "Precision and recall", x: `recall of ${labels[1]}`, y: "precision", xRange: unit, yRange: unit,
      series: [{ name: "precision", points: pr.recall.map((recall, index) => [recall, pr.precision[index]]) }],
      summary: `Precision against recall: area ${decimal(pr.auc, 3)}, average precision ${decimal(pr.average_precision, 3)}` }).node,
    lineChart({ title: "ROC", x: "false positive rate", y: "true positive rate", xRange: unit, yRange: unit,
      series: [{ name: "model", points: roc.fpr.map((rate, index) => [rate, roc.tpr[index]]) }, diagonal],
      summary: `True against false positive rate: area ${decimal(roc.auc, 3)}` }).node,
    lineChart({ title: "Reliability", x: `predicted probability of ${labels[1]}`, y: `fraction that is ${labels[1]}`, xRange: unit, yRange: unit,
      series: [{ name: "model", points: filled.map((bin) => [bin.mean_predicted_probability ?? 0, bin.fraction_of_positives ?? 0]) }, { ...diagonal, name: "perfectly calibrated" }],
      summary: `Reliability: expected calibration error ${percent(calibration.expected_calibration_error)}` }).node,
  ];
}

/**
 * Misclassified photos, most confident first, to be looked at and corrected.
 *
 * @param {Evaluation} judged @param {Job} job @param {AbortSignal} signal
 */
async function misclassifiedPanel({ misclassified, confusion_matrix: { labels } }, job, signal) {
  const list = el("ul", { class: "photos" });
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
    if (!now) version.textContent = "The dataset is gone, and its photos with it.";
    else if (now.version !== job.dataset_version) fill(version, `The dataset has changed since (version ${now.version.slice(0, 12)}, this job's was ${job.dataset_version.slice(0, 12)}). `, el("a", { href: `#/train?dataset=${path(job.dataset)}` }, "Train on it as it is now"));
    else version.textContent = "Relabelling or removing a photo makes a new version of the dataset; this evaluation stays as it is.";
  };
  show();
  await updateVersionNote();
  return el("section", { class: "panel", "aria-label": "Misclassified" },
    el("h2", null, misclassified.length === 0 ? "No photo was misclassified" : `${count(misclassified.length)} misclassified, most confident first`),
    version, list, more);
}

/** @param {import("./types.js").Misclassified} one @param {Job} job @param {string[]} labels @param {() => void} changed */
function card(one, job, labels, changed) {
  const name = one.file_name ?? "no longer in the dataset";
  const image = el("div", { class: "view" }, one.file_name === null ? null : picture(`images/${path(one.image_id)}/thumbnail?size=400`, `${name}, a ${one.label}`));
  const messages = el("div", null);
  const image_url = `datasets/${path(job.dataset)}/images/${path(one.image_id)}`;
  const done = (/** @type {string} */ text) => {
    const said = el("span", { class: "good", tabIndex: -1 }, text);
    fill(actions, said);
    said.focus();
    changed();
  };
  const relabel = () => attempt(messages, async () => {
    await send("PATCH", image_url, { label: one.predicted });
    done(`Now labelled ${one.predicted}.`);
  });
  const remove = async () => {
    if (!(await confirmLoss(`Remove ${name} from ${job.dataset}?`, "Remove"))) return;
    await attempt(messages, async () => {
      await send("DELETE", image_url);
      done("Removed.");
    });
  };
  const why = button("Why?", () => void once(why, messages, () => explain(why, image, one, job)), { "aria-pressed": "false", "aria-label": `Why ${name}?`, hidden: !job.model_id });
  const actions = el("div", { class: "actions" }, why,
    button(`Relabel ${one.predicted}`, relabel, { "aria-label": `Relabel ${name} as ${one.predicted}`, hidden: !labels.includes(one.predicted) }),
    button("Remove", remove, { class: "danger", "aria-label": `Remove ${name}` }));
  return el("li", { class: "panel photo" }, image, el("div", { class: "words" },
    el("span", { class: "name", title: name }, name),
    el("p", null, `${one.label}, predicted `, el("b", null, one.predicted), ` ${percent(one.probability)}`),
    one.file_name === null ? null : actions, messages));
}

/** Switches between the photo and its Grad-CAM. @param {HTMLButtonElement} why @param {HTMLElement} view @param {import("./types.js").Misclassified} one @param {Job} job */
async function explain(why, view, one, job) {
  const image = /** @type {HTMLImageElement} */ (view.querySelector("img"));
  const on = why.getAttribute("aria-pressed") !== "true";
  const photo = await (await request(`images/${path(one.image_id)}`)).blob();
  if (on) {
    const answer = await requestWithRetry(`explain?model=${path(job.model_id ?? "")}`, { method: "POST", body: photo, headers: { "Content-Type": photo.type } });
    await showBlob(image, await answer.blob());
  } else await showBlob(image, photo);
  why.setAttribute("aria-pressed", String(on));
}
