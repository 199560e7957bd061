/** A new dataset from a folder or an archive: its classes are shown, and can be corrected, before it is created. */

import { all, connection, get, path, Problem, request, send } from "./api.js";
import { announce, button, droppable, el, field, fill, isAbort, listed, notice, once, percent, plural } from "./dom.js";
import { dropped, isArchive, picked } from "./files.js";
import { folded, nameFrom } from "./names.js";
import { describe, images, previewOf } from "./preview.js";
import { uploadNew } from "./uploads.js";

/** @typedef {import("./files.js").Found} Found */
/** @typedef {import("./types.js").Preview} Preview */
/** @typedef {[from: string, to: string]} Renaming */

/** What was dropped last and is not created yet; it stays while other pages are open. @type {Draft | null} */
let draft = null;
/** Datasets that exist only while files are checked, by id. @type {Set<string>} */
const checked = new Set();

// Whoever closes the tab meanwhile leaves nothing behind.
window.addEventListener("pagehide", () => {
  for (const id of checked) void request(`datasets/${path(id)}`, { method: "DELETE", keepalive: true }).catch(() => {});
});

/** A drop zone for a folder or an archive, and the dataset that it would become. */
export function newDataset() {
  const place = el("div", { class: "stack" });
  const show = () => fill(place, draft?.node);
  /** @param {Found[]} found */
  const add = (found) => {
    draft?.leave.abort();
    if (found.length === 0) {
      fill(place, notice("No files found."));
      return;
    }
    draft = new Draft(found, show);
    show();
    void draft.check();
  };
  /** @param {string} text @param {Record<string, any>} properties */
  const picker = (text, properties) => {
    const input = el("input", { type: "file", class: "file", ...properties, onchange: () => {
      add(picked(input.files));
      input.value = "";
    } });
    return el("label", { class: "button primary" }, text, input);
  };
  const zone = el("section", { class: "drop", "aria-label": "New dataset" },
    el("p", null, "Drop a folder or a zip or tar archive here to create a dataset"),
    el("div", { class: "row" }, picker("Choose a folder", { webkitdirectory: true }), picker("Choose an archive", { accept: ".zip,.tar,.gz,.tgz" })),
    el("p", { class: "hint" }, "Put each class in a folder of its own, for example rose and tulip. You can correct the names before anything is uploaded."));
  droppable(zone, (data) => void dropped(data).then(add, (error) => fill(place, notice(error))));
  show();
  return el("div", { class: "stack" }, zone, place);
}

/** Deletes a dataset that files were checked with, when the server is back if it is away. @param {string} id */
async function discard(id) {
  try {
    await send("DELETE", `datasets/${path(id)}`);
  } catch (error) {
    if (error instanceof Problem && error.status === 0) {
      connection.addEventListener("restored", () => void discard(id), { once: true });
      return;
    }
  }
  checked.delete(id);
}

/** What was dropped, before it is created. */
class Draft {
  /** @param {Found[]} files @param {() => void} changed called after the draft has ended */
  constructor(files, changed) {
    this.files = files;
    this.changed = changed;
    this.labels = "folders";
    this.leave = new AbortController();
    this.node = el("section", { class: "panel", "aria-label": "Check the new dataset" });
  }

  end() {
    this.leave.abort();
    if (draft === this) draft = null;
    this.changed();
  }

  target() {
    return { split: "auto", labels: this.labels, label: "" };
  }

  /** Shows what the dataset would have. */
  async check() {
    const { signal } = this.leave;
    const bar = el("progress", { max: 1, value: 0, "aria-label": "Check" });
    const cancel = button("Cancel", () => this.end());
    const text = el("span", { class: "soft" }, "Checking…");
    fill(this.node, el("div", { class: "row apart" }, el("b", null, titleOf(this.files)), text, cancel), bar);
    try {
      const name = await this.freeName();
      const preview = await this.preview(name, (fraction) => {
        bar.value = fraction;
        text.textContent = fraction < 1 ? `Checking: ${percent(fraction)}` : "Checking…";
      });
      if (!signal.aborted) this.ask(name, preview);
    } catch (error) {
      if (isAbort(error) || signal.aborted) return;
      fill(this.node, notice(error), el("div", { class: "row" }, button("Try again", () => void this.check()), button("Cancel", () => this.end())));
    }
  }

  async freeName() {
    const names = (await all("datasets", this.leave.signal)).map((/** @type {{ name: string }} */ { name }) => name.toLowerCase());
    const wanted = nameFrom(titleOf(this.files));
    let name = wanted;
    for (let number = 2; names.includes(name.toLowerCase()); number += 1) name = `${wanted}-${number}`;
    return name;
  }

  /** The server judges the files for a dataset; it is deleted at once. @param {string} name @param {(fraction: number) => void} progress */
  async preview(name, progress) {
    const { id } = await send("POST", "datasets", { name });
    checked.add(id);
    try {
      this.leave.signal.throwIfAborted();
      return await previewOf(id, this.files, this.target(), progress, this.leave.signal);
    } finally {
      await discard(id);
    }
  }

  /** Asks whether to create it, and for its names. @param {string} suggested @param {Preview} preview */
  ask(suggested, preview) {
    const name = el("input", { required: true, value: suggested, maxLength: 100, autocomplete: "off", pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*", title: "Letters, digits, dots, dashes and underscores" });
    const inputs = new Map(preview.classes.map((one) => [one.name, el("input", { required: true, value: one.name, maxLength: 100, autocomplete: "off", pattern: "[^\\/\\\\]+", title: "No slashes", "aria-label": `Name of class ${one.name}`, oninput: () => joined() })]));
    const note = el("p", { class: "hint", role: "status" });
    const renamings = () => Array.from(inputs, ([from, input]) => /** @type {Renaming} */ ([from, input.value.trim()]));
    const joined = () => (note.textContent = together(renamings()));
    const found = images(preview) + preview.not_images;
    const what = plural(found, preview.not_images > 0 ? "file" : "image");
    const create = button(found === 0 ? "Nothing to upload" : `Create and upload ${what}`, () => {}, { type: "submit", class: "primary", disabled: found === 0 });
    const messages = el("div", null);
    const form = el("form", { class: "stack", onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      void once(create, messages, () => this.create(name.value.trim(), renamings()));
    } },
      el("div", { class: "fields" }, field("Name of the dataset", name, "Used in URLs and commands.")),
      describe(preview, (one) => inputs.get(one.name)), note,
      preview.classes.length === 0 && this.labels === "folders" && el("p", null, "No folder or file name tells a class. ", button("Read the classes from the file names (rose_1.jpg)", () => {
        this.labels = "names";
        void this.check();
      }, { class: "link" })),
      messages,
      el("div", { class: "row" }, create, button("Cancel", () => this.end())));
    fill(this.node, el("h2", { tabIndex: -1 }, "New dataset"), form);
    announce(`${plural(preview.classes.length, "class")}, ${what}`);
    if (found > 0 && this.node.isConnected) create.focus({ preventScroll: true });
  }

  /** @param {string} name @param {Renaming[]} renamings */
  async create(name, renamings) {
    const dataset = await send("POST", "datasets", { name });
    const steps = ordered(renamings);
    uploadNew(dataset, this.files, this.target(), steps.length > 0 ? () => rename(dataset.id, steps) : null);
    this.end();
    location.hash = `#/datasets/${path(dataset.name)}`;
  }
}

/** @param {string} id @param {Renaming[]} steps */
async function rename(id, steps) {
  for (const [from, to] of steps) {
    /** @type {{ classes: string[] }} */
    const { classes } = await get(`datasets/${path(id)}`);
    // All images of a class may have been rejected.
    if (classes.includes(from)) await send("PATCH", `datasets/${path(id)}/classes/${path(from)}`, { name: to, merge: true });
  }
}

/**
 * Renamings in an order in which a class never takes the name of one that has yet to give it up.
 *
 * @param {Renaming[]} all @returns {Renaming[]}
 */
export function ordered(all) {
  const left = all.filter(([from, to]) => from !== to);
  /** @type {Renaming[]} */
  const steps = [];
  while (left.length > 0) {
    const free = left.findIndex(([, to], at) => !left.some(([from], other) => other !== at && folded(from) === folded(to)));
    const [[from, to]] = left.splice(Math.max(free, 0), 1);
    if (free >= 0) {
      steps.push([from, to]);
    } else {
      const aside = `${from.slice(0, 80)} (renamed)`;
      steps.push([from, aside]);
      left.push([aside, to]);
    }
  }
  return steps;
}

/** Which classes become one. @param {Renaming[]} renamings */
function together(renamings) {
  const given = renamings.filter(([, to]) => to !== "");
  const groups = [...new Set(given.map(([, to]) => folded(to)))].map((name) => given.filter(([, to]) => folded(to) === name));
  return groups.filter((group) => group.length > 1)
    .map((group) => `${listed(group.map(([from]) => from))} become one class: ${group[0][1]}.`).join(" ");
}

/** The folder that all files are in, or the archive. @param {Found[]} files */
export function titleOf(files) {
  const tops = new Set(files.map((found) => found.path.split("/")[0]));
  const [top] = tops;
  if (tops.size !== 1 || (!files[0].path.includes("/") && !isArchive(top))) return "images";
  return top;
}
