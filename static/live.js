/** A job while it runs: its status, its progress, and what a person can ask of it. */

import { follow, get, path, send } from "./api.js";
import { attempt, button, confirmLoss, duration, el, fill, percent, words } from "./dom.js";

/** @typedef {import("./types.js").Job} Job */

/** @param {{ status: string }} job */
export const isOver = ({ status }) => status !== "queued" && status !== "running";

/** @param {{ status: string }} job */
export const badge = ({ status }) => el("span", { class: `badge ${status}` }, status);

/**
 * Follows a job until it is over. `take` gets the job after each change, and of an event what it
 * told.
 *
 * @param {Job} job
 * @param {(job: Job, kind: string, data: any) => void} take
 * @param {AbortSignal} signal
 */
export async function followJob(job, take, signal) {
  const speed = new Speed();
  await follow(`jobs/${path(job.id)}/events`, (kind, data) => {
    // Each status is of its own time: an earlier one than the last epoch's knows of no best.
    if (kind === "status") job = { ...data, best: data.best ?? job.best, progress: isOver(data) ? data.progress : (data.progress ?? job.progress) };
    if (kind === "epoch" && !(data.val_loss >= (job.best?.val_loss ?? Infinity))) job = { ...job, best: data };
    if (kind === "progress") job = speed.in({ ...job, progress: data });
    take(job, kind, data);
  }, async () => {
    job = await get(`jobs/${path(job.id)}`, signal);
    take(job, "status", job);
    return isOver(job);
  }, signal);
}

/** Images a second, from one report to the next of the same phase. */
export class Speed {
  constructor() {
    /** @type {{ phase: string, epoch: number, step: number, at: number } | null} */
    this.last = null;
    /** @type {number | undefined} */
    this.now = undefined;
  }

  /** The job with its speed. @param {Job} job @returns {Job} */
  in(job) {
    if (!job.progress) return job;
    return { ...job, progress: { ...job.progress, images_per_second: this.of(job.progress, job.params.batch_size) } };
  }

  /** @param {import("./types.js").Progress} progress @param {number} batch images of a step @returns {number | undefined} */
  of({ phase, epoch, step }, batch) {
    const { last } = this;
    const at = performance.now();
    const same = last?.phase === phase && last.epoch === epoch;
    // A stream that begins tells at once what is known, and then what is new.
    if (same && (step === last.step || at - last.at < 300)) return this.now;
    this.last = { phase, epoch, step, at };
    const images = { preparing: 1, extracting: 1, training: batch }[phase];
    if (!same || step < last.step || !images) return (this.now = undefined);
    this.now = ((step - last.step) * images * 1000) / (at - last.at);
    return this.now;
  }
}

/** How far a job is: phase, epoch, step, speed, time left. @param {Job} job */
export function progress({ status, progress: at, name }) {
  if (status === "queued") return el("p", { class: "soft" }, "Waiting for its turn.");
  if (status !== "running") return null;
  if (!at) return el("p", { class: "soft" }, "Starting …");
  const done = at.steps > 0 ? at.step / at.steps : 0;
  const parts = [
    words(at.phase),
    at.epoch > 0 && `epoch ${at.epoch} of ${at.epochs}`,
    at.steps > 0 && `step ${at.step.toLocaleString("en-GB")} of ${at.steps.toLocaleString("en-GB")}`,
    at.images_per_second && `${Math.round(at.images_per_second)} images/s`,
    at.eta_seconds !== null && `${duration(at.eta_seconds)} left`,
  ].filter(Boolean);
  return el("div", { class: "stack" },
    el("progress", { max: 1, value: done, "aria-label": `${words(at.phase)} of ${name}` }),
    el("p", { class: "soft" }, parts.join(" · ")));
}

/**
 * Stop, cancel, resume, delete: those that the job's status allows.
 *
 * @param {Job} job
 * @param {HTMLElement} messages where errors are shown
 * @param {(job: Job | null) => void} changed with the job, or nothing when it is deleted
 */
export function controls(job, messages, changed) {
  const sendAction = (/** @type {string} */ action) => () => attempt(messages, async () => changed(await send("POST", `jobs/${path(job.id)}/${action}`)));
  /** The trainer ends within a batch; until then the button says so. @param {HTMLButtonElement} control @param {string} action @param {string} meanwhile */
  const sendOnce = async (control, action, meanwhile) => {
    const { textContent: word } = control;
    control.disabled = true;
    control.textContent = meanwhile;
    if (await sendAction(action)()) return;
    control.disabled = false;
    control.textContent = word;
  };
  const remove = async () => {
    const sure = await confirmLoss(`Delete ${job.name}, its curves, its evaluation and its log? ${job.model_id ? "Its model stays." : "It has made no model: what it learned is lost."}`, "Delete");
    if (sure) await attempt(messages, async () => changed(await send("DELETE", `jobs/${path(job.id)}`)));
  };
  let asking = false;
  const stop = button("Stop", async () => {
    if (asking) return;
    asking = true;
    // As it stands now: this button may be older than the first epoch.
    const { best, progress: at } = await get(`jobs/${path(job.id)}`).catch(() => job);
    const keeps = best || (at?.phase === "training_head" && at.epoch > 1);
    const unless = job.recipe === "vgg16_finetune" ? "unless its head is trained already, " : "";
    if (keeps || (await confirmLoss(`No epoch of ${job.name} is complete yet: ${unless}it ends without a model.`, "Stop it"))) await sendOnce(stop, "stop", "Stopping …");
    asking = false;
  }, { title: "Finish now: evaluate and keep the best epoch so far" });
  const cancel = button("Cancel", async () => {
    if (await confirmLoss(`Cancel ${job.name}? It can be resumed from its last completed epoch.`, "Cancel the job")) await sendOnce(cancel, "cancel", "Cancelling …");
  }, { class: "danger" });
  return el("div", { class: "actions" },
    job.status === "running" && stop,
    !isOver(job) && cancel,
    ["cancelled", "failed", "interrupted"].includes(job.status) && button("Resume", sendAction("resume"), { title: "Go on from the last completed epoch" }),
    isOver(job) && button("Delete", remove, { class: "danger", "aria-label": `Delete ${job.name}` }));
}

/** One line of a job: its status and how well it does. @param {Job} job */
export function statusLine(job) {
  return el("span", { class: "row" }, badge(job), job.best && el("span", { class: "soft" }, `validation ${percent(job.best.val_accuracy)} in epoch ${job.best.epoch}`));
}

/** @type {WeakMap<Element, string>} */
const filledFor = new WeakMap();

/**
 * Fills `place` anew only if it was last filled for another `key`: reports come every second, and a
 * button must not be swapped under the finger that pushes it.
 *
 * @param {Element} place @param {unknown} key @param {() => any} make
 */
export function fillFor(place, key, make) {
  const text = JSON.stringify(key);
  if (filledFor.get(place) === text) return;
  filledFor.set(place, text);
  fill(place, make());
}
