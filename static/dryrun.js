/** What a job would need: measured by a few of its steps on the server, before it is started. */

import { request } from "./api.js";
import { bytes, count, duration, el, roughly, time } from "./dom.js";

/** @typedef {import("./types.js").JobEstimate} JobEstimate */
/** @typedef {import("./types.js").Need} Need */

/**
 * Measures a job. Leaving the page ends the measurement.
 *
 * @param {object} job the body of `POST /jobs` @param {AbortSignal} signal
 * @returns {Promise<HTMLElement>}
 */
export async function dryRun(job, signal) {
  const body = JSON.stringify({ ...job, dry_run: true });
  const response = await request("jobs", { method: "POST", body, headers: { "Content-Type": "application/json" }, signal });
  return estimate(await response.json());
}

/** @param {JobEstimate} estimate */
function estimate({ fits, problems, warnings, seconds_per_epoch: epoch, epochs, seconds, queue_seconds: queue, ends_at: end, memory, disk, probe }) {
  /** @type {[string, import("./dom.js").Child][]} */
  const facts = [];
  if (seconds !== null && epoch !== null) facts.push(["Time", `${roughly(seconds)}: ${count(epochs)} ${epochs === 1 ? "epoch" : "epochs"} of ${duration(epoch)}`]);
  if (end) facts.push(["End", [time(end), queue !== null && queue >= 1 ? ` if it starts after the jobs before it (${roughly(queue)})` : " if it starts now"]]);
  facts.push(["Memory", need(memory)], ["Disk space", need(disk)]);
  if (probe.device) facts.push(["Measured", `${count(probe.images)} training images on ${probe.device} in ${probe.precision}, in ${duration(probe.seconds)}`]);
  return el("div", { class: "stack advice", role: "status" },
    el("p", { class: fits ? "" : "bad" }, el("b", null, fits ? "This job fits." : "This job does not fit.")),
    problems.map(({ detail }) => el("p", { class: "bad" }, sentence(detail))),
    el("dl", { class: "facts" }, facts.map(([name, value]) => [el("dt", null, name), el("dd", null, value)])),
    warnings.map(({ detail }) => el("p", { class: "hint" }, sentence(detail))));
}

/** @param {Need} need */
function need({ needed, available }) {
  if (needed === null) return "unknown";
  return available === null ? bytes(needed) : `${bytes(needed)} of ${bytes(available)} available`;
}

/** @param {string} text */
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
