/** What an address shows that leads nowhere: to no page, or to a dataset, job or model that doesn't exist. */

import { get, path, Problem } from "./api.js";
import { el, fill } from "./dom.js";

/** @param {HTMLElement} place */
export function open(place) {
  const pages = Array.from(document.querySelectorAll("nav a"), (link) => el("li", null, el("a", { href: link.getAttribute("href") }, link.textContent)));
  fill(place, el("section", { class: "panel" },
    el("h1", null, "Page not found"),
    el("p", null, `There is no page ${location.hash}. These are the pages:`),
    el("ul", null, pages)));
}

/** Each list with its noun and its page. @type {Record<string, [noun: string, page: string]>} */
const LISTS = { datasets: ["dataset", "#/datasets"], jobs: ["job", "#/evaluate"], models: ["model", "#/models"] };

/**
 * An item of a list by its name or id. If there is none, says so and resolves to null.
 *
 * @param {HTMLElement} place @param {"datasets" | "jobs" | "models"} list @param {string} name @param {AbortSignal} signal
 * @returns {Promise<any>}
 */
export async function find(place, list, name, signal) {
  const [noun, page] = LISTS[list];
  try {
    // A browser resolves `datasets/..` to another path.
    if (name === "." || name === "..") throw new Problem(404, "not_found", "");
    const item = await get(`${list}/${path(name)}`, signal);
    if (!signal.aborted) document.title = `${item.name} · Pawprint`;
    return item;
  } catch (error) {
    if (!(error instanceof Problem) || error.status !== 404) throw error;
  }
  document.title = `No such ${noun} · Pawprint`;
  fill(place, el("section", { class: "panel" },
    el("h1", null, `No such ${noun}`),
    el("p", null, `There is no ${noun} named “${name}”. It may have been deleted.`),
    el("p", null, el("a", { href: page }, `All ${noun}s`))));
  return null;
}
