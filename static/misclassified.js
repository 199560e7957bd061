/** The misclassified images of an evaluation, most confident first, with actions to correct their labels. */

import { get, path, request, requestWithRetry, send } from "./api.js";
import { attempt, button, confirmLoss, count, el, field, fill, once, percent, plural, select } from "./dom.js";
import { picture, showBlob } from "./picture.js";

/** @typedef {import("./types.js").Job} Job */
/** @typedef {import("./types.js").Misclassified} Misclassified */

/** Images shown per page. */
const SHOWN = 24;

/**
 * `show` shows the images of one true class that were predicted as another.
 *
 * @param {import("./types.js").Evaluation} result @param {Job} job @param {AbortSignal} signal
 */
export function misclassifiedPanel({ misclassified, confusion_matrix: { labels } }, job, signal) {
  const list = el("ul", { class: "cards" });
  const heading = el("h2", { tabIndex: -1 });
  const version = el("p", { class: "hint" });
  /** @type {Misclassified[]} */
  let chosen = [];
  let shown = 0;
  const more = button("Show more", () => next());
  const next = () => {
    for (const one of chosen.slice(shown, shown + SHOWN)) list.append(card(one, job, labels, () => void updateVersionNote()));
    shown += SHOWN;
    more.hidden = shown >= chosen.length;
  };
  const refresh = () => {
    chosen = misclassified.filter((one) => (!truth.value || one.label === truth.value) && (!prediction.value || one.predicted === prediction.value));
    const every = misclassified.length === 0 ? "No misclassified images" : `${plural(misclassified.length, "misclassified image")}, most confident first`;
    heading.textContent = chosen.length === misclassified.length ? every : `${count(chosen.length)} of ${plural(misclassified.length, "misclassified image")}, most confident first`;
    reset.hidden = !truth.value && !prediction.value;
    fill(list);
    shown = 0;
    next();
  };
  const truth = select(options("All classes", misclassified.map(({ label }) => label), labels), { onchange: refresh });
  const prediction = select(options("All classes", misclassified.map(({ predicted }) => predicted), labels), { onchange: refresh });
  const reset = button("Show all", () => {
    truth.value = prediction.value = "";
    refresh();
  });
  const updateVersionNote = async () => {
    const now = await get(`datasets/${path(job.dataset)}`, signal).catch(() => null);
    if (!now) version.textContent = "The dataset is no longer available.";
    else if (now.version !== job.dataset_version) fill(version, `The dataset has changed (now version ${now.version.slice(0, 12)}; this job used ${job.dataset_version.slice(0, 12)}). `, el("a", { href: `#/train?dataset=${path(job.dataset)}` }, "Train on the current version"), ".");
    else version.textContent = "Relabelling or removing an image creates a new dataset version. This evaluation does not change.";
  };
  refresh();
  const filters = el("div", { class: "row" }, field("True class", truth), field("Predicted class", prediction), reset);
  filters.hidden = misclassified.length === 0 || labels.length < 3;
  const node = el("section", { class: "panel", "aria-label": "Misclassified images" },
    el("div", { class: "row apart" }, heading, filters), version, list, more);
  const show = (/** @type {string} */ label, /** @type {string} */ predicted) => {
    truth.value = label;
    prediction.value = predicted;
    refresh();
    node.scrollIntoView();
    heading.focus({ preventScroll: true });
  };
  return { node, show, updateVersionNote };
}

/** The classes that occur, in their usual order, each with its number of images. @param {string} all @param {string[]} found @param {string[]} labels @returns {[string, string][]} */
function options(all, found, labels) {
  /** @type {Map<string, number>} */
  const counts = new Map();
  for (const name of found) counts.set(name, (counts.get(name) ?? 0) + 1);
  return [["", all], ...labels.filter((name) => counts.has(name)).map((name) => /** @type {[string, string]} */ ([name, `${name} (${count(counts.get(name) ?? 0)})`]))];
}

/** @param {Misclassified} one @param {Job} job @param {string[]} labels @param {() => void} changed */
function card(one, job, labels, changed) {
  const name = one.file_name ?? "no longer in the dataset";
  const image = el("div", { class: "view" }, one.file_name === null ? null : picture(`images/${path(one.image_id)}/thumbnail?size=400`, `${name} (true class: ${one.label})`));
  const messages = el("div", null);
  const image_url = `datasets/${path(job.dataset)}/images/${path(one.image_id)}`;
  const done = (/** @type {string} */ text) => {
    const message = el("span", { class: "good", tabIndex: -1 }, text);
    fill(actions, message);
    message.focus();
    changed();
  };
  const relabel = () => attempt(messages, async () => {
    await send("PATCH", image_url, { label: one.predicted });
    done(`Relabelled as ${one.predicted}.`);
  });
  const remove = async () => {
    if (!(await confirmLoss(`Remove ${name} from ${job.dataset}?`, "Remove"))) return;
    await attempt(messages, async () => {
      await send("DELETE", image_url);
      done("Removed.");
    });
  };
  const toggle = button("Explain", () => void once(toggle, messages, () => explain(toggle, image, one, job)), { "aria-pressed": "false", "aria-label": `Explain ${name}`, hidden: !job.model_id });
  const actions = el("div", { class: "actions" }, toggle,
    button(`Relabel as ${one.predicted}`, relabel, { "aria-label": `Relabel ${name} as ${one.predicted}`, hidden: !labels.includes(one.predicted) }),
    button("Remove", remove, { class: "danger", "aria-label": `Remove ${name}` }));
  return el("li", { class: "panel card" }, image, el("div", { class: "words" },
    el("span", { class: "name", title: name }, name),
    el("p", null, `True: ${one.label}. Predicted: `, el("b", null, one.predicted), ` (${percent(one.probability)})`),
    one.file_name === null ? null : actions, messages));
}

/** Switches between the image and its Grad-CAM heat map. @param {HTMLButtonElement} toggle @param {HTMLElement} view @param {Misclassified} one @param {Job} job */
async function explain(toggle, view, one, job) {
  const image = /** @type {HTMLImageElement} */ (view.querySelector("img"));
  const on = toggle.getAttribute("aria-pressed") !== "true";
  const original = await (await request(`images/${path(one.image_id)}`)).blob();
  if (on) {
    const response = await requestWithRetry(`explain?model=${path(job.model_id ?? "")}`, { method: "POST", body: original, headers: { "Content-Type": original.type } });
    await showBlob(image, await response.blob());
  } else await showBlob(image, original);
  toggle.setAttribute("aria-pressed", String(on));
}
