/** What a job would need: measured by a few of its steps on the server, before it is started. */

import { request } from "./api.js";
import { bytes, duration, el, plural, roughly, time } from "./dom.js";

/** @typedef {import("./types.js").JobEstimate} JobEstimate */
/** @typedef {import("./types.js").Need} Need */

/**
 * Measures a job. Leaving the page ends the measurement.
 *
 * @param {object} job the body of `POST /jobs` @param {AbortSignal} signal
 * @returns {Promise<JobEstimate>}
 */
export async function dryRun(job, signal) {
  const body = JSON.stringify({ ...job, dry_run: true });
  const response = await request("jobs", { method: "POST", body, headers: { "Content-Type": "application/json" }, signal });
  return response.json();
}

/** What was found. @param {JobEstimate} estimate */
export function shown({ fits, problems, warnings, seconds_per_epoch: epoch, epochs, seconds, queue_seconds: queue, ends_at: end, memory, disk, probe }) {
  /** @type {[string, import("./dom.js").Child][]} */
  const facts = [];
  if (seconds !== null && epoch !== null) facts.push(["Time", `${roughly(seconds)}, including ${plural(epochs, "epoch")} of ${duration(epoch)}${epochs === 1 ? "" : " each"}`]);
  if (end) facts.push(["End", [time(end), queue !== null && queue >= 1 ? ` if it starts after the jobs before it (${roughly(queue)})` : " if it starts now"]]);
  facts.push(["Memory", need(memory)], ["Disk space", need(disk)]);
  if (probe.device && (probe.steps > 0 || seconds !== null)) facts.push(["Measured", `${plural(probe.images, "training image")} on ${probe.device === "cpu" ? "the CPU" : probe.device} in ${probe.precision}; the measurement took ${duration(probe.seconds)}`]);
  const known = isKnown(memory) && isKnown(disk);
  return el("div", { class: "stack advice", role: "status" },
    el("p", { class: fits ? "" : "bad" }, el("b", null, !fits ? MISFIT : known ? "This job fits." : "The job could not be measured completely; nothing so far speaks against it.")),
    problems.map(({ code, detail }) => el("p", { class: "bad" }, code === "not_enough_memory" ? shortage("memory", memory) : code === "not_enough_disk" ? shortage("disk", disk) : sentence(detail))),
    el("dl", { class: "facts" }, facts.map(([name, value]) => [el("dt", null, name), el("dd", null, value)])),
    warnings.map(({ detail }) => el("p", { class: "hint" }, sentence(detail))));
}

const MISFIT = "This job does not fit.";

/** Why the server refused to start a job. @param {Need & { resource: string }} members of its problem */
export const refusal = ({ resource, ...need }) => `${MISFIT} ${shortage(resource, need)}`;

/** @param {string} resource @param {Need} need */
function shortage(resource, { needed, available }) {
  const [what, remedy] = resource === "memory" ? ["memory", "Reduce the batch size, free memory"] : ["disk space", "Free disk space in the data directory"];
  return `It needs about ${bytes(needed ?? 0)} of ${what}; ${bytes(available ?? 0)} are available. ${remedy}, or start anyway.`;
}

/** @param {Need} need */
const isKnown = ({ needed, available }) => needed !== null && available !== null;

/** @param {Need} need */
function need({ needed, available }) {
  const has = available === null ? "" : `${bytes(available)} available`;
  return needed === null ? `unknown${has && `; ${has}`}` : `needs ${bytes(needed)}${has && `; ${has}`}`;
}

/** @param {string} text */
const sentence = (text) => `${text[0].toUpperCase()}${text.slice(1)}.`;
