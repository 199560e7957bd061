/** Drift: the predictions of the last hours against the validation split of a model. */

import { get } from "./api.js";
import { attempt, el, field, fill, percent, plural, select } from "./dom.js";
import { lineChart } from "./chart.js";

/** @typedef {import("./types.js").Drift} Drift */

/** @type {[hours: string, text: string][]} */
const SPANS = [["1", "Last hour"], ["24", "Last 24 hours"], ["168", "Last 7 days"], ["720", "Last 30 days"]];
/** Points of a chart. */
const BUCKETS = 24;
/** Classes that are drawn; more can't be told apart. */
const CLASSES = 6;

/** @type {Record<string, string>} */
const VERDICTS = { too_few: "Too few predictions", stable: "Stable", moderate: "Moderate change", drift: "Drift" };

/** @param {import("./types.js").LoggedModelSummary[]} models @param {AbortSignal} signal */
export function driftPanel(models, signal) {
  const body = el("div", { class: "stack", role: "status" });
  const model = select(models.map(({ id, name }) => /** @type {[string, string]} */ ([id, name])), { onchange: () => show() });
  const span = select(SPANS, { value: "24", onchange: () => show() });
  let asked = 0;
  const show = () => void attempt(body, async () => {
    const mine = ++asked;
    const hours = Number(span.value);
    const query = new URLSearchParams({ model: model.value, hours: span.value, buckets: String(BUCKETS) });
    const drift = await get(`predictions/drift?${query}`, signal);
    // A later question may have been answered sooner.
    if (mine === asked) draw(body, drift, hours);
  });
  show();
  return el("section", { class: "panel", "aria-label": "Drift" },
    el("h2", null, "Drift"),
    el("div", { class: "fields" }, field("Model", model), field("Time", span)),
    body);
}

/** @param {HTMLElement} place @param {Drift} drift @param {number} hours */
function draw(place, drift, hours) {
  const { unsure, classes, distance, buckets, verdict } = drift;
  const unit = hours > 72 ? 24 : 1;
  /** When a part ended, in hours or days before now. @param {number} at */
  const when = (at) => -((buckets.length - at - 1) * hours) / buckets.length / unit;
  const x = unit === 1 ? "hours relative to now" : "days relative to now";
  const some = buckets.map((bucket, at) => ({ bucket, x: when(at) })).filter(({ bucket }) => bucket.predictions > 0);
  /** @param {(bucket: import("./types.js").DriftFigures) => number | null | undefined} value */
  const points = (value) => some.flatMap(({ bucket, x: at }) => {
    const y = value(bucket);
    return typeof y === "number" ? [/** @type {[number, number]} */ ([at, y])] : [];
  });
  const across = /** @type {[number, number]} */ ([when(0), 0]);
  /** @param {number | null | undefined} value */
  const level = (value) => (typeof value === "number" ? [{ name: "validation", points: across.map((at) => /** @type {[number, number]} */ ([at, value])), dashed: true, colour: 1 }] : []);
  /** @param {string} title @param {string} y @param {import("./chart.js").Series[]} series @param {[number, number]} [yRange] */
  const chart = (title, y, series, yRange) => lineChart({ title, x, y, series, xRange: across, yRange }).node;
  // The badge says so already.
  const detail = drift.detail.replace(/^(Drift|A moderate change): /, "");
  const sentence = detail.startsWith("Too few") ? detail : `${plural(drift.predictions, "prediction")}: ${detail[0].toLowerCase()}${detail.slice(1)}`;
  const shown = Object.keys(classes?.fractions ?? {}).slice(0, CLASSES);
  fill(place,
    el("p", null, el("span", { class: `badge ${verdict}` }, VERDICTS[verdict]), ` ${sentence}`),
    drift.predictions === 0 ? null : el("div", { class: "columns two" },
      unsure ? chart(`Unsure: ${percent(unsure.fraction)}${unsure.reference === null ? "" : ` (validation: ${percent(unsure.reference)})`}`, "fraction unsure", [
        { name: "unsure", points: points((it) => it.unsure?.fraction), dots: some.length < 2 }, ...level(unsure.reference)]) : null,
      distance ? chart(`Farther than ${Math.round(100 * (1 - distance.far_reference))}% of the validation images: ${percent(distance.far)} of the predictions, PSI ${distance.psi.toFixed(2)}`, "fraction farther", [
        { name: "farther", points: points((it) => it.distance?.far), dots: some.length < 2 }, ...level(distance.far_reference)]) : null,
      classes ? chart(`Predicted classes${classes.psi === null ? "" : `: PSI ${classes.psi.toFixed(2)}`}`, "fraction", shown.flatMap((name, at) => [
        { name, points: points((it) => it.classes?.fractions[name]), dots: some.length < 2, colour: at },
        ...level(classes.reference?.[name]).map((line) => ({ ...line, name: `${name}, validation`, colour: at }))]), [0, 1]) : null));
}
