/** Datasets page: the list, and two ways to create one: from a folder, or empty. */

import { all, path, send } from "./api.js";
import { attempt, button, bytes, confirmLoss, count, el, field, fill, namedClasses, once, plural, time } from "./dom.js";
import { newDataset } from "./newdataset.js";
import { uploadTo } from "./uploads.js";

/** @typedef {import("./types.js").Dataset} Dataset */

/** Input of the form, kept while other pages are open. */
const draft = { name: "", classes: "", open: false };

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { signal }) {
  const list = el("section", { class: "panel", "aria-label": "Datasets" });
  fill(place, el("h1", null, "Datasets"), newDataset(), creation(), list);
  await show(list, signal);
}

/** @param {HTMLElement} list @param {AbortSignal} signal */
async function show(list, signal) {
  /** @type {Dataset[]} */
  const datasets = await all("datasets", signal);
  if (datasets.length === 0) {
    fill(list, el("p", { class: "soft" }, "No datasets yet. Drop a folder of images above."));
    return;
  }
  if (signal.aborted) return;
  const rows = datasets.map((dataset) => {
    const upload = uploadTo(dataset.id);
    void upload?.ended.then(() => attempt(list, () => show(list, signal)));
    const remove = button("Delete", async () => {
      const sure = await confirmLoss(`Delete dataset ${dataset.name} and its ${plural(dataset.images, "image")}? Its jobs and models are kept.`, "Delete");
      if (sure) await attempt(list, () => send("DELETE", `datasets/${path(dataset.id)}`).then(() => show(list, signal)));
    }, { "aria-label": `Delete ${dataset.name}` });
    return el("tr", null,
      el("th", { scope: "row" }, el("a", { href: link(dataset) }, dataset.name), " ", upload?.badge),
      el("td", { class: "classes" }, namedClasses(dataset.classes) || "none yet"),
      ...["train", "validation", "test"].map((split) => el("td", { class: "number" }, count(sum(dataset.counts[split])))),
      el("td", { class: "number" }, bytes(dataset.bytes)),
      el("td", null, time(dataset.created_at)),
      el("td", null, el("div", { class: "actions" }, remove)));
  });
  fill(list, el("div", { class: "scroll" }, el("table", null,
    el("thead", null, el("tr", null, ["Name", "Classes"].map(head), ["Train", "Validation", "Test", "Size"].map(number), ["Created", ""].map(head))),
    el("tbody", null, rows))));
}

/** @param {string} text */
const head = (text) => el("th", { scope: "col" }, text);
/** @param {string} text */
const number = (text) => el("th", { scope: "col", class: "number" }, text);

/** @param {Record<string, number> | undefined} counts */
export const sum = (counts) => Object.values(counts ?? {}).reduce((all, one) => all + one, 0);

/** @param {{ name: string }} dataset */
const link = ({ name }) => `#/datasets/${path(name)}`;

function creation() {
  const name = el("input", { required: true, value: draft.name, maxLength: 100, autocomplete: "off", oninput: () => (draft.name = name.value) });
  const classes = el("input", { value: draft.classes, autocomplete: "off", oninput: () => (draft.classes = classes.value) });
  const create = button("Create", () => {}, { type: "submit", class: "primary" });
  const form = el("form", { class: "stack", onsubmit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    await once(create, form, async () => {
      const given = classes.value.split(",").map((part) => part.trim()).filter(Boolean);
      const body = { name: name.value.trim(), ...(given.length > 0 && { classes: given }) };
      const created = await send("POST", "datasets", body);
      draft.name = draft.classes = "";
      draft.open = false;
      location.hash = link(created);
    });
  } },
    el("div", { class: "fields" },
      field("Name", name, "Used in URLs and commands: letters, digits, dots, dashes and underscores."),
      field("Classes (optional)", classes, "Leave empty: classes come from your folders. Or class names separated by commas; files of other classes are then rejected. Of two classes, the second is the positive one.")),
    el("div", null, create));
  const details = el("details", { class: "advanced", open: draft.open, ontoggle: () => (draft.open = details.open) }, el("summary", null, "Create an empty dataset"), form);
  return details;
}
