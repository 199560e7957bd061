/** Whether a model is in service, a button to use it, and why the model of a job went into service or not. */

import { get, path, send } from "./api.js";
import { announce, button, el, fill, once } from "./dom.js";

/** @typedef {import("./types.js").Job} Job */
/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./types.js").CurrentModel} CurrentModel */

/** What became of a job's model. @param {HTMLElement} place @param {Job} job @param {AbortSignal} signal */
export async function service(place, job, signal) {
  place.hidden = !job.model_id;
  if (!job.model_id) return;
  /** @type {[Model | null, CurrentModel | null]} */
  const [model, current] = await Promise.all([get(`models/${path(job.model_id)}`, signal).catch(() => null), get("models/current", signal).catch(() => null)]);
  const went = job.service?.decision === "in_service" ? "went into service" : "did not go into service";
  const state = el("div", { class: "stack" });
  fill(place,
    el("p", null, "This job created ", model ? ["the model ", el("a", { href: `#/models/${path(model.name)}` }, model.name)] : "a model", job.service ? `, which ${went}: ${job.service.reason}.` : "."),
    state);
  if (model) serviceOf(state, model, current, () => service(place, job, signal));
  else fill(state, el("p", null, "It has been deleted."));
}

/**
 * Whether a model is in service, and a button to use it.
 *
 * @param {HTMLElement} place @param {Model} model @param {CurrentModel | null} current
 * @param {() => Promise<unknown>} changed called after another model went into service; shows `place` again
 */
export function serviceOf(place, model, current, changed) {
  const [serves, pinned] = [model.id === current?.id, current !== null && current.pinned_model === current.name];
  const now = !serves ? `It is not in service${current ? `; ${current.name} is${pinned ? " (pinned)" : ""}` : ""}.`
    : pinned ? "It is in service (pinned)." : "It is in service.";
  const pin = async () => {
    await send("PUT", "models/current", { model: model.id });
    await changed();
    announce(`${model.name} is in service`);
    /** @type {HTMLElement | null} */ (document.querySelector(".serves"))?.focus();
  };
  const use = button(serves ? "Pin this model" : "Use this model", () => void once(use, place, pin), { class: serves ? undefined : "primary", title: "It stays in service until you choose another" });
  fill(place, el("div", { class: "row apart" }, el("p", { class: "serves", tabIndex: -1 }, now), !(serves && pinned) && use));
}
