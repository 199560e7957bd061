/** The classes of a dataset with their images by split: add, rename, merge and delete them. */

import { path, send } from "./api.js";
import { announce, ask, attempt, button, confirmLoss, count, el, field, fill, once, plural } from "./dom.js";
import { pickClass } from "./classpicker.js";

/** @typedef {import("./types.js").Dataset} Dataset */

const SPLITS = ["train", "validation", "test"];
/** A list of more classes scrolls within itself and can be filtered. */
const MANY = 12;

/**
 * @param {Dataset} given
 * @param {(dataset: Dataset) => void} changed receives the dataset after each change
 */
export function classList(given, changed) {
  let dataset = given;
  const messages = el("div", null);
  const body = el("tbody", null);
  const table = el("div", { class: "scroll" }, el("table", { class: "class-list" },
    el("thead", null, el("tr", null, el("th", { scope: "col" }, "Class"), ["Train", "Validation", "Test", "All"].map((text) => el("th", { scope: "col", class: "number" }, text)), el("th", { scope: "col" }, ""))),
    body));
  const filter = el("input", { type: "text", "aria-label": "Filter classes", placeholder: "Filter classes", class: "inline", autocomplete: "off", oninput: () => show() });
  const url = (/** @type {string[]} */ ...parts) => `datasets/${path(dataset.id, "classes", ...parts)}`;
  const images = (/** @type {string} */ name) => SPLITS.map((split) => dataset.counts[split]?.[name] ?? 0);
  const all = (/** @type {string} */ name) => images(name).reduce((sum, one) => sum + one, 0);

  /** @param {string} method @param {string} address @param {unknown} content @param {string} said */
  const change = async (method, address, content, said) => {
    const now = await send(method, address, content);
    announce(said);
    update(now);
    changed(now);
  };
  /** @param {string} name @param {string} into */
  const merge = async (name, into) => {
    const sure = await confirmLoss(`Move ${all(name) === 1 ? "the image" : `all ${plural(all(name), "image")}`} of ${name} to ${into} and remove the class ${name}? This can't be undone; existing jobs and models keep their classes.`, "Merge");
    if (sure) await attempt(messages, () => change("PATCH", url(name), { name: into, merge: true }, `${name} merged into ${into}`));
  };
  /** @param {string} name */
  const rename = async (name) => {
    const input = el("input", { type: "text", value: name, required: true, maxLength: 100, autocomplete: "off" });
    const to = await ask(`New name of ${name}`, input, "Rename", "Existing jobs and models keep the old name.");
    if (!to || to === name) return;
    const other = dataset.classes.find((one) => one === to);
    if (other) await merge(name, other);
    else await attempt(messages, () => change("PATCH", url(name), { name: to }, `${name} renamed to ${to}`));
  };
  /** @param {string} name */
  const join = async (name) => {
    const into = await pickClass(dataset.classes.filter((one) => one !== name), `Merge ${name} into`);
    if (into) await merge(name, into);
  };
  /** @param {string} name */
  const remove = async (name) => {
    const what = all(name) === 0 ? `Delete the class ${name}? It has no images.` : `Delete the class ${name} and its ${plural(all(name), "image")}? This can't be undone; existing jobs and models are kept.`;
    if (await confirmLoss(what, "Delete")) await attempt(messages, () => change("DELETE", `${url(name)}${all(name) > 0 ? "?images=delete" : ""}`, undefined, `${name} deleted`));
  };
  const row = (/** @type {string} */ name) => el("tr", null,
    el("th", { scope: "row" }, name),
    [...images(name), all(name)].map((value) => el("td", { class: value === 0 ? "number bad" : "number" }, count(value))),
    el("td", null, el("div", { class: "actions" },
      button("Rename", () => void rename(name), { "aria-label": `Rename ${name}` }),
      dataset.classes.length > 1 && button("Merge", () => void join(name), { "aria-label": `Merge ${name} into another class` }),
      button("Delete", () => void remove(name), { class: "danger", "aria-label": `Delete ${name}` }))));
  const show = () => {
    const text = filter.value.trim().toLowerCase();
    fill(body, dataset.classes.filter((name) => name.toLowerCase().includes(text)).map(row));
  };
  /** @param {Dataset} now */
  const update = (now) => {
    dataset = now;
    const many = dataset.classes.length > MANY;
    filter.hidden = !many;
    if (!many) filter.value = "";
    table.classList.toggle("tall", many);
    table.hidden = dataset.classes.length === 0;
    heading.textContent = dataset.classes.length === 0 ? "No classes yet" : plural(dataset.classes.length, "class");
    show();
  };
  const heading = el("h2", null);
  const input = el("input", { required: true, maxLength: 100, autocomplete: "off", class: "inline" });
  const add = button("Add class", () => {}, { type: "submit" });
  const form = el("form", { class: "row end-aligned", onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    void once(add, messages, async () => {
      const name = input.value.trim();
      await change("POST", url(), { name }, `${name} added`);
      input.value = "";
    });
  } }, field("New class", input), add);
  const node = el("section", { class: "panel", "aria-label": "Classes" },
    el("div", { class: "row apart" }, heading, filter),
    el("p", { class: "hint" }, dataset.open ? "New folders become new classes." : "The classes of this dataset are fixed: files of other classes are rejected unless you add the class."),
    table, form, messages);
  update(dataset);
  return { node, update };
}
