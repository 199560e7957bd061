/** A class on the Teach page: its name, its photos, and the ways to add more. */

import { all, get, path, Problem, send } from "./api.js";
import { announce, attempt, button, confirmLoss, count, droppable, el, fill, notice, plural } from "./dom.js";
import { addTo, dropped, emptyReport, picked, sendAll } from "./files.js";
import { picture } from "./picture.js";
import { refused } from "./preview.js";
import { recorder } from "./teach_camera.js";

/** @typedef {import("./teach_lesson.js").Lesson} Lesson */
/** @typedef {import("./files.js").Found} Found */
/** @typedef {import("./types.js").Image} Image */

/** Photos shown per class, the newest. */
const SHOWN = 200;
/** Shares of the splits of a burst. */
const [TRAIN, VALIDATION] = [0.7, 0.15];
/** File names of photos from the camera begin with it. */
const RECORDED = "recording-";

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
    /** Whether the user deleted it: what is still to be uploaded is dropped. */
    this.deleted = false;
    /** How many of its photos are of recordings. */
    this.recorded = 0;
    /** @type {Map<string, HTMLElement>} */
    this.photos = new Map();
    /** Thumbnails of photos that are not uploaded yet. @type {HTMLElement[]} */
    this.pending = [];
    /** Those of the burst that is being recorded. @type {HTMLElement[]} */
    this.burst = [];
    this.title = el("input", { class: "title", value: name, maxLength: 100, autocomplete: "off", "aria-label": "Class name", title: "Click to rename", onfocus: () => this.title.select(), onchange: () => void this.rename(), onkeydown: (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter") return;
      // It would push the button that has the focus then.
      event.preventDefault();
      this.record.focus();
    } });
    this.amount = el("span", { class: "soft" });
    this.thumbs = el("ul", { class: "thumbs", "aria-label": "Photos; arrow keys move to the buttons that remove one", tabIndex: 0, onkeydown: (/** @type {KeyboardEvent} */ event) => this.step(event) });
    this.more = el("p", { class: "hint", hidden: true });
    this.messages = el("div", { class: "stack" });
    /** Uploads that failed, each with a button to try again. */
    this.failures = el("div", { class: "stack" });
    this.progress = el("p", { class: "soft" });
    this.camera = el("div", null);
    const input = el("input", { type: "file", class: "file", multiple: true, accept: "image/*", onchange: () => {
      this.add(picked(input.files));
      input.value = "";
    } });
    /** Stops the camera, if it is on. */
    this.close = () => {};
    this.record = button("Camera", () => {
      this.touched = true;
      this.close = recorder(this.camera, { taken: (file) => this.preview(file), done: (files) => this.addBurst(files), closed: () => this.record.focus({ preventScroll: true }) });
      lesson.update();
    });
    this.remove = button("×", () => void this.delete(), { class: "cross" });
    this.node = el("section", { class: "panel box" },
      el("div", { class: "row apart" }, this.title, this.amount, this.remove),
      el("div", { class: "row" }, el("label", { class: "button" }, "Choose photos", input), this.record, el("span", { class: "hint" }, "or drop or paste them here")),
      this.camera, this.progress, this.failures, this.messages, this.thumbs, this.more);
    droppable(this.node, (data) => void dropped(data).then((found) => {
      // Folders of several classes fill all boxes.
      if (new Set(found.map(({ path: file }) => file.split("/").slice(0, -1).join("/"))).size > 1) void lesson.addFolders(found);
      else this.add(found);
    }, (error) => this.messages.append(notice(error))));
    for (const kind of ["pointerdown", "focusin"]) this.node.addEventListener(kind, () => (lesson.last = this));
    this.update();
  }

  /** Shows the name and the number of photos. */
  update() {
    const images = this.lesson.photosOf(this.name) + this.pending.length;
    this.node.setAttribute("aria-label", this.name);
    this.remove.setAttribute("aria-label", `Delete ${this.name}`);
    this.title.readOnly = this.remove.hidden = this.lesson.isFixed();
    if (document.activeElement !== this.title) this.title.value = this.name;
    this.amount.textContent = images === 0 ? "" : plural(images, "photo");
  }

  /** Reads the list of photos. */
  async load() {
    const { dataset } = this.lesson;
    if (!dataset || !this.saved) {
      this.photos.clear();
      fill(this.thumbs, this.pending);
      return;
    }
    /** @type {Image[]} */
    const images = await all(`datasets/${path(dataset.id)}/images?label=${encodeURIComponent(this.name)}`);
    const shown = images.slice(-SHOWN).reverse();
    const before = this.photos;
    this.recorded = images.filter(({ file_name: name }) => name.startsWith(RECORDED)).length;
    this.photos = new Map(shown.map((image) => [image.id, before.get(image.id) ?? this.thumb(image)]));
    fill(this.thumbs, [...this.pending].reverse(), [...this.photos.values()]);
    const hidden = images.length - shown.length;
    this.more.hidden = hidden === 0;
    fill(this.more, `${count(hidden)} more on `, el("a", { href: `#/datasets/${path(dataset.name)}` }, "the page of the dataset"));
  }

  /** @param {Image} image */
  thumb({ id, file_name: name }) {
    /** @type {HTMLElement} */
    const item = el("li", null, picture(`images/${path(id)}/thumbnail?size=120`, name), button("×", () => void attempt(this.messages, async () => {
      item.hidden = true;
      this.thumbs.focus();
      try {
        await this.lesson.change(() => send("DELETE", `datasets/${path(this.lesson.dataset?.id ?? "", "images", id)}`));
        announce(`${name} removed`);
      } finally {
        item.hidden = false;
        await this.lesson.refresh();
      }
    }), { class: "cross", "aria-label": `Remove ${name}`, tabIndex: -1 }));
    return item;
  }

  /** Moves between the buttons of the photos: as stops of the Tab key they would be too many. @param {KeyboardEvent} event */
  step(event) {
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const buttons = /** @type {HTMLElement[]} */ ([...this.thumbs.querySelectorAll("li:not([hidden]) button")]);
    const at = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    buttons[Math.min(Math.max(at + by, 0), buttons.length - 1)]?.focus();
  }

  /** Shows a photo of a burst at once; it is uploaded later. @param {File} file */
  preview(file) {
    const item = el("li", { class: "pending" }, picture(file, "Photo from the camera"));
    this.burst.push(item);
    this.pending.push(item);
    this.thumbs.prepend(item);
    this.update();
  }

  /** Uploads photos. @param {Found[]} found */
  add(found) {
    if (found.length > 0) void this.upload([{ found, split: "auto" }], []);
  }

  /**
   * Uploads the photos of a burst. Its frames are alike, so that each split gets a block of them, not
   * some from everywhere: the model is tested on what it has not seen a tenth of a second before.
   *
   * @param {File[]} files
   */
  addBurst(files) {
    const thumbs = this.burst;
    this.burst = [];
    const found = files.map((file, index) => ({ file, path: `${RECORDED}${Date.now()}-${index}.jpg` }));
    const [first, second] = [Math.ceil(found.length * TRAIN), Math.ceil(found.length * (TRAIN + VALIDATION))];
    void this.upload([
      { found: found.slice(0, first), split: "train" },
      { found: found.slice(first, second), split: "validation" },
      { found: found.slice(second), split: "test" },
    ].filter((part) => part.found.length > 0), thumbs);
  }

  /** @param {{ found: Found[], split: string }[]} parts @param {HTMLElement[]} thumbs those that are shown already */
  async upload(parts, thumbs) {
    const { lesson } = this;
    const photos = parts.reduce((sum, { found }) => sum + found.length, 0);
    this.touched = true;
    fill(this.messages);
    try {
      await lesson.change(async () => {
        if (this.deleted) return;
        const { id } = await lesson.ensureDataset();
        const label = this.name;
        const report = emptyReport();
        let done = 0;
        for (const { found, split } of parts) {
          const progress = (/** @type {number} */ fraction) => {
            this.progress.textContent = `Uploading ${count(Math.round(done + fraction * found.length))} of ${plural(photos, "photo")}`;
          };
          progress(0);
          addTo(report, await sendAll(id, found, { split, labels: "folders", label }, progress, new AbortController().signal));
          done += found.length;
        }
        lesson.dataset = await get(`datasets/${path(id)}`);
        this.saved = lesson.dataset?.classes.includes(label) ?? false;
        const { duplicates } = report;
        fill(this.messages, duplicates > 0 && el("p", { class: "soft" }, `${count(duplicates)} of ${plural(photos, "photo")} ${duplicates === 1 ? "was" : "were"} in the dataset already.`), refused(report));
        announce(`${label}: ${plural(report.added, "photo")} added, ${count(report.rejected_total)} rejected`);
      });
    } catch (error) {
      this.progress.textContent = "";
      const failure = el("div", { class: "stack" }, el("div", { class: "notice", role: "alert" }, el("p", null, `${plural(photos, "photo")} not uploaded: ${error instanceof Error ? error.message : error}`), button("Try again", () => {
        failure.remove();
        void this.upload(parts, thumbs);
      })));
      this.failures.append(failure);
      // The dataset may have been deleted: the next attempt makes a new one.
      if (error instanceof Problem && error.status === 404) await attempt(lesson.messages, () => lesson.refresh());
      return;
    }
    this.pending = this.pending.filter((item) => !thumbs.includes(item));
    this.progress.textContent = "";
    await attempt(this.messages, () => lesson.refresh());
  }

  async rename() {
    const { lesson } = this;
    const to = this.title.value.trim();
    if (!to || to === this.name) {
      this.title.value = this.name;
      return;
    }
    const other = lesson.boxOf(to);
    if (other && other !== this) {
      fill(this.messages, notice(`There is a class ${other.name} already.`));
      this.title.value = this.name;
      return;
    }
    this.touched = true;
    await attempt(this.messages, () => lesson.change(async () => {
      if (this.saved) await send("PATCH", `datasets/${path(lesson.dataset?.id ?? "", "classes", this.name)}`, { name: to });
      this.name = to;
    }));
    await attempt(this.messages, () => lesson.refresh());
  }

  async delete() {
    const { lesson } = this;
    const photos = lesson.photosOf(this.name) + this.pending.length;
    if (photos > 0 && !(await confirmLoss(`Delete the class ${this.name} and its ${plural(photos, "photo")}? This can't be undone; existing models are kept.`, "Delete"))) return;
    this.deleted = true;
    this.close();
    this.pending = [];
    const deleted = await attempt(this.messages, () => lesson.change(async () => {
      if (this.saved) await send("DELETE", `datasets/${path(lesson.dataset?.id ?? "", "classes", this.name)}?images=delete`);
    }));
    if (!deleted) {
      this.deleted = false;
      return;
    }
    lesson.boxes = lesson.boxes.filter((box) => box !== this);
    await attempt(lesson.messages, () => lesson.refresh());
    lesson.more.focus({ preventScroll: true });
  }
}
