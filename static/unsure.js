/** When a model is unsure: the accuracy of its answers by their share, and the thresholds to choose. */

import { get, path, send } from "./api.js";
import { coverageChart } from "./calibration.js";
import { announce, button, decimal, el, field, fill, freshId, once, percent } from "./dom.js";

/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./types.js").CoveragePoint} CoveragePoint */

/** The limit of the distance that was last in use, of each model where it was switched off here. @type {Map<string, number>} */
const before = new Map();

/** @param {HTMLElement} place @param {Model} model @param {AbortSignal} signal */
export async function unsure(place, model, signal) {
  /** @type {[CoveragePoint[], number | null]} */
  const [points, limit] = await Promise.all([get(`models/${path(model.id)}/coverage`, signal), formerLimit(model, signal)]);
  if (signal.aborted) return;
  const messages = el("div", null);
  const heading = el("h2", { tabIndex: -1 }, `When is ${model.name} unsure?`);
  /** @param {HTMLButtonElement} control @param {Record<string, number | null>} change @param {string} said */
  const save = (control, change, said) => once(control, messages, async () => {
    const now = await send("PATCH", `models/${path(model.id)}`, change);
    await unsure(place, now, signal);
    announce(said);
    /** @type {HTMLElement | null} */ (place.querySelector("h2"))?.focus({ preventScroll: true });
  });
  fill(place, heading,
    el("p", { class: "soft" }, "Each prediction has a label. It is also marked as unsure if its probability is too low, or if the image is unlike all training images, so that a person can check it."),
    points.length > 0
      ? probability(model, points, save)
      : el("p", null, "This model has no record of its accuracy by probability, because an older version trained it. New models have one."),
    likeness(model, limit, save),
    messages);
}

/** The limit of the distance to switch on again: that in use, or before, or from training. @param {Model} model @param {AbortSignal} signal @returns {Promise<number | null>} */
async function formerLimit(model, signal) {
  if (model.unlike_above !== null) return model.unlike_above;
  const known = before.get(model.id);
  if (known !== undefined || !model.job_id) return known ?? null;
  const evaluation = await get(`jobs/${path(model.job_id)}/evaluation`, signal).catch(() => null);
  return evaluation?.unsure?.unlike_above ?? null;
}

/** @typedef {(control: HTMLButtonElement, change: Record<string, number | null>, said: string) => unknown} Save */

/** @param {Model} model @param {CoveragePoint[]} points by ascending threshold, starting at 0 @param {Save} save */
function probability(model, points, save) {
  const saved = model.answer_above ?? 0;
  const nearest = points.findIndex(({ threshold }) => threshold >= saved);
  // No point may be as high as a threshold that was set by hand.
  const start = nearest < 0 ? points.length - 1 : nearest;
  const chart = coverageChart(points, points[start]);
  const [share, accuracy, from] = [el("b", null), el("b", null), el("b", null)];
  const slider = el("input", { type: "range", min: "0", max: String(points.length - 1), step: "1", value: String(start), oninput: () => show() });
  const keep = button("Save", () => {
    const { threshold } = points[Number(slider.value)];
    void save(keep, { answer_above: threshold || null }, "Saved");
  }, { class: "primary" });
  const show = () => {
    const index = Number(slider.value);
    const asSaved = index === start && nearest >= 0;
    // The saved threshold may lie between two points.
    const point = asSaved ? { ...points[index], threshold: saved } : points[index];
    chart.update(point);
    share.textContent = percent(point.answered);
    accuracy.textContent = percent(point.accuracy);
    from.textContent = point.threshold ? decimal(point.threshold, 3) : "any";
    slider.setAttribute("aria-valuetext", `${percent(point.answered)} answered, accuracy ${percent(point.accuracy)}, probability at least ${decimal(point.threshold, 3)}`);
    keep.disabled = asSaved;
  };
  show();
  const figure = (/** @type {HTMLElement} */ value, /** @type {string} */ name) => el("div", null, value, el("span", null, name));
  const wanted = el("input", { type: "number", min: "0", max: "100", step: "any", value: "95", required: true, class: "inline" });
  const apply = button("Set", () => {
    if (wanted.reportValidity()) void save(apply, { wanted_accuracy: Number(wanted.value) / 100 }, "Saved");
  });
  const now = saved >= 1 && nearest < 0 ? "Always unsure: at no probability are enough of its answers correct. Check the labels, or choose a lower target."
    : saved === 0 ? "No minimum: the model is never unsure because of a low probability."
    : `Now: unsure below a probability of ${decimal(saved, 3)}.`;
  return el("div", { class: "columns" }, chart.node, el("div", { class: "stack" },
    el("h3", null, "Low confidence"),
    el("p", { class: "hint" }, "Measured on images that the model was not trained on. Further to the right, the model answers fewer images, and usually a larger fraction of its answers is correct."),
    field("Minimum probability", slider),
    el("div", { class: "figures" }, figure(share, "answered"), figure(accuracy, "accuracy of the answers"), figure(from, "minimum probability")),
    el("div", { class: "row" }, keep, el("span", { class: "soft" }, now)),
    el("div", { class: "row end-aligned" }, field("Or target accuracy (%)", wanted), apply)));
}

/** @param {Model} model @param {number | null} limit @param {Save} save */
function likeness(model, limit, save) {
  const on = model.unlike_above !== null;
  const id = freshId();
  const change = /** @type {HTMLButtonElement} */ (el("button", { type: "button", role: "switch", class: "switch", "aria-checked": String(on), "aria-labelledby": id, disabled: limit === null, onclick: () => {
    if (on && model.unlike_above !== null) before.set(model.id, model.unlike_above);
    void save(change, { unlike_above: on ? null : limit }, on ? "Switched off" : "Switched on");
  } }));
  return el("div", { class: "stack" },
    el("h3", null, "Unlike the training images"),
    el("div", { class: "row" }, change, el("span", { id }, "Unsure if an image is unlike the training images"), el("span", { class: "soft" }, on ? `On: distance above ${decimal(model.unlike_above, 3)}` : "Off")),
    el("p", { class: "hint" }, limit === null
      ? "This model has no record of its training images, so it can't compare others with them."
      : "Even an image of something else can get a high probability. Its distance to the most similar training images reveals it."));
}
