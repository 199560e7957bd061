/** A class on the Teach page: its name, its photos, and the ways to add more. */

import { get, path, send } from "./api.js";
import { announce, attempt, button, confirmLoss, count, droppable, el, fill, notice, plural } from "./dom.js";
import { addTo, dropped, emptyReport, picked, sendAll } from "./files.js";
import { picture } from "./picture.js";
import { refused } from "./preview.js";
import { recorder } from "./teach_camera.js";

/** @typedef {import("./teach.js").Lesson} Lesson */
/** @typedef {import("./files.js").Found} Found */
/** @typedef {import("./types.js").Image} Image */

/** Photos shown per class. */
const SHOWN = 200;
/** Shares of the splits of a burst. */
const [TRAIN, VALIDATION] = [0.7, 0.15];

/** A box of photos. */
export class Box {
  /** @param {Lesson} lesson @param {string} name */
  constructor(lesson, name) {
    this.lesson = lesson;
    this.name = name;
    /** Whether the dataset has the class. */
    this.saved = false;
    /** Whether the user named it or added it. */
    this.touched = false;
    /** @type {Map<string, HTMLElement>} */
    this.photos = new Map();
    /** Thumbnails that are being uploaded. @type {HTMLElement[]} */
    this.pending = [];
    this.title = el("input", { class: "title", value: name, maxLength: 100, autocomplete: "off", "aria-label": "Class name", title: "Click to rename", onfocus: () => this.title.select(), onchange: () => void this.rename(), onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key === "Enter") this.title.blur();
    } });
    this.amount = el("span", { class: "soft" });
    this.thumbs = el("ul", { class: "thumbs", "aria-label": "Photos", tabIndex: -1 });
    this.more = el("p", { class: "hint", hidden: true });
    this.messages = el("div", { class: "stack" });
    this.progress = el("p", { class: "soft", role: "status" });
    this.camera = el("div", null);
    const input = el("input", { type: "file", class: "file", multiple: true, accept: "image/*", onchange: () => {
      this.add(picked(input.files));
      input.value = "";
    } });
    /** Stops the camera, if it is on. */
    this.stop = () => {};
    this.record = button("Camera", () => {
      this.touched = true;
      this.stop();
      this.stop = recorder(this.camera, (files) => this.addBurst(files), (file) => this.preview(file));
    });
    this.remove = button("×", () => void this.delete(), { class: "cross" });
    this.node = el("section", { class: "panel box" },
      el("div", { class: "row apart" }, this.title, this.amount, this.remove),
      el("div", { class: "row" }, el("label", { class: "button" }, "Choose photos", input), this.record, el("span", { class: "hint" }, "or drop or paste them here")),
      this.camera, this.progress, this.messages, this.thumbs, this.more);
    droppable(this.node, (data) => void dropped(data).then((found) => {
      // Folders of several classes fill all boxes.
      if (new Set(found.map(({ path: file }) => file.split("/").slice(0, -1).join("/"))).size > 1) void lesson.addFolders(found);
      else this.add(found);
    }, (error) => this.messages.append(notice(error))));
    this.node.addEventListener("drop", (event) => event.stopPropagation());
    this.node.addEventListener("pointerdown", () => (lesson.last = this));
    this.node.addEventListener("focusin", () => (lesson.last = this));
    this.update();
  }

  /** Shows the name and the number of photos. */
  update() {
    const images = this.lesson.photosOf(this.name) + this.pending.length;
    this.node.setAttribute("aria-label", this.name);
    this.remove.setAttribute("aria-label", `Remove ${this.name}`);
    if (document.activeElement !== this.title) this.title.value = this.name;
    this.amount.textContent = images === 0 ? "" : plural(images, "photo");
  }

  /** Reads the list of photos. */
  async load() {
    const { dataset, signal } = this.lesson;
    if (!dataset || !this.saved) return;
    /** @type {{ items: Image[] }} */
    const { items } = await get(`datasets/${path(dataset.id)}/images?label=${encodeURIComponent(this.name)}&limit=${SHOWN}`, signal);
    const before = this.photos;
    this.photos = new Map(items.map((image) => [image.id, before.get(image.id) ?? this.thumb(image)]));
    fill(this.thumbs, this.pending, [...this.photos.values()].reverse());
    const hidden = this.lesson.photosOf(this.name) - items.length;
    this.more.hidden = hidden <= 0;
    fill(this.more, `${count(hidden)} more on `, el("a", { href: `#/datasets/${path(dataset.name)}` }, "the page of the dataset"));
  }

  /** @param {Image} image */
  thumb({ id, file_name: name }) {
    const remove = button("×", () => void attempt(this.messages, async () => {
      remove.disabled = true;
      await send("DELETE", `datasets/${path(this.lesson.dataset?.id ?? "", "images", id)}`).finally(() => (remove.disabled = false));
      announce(`${name} removed`);
      await this.lesson.refresh();
      this.thumbs.focus();
    }), { class: "cross", "aria-label": `Remove ${name}` });
    return el("li", null, picture(`images/${path(id)}/thumbnail?size=120`, name), remove);
  }

  /** Shows a photo of a burst at once; it is uploaded later. @param {File} file */
  preview(file) {
    const item = el("li", { class: "pending" }, picture(file, "Photo from the camera"));
    this.pending.push(item);
    this.thumbs.prepend(item);
    this.update();
  }

  /** Uploads photos. @param {Found[]} found */
  add(found) {
    if (found.length > 0) void this.upload([{ found, split: "auto" }]);
  }

  /**
   * Uploads the photos of a burst. Its frames are alike, so that each split gets a block of them, not
   * some from everywhere: the model is tested on what it has not seen a tenth of a second before.
   *
   * @param {File[]} files
   */
  addBurst(files) {
    const found = files.map((file, index) => ({ file, path: file.name.replace(".jpg", `-${index}.jpg`) }));
    const [first, second] = [Math.ceil(found.length * TRAIN), Math.ceil(found.length * (TRAIN + VALIDATION))];
    void this.upload([
      { found: found.slice(0, first), split: "train" },
      { found: found.slice(first, second), split: "validation" },
      { found: found.slice(second), split: "test" },
    ].filter((part) => part.found.length > 0));
  }

  /** @param {{ found: Found[], split: string }[]} parts @param {HTMLElement[]} shown their thumbnails, if they have any yet */
  async upload(parts, shown = this.pending) {
    const { lesson } = this;
    const all = parts.reduce((sum, { found }) => sum + found.length, 0);
    this.touched = true;
    fill(this.messages);
    try {
      await lesson.upload(async () => {
        const { id } = await lesson.ensureDataset();
        const report = emptyReport();
        let done = 0;
        for (const { found, split } of parts) {
          const progress = (/** @type {number} */ fraction) => {
            this.progress.textContent = `Uploading ${count(Math.round(done + fraction * found.length))} of ${plural(all, "photo")}`;
          };
          progress(0);
          addTo(report, await sendAll(id, found, { split, labels: "folders", label: this.name }, progress, new AbortController().signal));
          done += found.length;
        }
        const { duplicates } = report;
        if (duplicates > 0) this.messages.append(el("p", { class: "soft" }, `${count(duplicates)} of ${plural(all, "photo")} ${duplicates === 1 ? "was" : "were"} in the dataset already.`));
        this.messages.append(...refused(report).filter((node) => node instanceof Node));
        announce(`${this.name}: ${plural(report.added, "photo")} added, ${count(report.rejected_total)} rejected`);
      });
    } catch (error) {
      const again = button("Try again", () => void this.upload(parts, shown));
      fill(this.messages, notice(error), el("div", null, again));
      this.progress.textContent = "";
      return;
    }
    this.pending = this.pending.filter((item) => !shown.includes(item));
    for (const item of shown) item.remove();
    this.progress.textContent = "";
    await attempt(this.messages, () => lesson.refresh());
  }

  async rename() {
    const { lesson } = this;
    const to = this.title.value.trim();
    const from = this.name;
    if (!to || to === from) {
      this.title.value = from;
      return;
    }
    if (lesson.boxes.some((box) => box !== this && box.name === to)) {
      this.title.value = from;
      this.messages.append(notice(`There is a class ${to} already.`));
      return;
    }
    this.touched = true;
    this.name = to;
    if (this.saved) {
      const renamed = await attempt(this.messages, () => send("PATCH", `datasets/${path(lesson.dataset?.id ?? "", "classes", from)}`, { name: to }));
      if (!renamed) this.name = from;
    }
    await attempt(this.messages, () => lesson.refresh());
  }

  async delete() {
    const { lesson } = this;
    const images = lesson.photosOf(this.name);
    if (images > 0 && !(await confirmLoss(`Delete the class ${this.name} and its ${plural(images, "photo")}? This can't be undone; existing models are kept.`, "Delete"))) return;
    await attempt(this.messages, async () => {
      if (this.saved) await send("DELETE", `datasets/${path(lesson.dataset?.id ?? "", "classes", this.name)}${images > 0 ? "?images=delete" : ""}`);
      lesson.boxes = lesson.boxes.filter((box) => box !== this);
      this.close();
      await lesson.refresh();
    });
  }

  /** Stops the camera. */
  close() {
    this.stop();
  }
}
