/** Where the trainer of a job runs, if that is on a cluster. */

import { el } from "./dom.js";

/** @typedef {import("./types.js").Job} Job */

const NAMES = { ray: "Ray", slurm: "Slurm" };

/** A line about the node of a job, and what it waits for; null for jobs that the server trains itself. @param {Job} job */
export function placement({ placement, status }) {
  if (!placement) return null;
  const { executor, state, id, node, url, message } = placement;
  const name = NAMES[executor] ?? executor;
  const number = id && (url ? el("a", { href: url, rel: "noreferrer" }, id) : id);
  const running = state === "running" && status === "running";
  const waits = { submitting: `Submitting to ${name}`, waiting: `Submitted to ${name}`, running: `Starting in ${name}`, ended: `Not started in ${name}` };
  const where = node ? `${running ? "Runs" : "Ran"} in ${name} on node ${node}` : waits[state];
  return el("div", { class: "stack placement" },
    el("p", { class: "soft" }, where, number && [", id ", number]),
    message && el("p", { class: "soft", role: "status" }, message.charAt(0).toUpperCase() + message.slice(1)));
}
