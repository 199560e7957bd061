/** Status, progress and controls of a job. */

import { follow, get, path, send } from "./api.js";
import { attempt, button, bytes, confirmLoss, count, duration, el, fill, percent, plural, words } from "./dom.js";

/** @typedef {import("./types.js").Job} Job */

/** @param {{ status: string }} job */
export const isOver = ({ status }) => status !== "queued" && status !== "running";

/** @param {{ status: string }} job */
export const badge = ({ status }) => el("span", { class: `badge ${status}` }, status);

/**
 * Follows a job until it has ended. `take` receives the job after each change, and the event's kind
 * and data.
 *
 * @param {Job} job
 * @param {(job: Job, kind: string, data: any) => void} take
 * @param {AbortSignal} signal
 */
export async function followJob(job, take, signal) {
  const speed = new Speed();
  await follow(`jobs/${path(job.id)}/events`, (kind, data) => {
    // A status event is a snapshot of its time; an older one may lack the best epoch known by now.
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

/** Images per second, from successive progress events of the same phase. */
export class Speed {
  constructor() {
    /** @type {{ phase: string, epoch: number, step: number, at: number } | null} */
    this.last = null;
    /** @type {number | undefined} */
    this.now = undefined;
  }

  /** Adds the speed to a job's progress. @param {Job} job @returns {Job} */
  in(job) {
    if (!job.progress) return job;
    return { ...job, progress: { ...job.progress, images_per_second: this.of(job.progress, job.params.batch_size) } };
  }

  /** @param {import("./types.js").Progress} progress @param {number} batch images per step @returns {number | undefined} */
  of({ phase, epoch, step }, batch) {
    const { last } = this;
    const at = performance.now();
    const same = last?.phase === phase && last.epoch === epoch;
    // A new stream first repeats the last known progress.
    if (same && (step === last.step || at - last.at < 300)) return this.now;
    this.last = { phase, epoch, step, at };
    const images = { preparing: 1, extracting: 1, training: batch }[phase];
    if (!same || step < last.step || !images) return (this.now = undefined);
    this.now = ((step - last.step) * images * 1000) / (at - last.at);
    return this.now;
  }
}

/** What a running job is doing. @type {Record<string, string>} */
const PHASES = {
  downloading: "Downloading weights",
  preparing: "Decoding images",
  extracting: "Extracting features",
  training_head: "Training head",
  training: "Training",
  validating: "Validating",
  evaluating: "Evaluating",
  saving: "Saving model",
  comparing: "Evaluating the model in service",
};

/** How much of a phase is done, in its own unit. @param {import("./types.js").Progress} progress */
function stepsOf({ phase, step, steps }) {
  if (phase === "downloading") return `${bytes(step)} of ${bytes(steps)}`;
  if (phase === "preparing" || phase === "extracting") return `${count(step)} of ${plural(steps, "image")}`;
  return `step ${count(step)} of ${count(steps)}`;
}

/** Progress of a job: phase, epoch, step, speed, time remaining. @param {Job} job */
export function progress({ status, progress: at, name }) {
  if (status === "queued") return el("p", { class: "soft" }, "Waiting to start");
  if (status !== "running") return null;
  if (!at) return el("p", { class: "soft" }, "Starting…");
  const done = at.steps > 0 ? at.step / at.steps : 0;
  const phase = PHASES[at.phase] ?? words(at.phase);
  const parts = [
    phase,
    at.epoch > 0 && `epoch ${at.epoch} of ${at.epochs}`,
    at.steps > 0 && stepsOf(at),
    at.images_per_second && `${Math.round(at.images_per_second)} images/s`,
    at.eta_seconds !== null && `${duration(at.eta_seconds)} remaining`,
  ].filter(Boolean);
  return el("div", { class: "stack" },
    el("progress", { max: 1, value: done, "aria-label": `${name}: ${phase}` }),
    el("p", { class: "soft" }, parts.join(" · ")));
}

/** What was sent to a job in which state, while it has not reacted; kept while other pages are open. @type {Map<string, { action: string, state: string }>} */
const sent = new Map();

/** @param {Job} job */
const stateOf = ({ status, attempts }) => `${status} ${attempts}`;

/**
 * Stop, cancel, resume and delete buttons, as far as the job's status allows.
 *
 * @param {Job} job
 * @param {HTMLElement} messages container for error messages
 * @param {(job: Job | null) => void} changed receives the job, or null after it was deleted
 */
export function controls(job, messages, changed) {
  const post = (/** @type {string} */ action) => () => attempt(messages, async () => changed(await send("POST", `jobs/${path(job.id)}/${action}`)));
  /** Sends a command once; until the trainer has reacted, the button shows `meanwhile`. @param {HTMLButtonElement} control @param {string} action @param {string} meanwhile */
  const sendOnce = async (control, action, meanwhile) => {
    const { textContent: word } = control;
    sent.set(job.id, { action, state: stateOf(job) });
    control.disabled = true;
    control.textContent = meanwhile;
    if (await post(action)()) return;
    sent.delete(job.id);
    control.disabled = false;
    control.textContent = word;
  };
  const waits = sent.get(job.id);
  if (waits && waits.state !== stateOf(job)) sent.delete(job.id);
  const remove = async () => {
    const sure = await confirmLoss(`Delete job ${job.name} with its metrics, evaluation and log? ${job.model_id ? "Its model is kept." : "It has no model; its trained weights will be lost."}`, "Delete");
    if (sure) await attempt(messages, async () => changed(await send("DELETE", `jobs/${path(job.id)}`)));
  };
  let asking = false;
  const stop = button("Stop", async () => {
    if (asking) return;
    asking = true;
    // Fetch the current state, since an epoch may have finished after this button was drawn.
    const { best, progress: at } = await get(`jobs/${path(job.id)}`).catch(() => job);
    const keeps = best || (at?.phase === "training_head" && at.epoch > 1);
    const unless = job.recipe.endsWith("_finetune") ? ", unless its head is already trained" : "";
    if (keeps || (await confirmLoss(`${job.name} has not completed an epoch. If you stop it now, it fails without a model${unless}.`, "Stop job", "Keep running"))) await sendOnce(stop, "stop", "Stopping…");
    asking = false;
  }, { title: "Stop training early; evaluate and keep the best epoch so far" });
  const cancel = button("Cancel", async () => {
    if (await confirmLoss(`Cancel ${job.name}? You can resume it later from its last checkpoint.`, "Cancel job", job.status === "running" ? "Keep running" : "Keep job")) await sendOnce(cancel, "cancel", "Cancelling…");
  }, { class: "danger" });
  for (const [control, action, meanwhile] of /** @type {[HTMLButtonElement, string, string][]} */ ([[stop, "stop", "Stopping…"], [cancel, "cancel", "Cancelling…"]])) {
    if (sent.get(job.id)?.action !== action) continue;
    control.disabled = true;
    control.textContent = meanwhile;
  }
  return el("div", { class: "actions" },
    job.status === "running" && stop,
    !isOver(job) && cancel,
    ["cancelled", "failed", "interrupted"].includes(job.status) && button("Resume", post("resume"), { title: "Resume from the last checkpoint" }),
    isOver(job) && button("Delete", remove, { class: "danger", "aria-label": `Delete ${job.name}` }));
}

/** One line on a job: status and best validation accuracy. @param {Job} job */
export function statusLine(job) {
  return el("span", { class: "row" }, badge(job), job.best && el("span", { class: "soft" }, `val. accuracy ${percent(job.best.val_accuracy)} (epoch ${job.best.epoch})`));
}

/** @type {WeakMap<Element, string>} */
const filledFor = new WeakMap();

/**
 * Fills `place` again only if `key` has changed. Updates arrive every second, and a button must not
 * be replaced while the user clicks it.
 *
 * @param {Element} place @param {unknown} key @param {() => any} make
 */
export function fillFor(place, key, make) {
  const text = JSON.stringify(key);
  if (filledFor.get(place) === text) return;
  filledFor.set(place, text);
  fill(place, make());
}
