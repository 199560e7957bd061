/** Whether the model of a job went into service, why, and a button to use it. */

import { get, path, send } from "./api.js";
import { announce, button, el, fill, once } from "./dom.js";

/** @typedef {import("./types.js").Job} Job */
/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./types.js").CurrentModel} CurrentModel */

/** @param {HTMLElement} place @param {Job} job @param {AbortSignal} signal */
export async function service(place, job, signal) {
  place.hidden = !job.model_id;
  if (!job.model_id) return;
  /** @type {[Model | null, CurrentModel | null]} */
  const [model, current] = await Promise.all([get(`models/${path(job.model_id)}`, signal).catch(() => null), get("models/current", signal).catch(() => null)]);
  const [serves, pinned] = [model?.id === current?.id, current?.mode === "pinned"];
  const went = job.service?.decision === "in_service" ? "went into service" : "did not go into service";
  const now = !model ? "It has been deleted."
    : !serves ? `It is not in service${current ? `; ${current.name} is${pinned ? " (pinned)" : ""}` : ""}.`
      : pinned ? "It is in service (pinned)." : "It is in service.";
  const state = el("p", { tabIndex: -1 }, now);
  const use = button("Use this model", () => void once(use, place, async () => {
    await send("PUT", "models/current", { model: job.model_id });
    await service(place, job, signal);
    announce(`${job.name} is in service`);
    /** @type {HTMLElement | null} */ (place.querySelector("[tabindex]"))?.focus();
  }), { title: "Pin this model: it stays in service until you choose another" });
  fill(place,
    el("p", null, "This job created a ", el("a", { href: "#/models" }, "model"), job.service ? `, which ${went}: ${job.service.reason}.` : "."),
    el("div", { class: "row apart" }, state, model && !(serves && pinned) && use));
}
