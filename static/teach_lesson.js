/** A dataset in the making on the Teach page, with its boxes, its training and its trial. */

import { connection, get, path, Problem, send } from "./api.js";
import { attempt, button, choose, droppable, el, fill, listed, notice, once } from "./dom.js";
import { dropped, isArchive, picked, sendAll } from "./files.js";
import { fillFor } from "./live.js";
import { folded, nameFrom } from "./names.js";
import { refused } from "./preview.js";
import { sampleFolders } from "./samples.js";
import { Box } from "./teach_box.js";
import { Trainer } from "./teach_train.js";
import { Trial } from "./teach_try.js";
import { usage } from "./teach_use.js";

/** @typedef {import("./types.js").Dataset} Dataset */
/** @typedef {import("./files.js").Found} Found */

/** Name of the first dataset made here; the next ones get a number. */
const NAME = "my-classes";

/** It stays while other pages are open. */
export class Lesson {
  /**
   * @param {Dataset | null} dataset null until the first photo
   * @param {(before: Dataset | null, now: Dataset | null) => void} moved called when it gets a dataset or loses it
   * @param {(found: Found[]) => void} another opens a new one for these files
   */
  constructor(dataset, moved, another) {
    this.dataset = dataset;
    this.moved = moved;
    this.another = another;
    /** Shows another dataset in the address. @type {(dataset: Dataset | null) => void} */
    this.named = () => {};
    /** Aborted when the page is left. */
    this.signal = AbortSignal.abort();
    /** @type {Box[]} */
    this.boxes = [];
    /** Box that pasted images go to. @type {Box | null} */
    this.last = null;
    /** Changes of the dataset run one after the other. @type {Promise<unknown>} */
    this.turn = Promise.resolve();
    /** Changes under way or waiting. */
    this.changes = 0;
    /** The next refresh, if one is waiting. @type {Promise<void> | null} */
    this.refreshing = null;
    this.list = el("div", { class: "boxes" });
    this.messages = el("div", { class: "stack" });
    this.samples = el("p", { class: "soft" });
    this.use = el("section", { class: "panel", "aria-label": "Use the model", hidden: true });
    this.trial = new Trial(this);
    this.trainer = new Trainer(this);
    const folder = el("input", { type: "file", class: "file", multiple: true, webkitdirectory: true, onchange: () => {
      void this.addFolders(picked(folder.files));
      folder.value = "";
    } });
    this.more = button("Add a class", () => this.addClass());
    this.classes = el("section", { class: "stack", "aria-label": "Classes" },
      this.samples, this.list,
      el("div", { class: "row" }, this.more, el("label", { class: "button" }, "Choose a folder", folder), el("span", { class: "hint" }, "You can also choose or drop a folder that has a subfolder for each class.")),
      this.messages);
    droppable(this.classes, (data) => void dropped(data).then((found) => this.addFolders(found), (error) => this.messages.append(notice(error))));
    this.node = el("div", { class: "page" }, el("div", { class: "lesson" }, this.classes, this.trainer.node, this.trial.node), this.use);
  }

  /** Whether photos would be lost if the tab were closed. */
  hasUnsent() {
    return this.changes > 0 || this.boxes.some((box) => box.pending.length > 0);
  }

  /** Shows it on the page. @param {HTMLElement} place @param {AbortSignal} signal @param {(dataset: Dataset | null) => void} named */
  async attach(place, signal, named) {
    this.signal = signal;
    this.named = named;
    fill(place, this.node);
    document.addEventListener("paste", (event) => {
      const files = Array.from(event.clipboardData?.files ?? []);
      const box = this.last && this.boxes.includes(this.last) ? this.last : this.boxes[0];
      if (files.length === 0) return;
      if (this.trial.focused()) this.trial.photo(files[0]);
      else box?.add(files.map((file) => ({ file, path: file.name })));
    }, { signal });
    // Photos may have been added in another tab.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) void attempt(this.messages, () => this.refresh()).then(() => this.trainer.watch());
    }, { signal });
    signal.addEventListener("abort", () => {
      for (const box of this.boxes) box.close();
      this.trial.close();
    }, { once: true });
    this.update();
    await attempt(this.messages, () => this.refresh());
    await this.trainer.watch();
  }

  /** Reads the dataset again after all changes that are under way, and shows it. */
  refresh() {
    this.refreshing ??= this.change(() => {
      this.refreshing = null;
      return this.reload();
    });
    return this.refreshing;
  }

  /** Reads the dataset again. Only for changes themselves: they run one after the other. */
  async reload() {
    const { dataset } = this;
    if (dataset) {
      try {
        this.dataset = /** @type {Dataset} */ (await get(`datasets/${path(dataset.id)}`));
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 404) throw error;
        this.dataset = null;
        for (const box of this.boxes) box.saved = false;
        this.moved(dataset, null);
        this.messages.append(notice(`The dataset ${dataset.name} has been deleted. New photos go into a new one.`));
      }
    }
    if (!this.signal.aborted) this.named(this.dataset);
    this.update();
    await Promise.all(this.boxes.map((box) => box.load()));
  }

  /** Shows the classes of the dataset, and boxes that are not in it yet. */
  update() {
    const names = this.dataset?.classes ?? [];
    const before = this.boxes;
    const nameOf = (/** @type {Box} */ box) => names.find((name) => folded(name) === folded(box.name));
    // A box that nobody touched gives way to a class with photos. The others keep their places.
    const kept = before.filter((box) => nameOf(box) !== undefined || box.pending.length > 0 || (!box.saved && (box.touched || names.length === 0)));
    this.boxes = [...kept, ...names.filter((name) => !kept.some((box) => nameOf(box) === name)).map((name) => new Box(this, name))];
    for (const box of this.boxes) {
      const name = nameOf(box);
      box.saved = name !== undefined;
      // As the server spells it.
      box.name = name ?? box.name;
    }
    while (this.boxes.length < 2) this.boxes.push(new Box(this, this.freshName()));
    for (const box of before) if (!this.boxes.includes(box)) box.close();
    // Boxes that stay are not moved: they may have the focus, or the camera.
    for (const node of [...this.list.children]) if (!this.boxes.some((box) => box.node === node)) node.remove();
    this.boxes.forEach((box, at) => {
      if (this.list.children[at] !== box.node) this.list.insertBefore(box.node, this.list.children[at] ?? null);
      box.update();
    });
    this.more.hidden = this.isFixed();
    this.offerSamples();
    this.trainer.update();
    this.trial.update();
  }

  /** Whether the classes of the dataset are fixed. */
  isFixed() {
    return this.dataset !== null && !this.dataset.open;
  }

  /** Photos of a class. @param {string} name */
  photosOf(name) {
    return Object.values(this.dataset?.counts ?? {}).reduce((sum, counts) => sum + (counts[name] ?? 0), 0);
  }

  /** The box of a class. @param {string} name */
  boxOf(name) {
    return this.boxes.find((box) => folded(box.name) === folded(name));
  }

  /** A name for a new class: Class 1, Class 2, … */
  freshName() {
    for (let number = 1; ; number += 1) if (!this.boxOf(`Class ${number}`)) return `Class ${number}`;
  }

  /** @param {string} [name] */
  addClass(name) {
    const box = new Box(this, name ?? this.freshName());
    box.touched = true;
    this.boxes.push(box);
    this.update();
    if (!name) box.title.focus();
    return box;
  }

  /** The dataset; it is created with the first photo. @param {string} wanted */
  async ensureDataset(wanted = NAME) {
    for (let number = 1; !this.dataset; number += 1) {
      const name = number === 1 ? wanted : `${wanted}-${number}`;
      try {
        this.dataset = /** @type {Dataset} */ (await send("POST", "datasets", { name }));
        this.moved(null, this.dataset);
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 409) throw error;
      }
    }
    if (!this.signal.aborted) this.named(this.dataset);
    return this.dataset;
  }

  /**
   * Changes the dataset after all earlier changes, also if the user leaves this page. If the server can't
   * be reached, it waits until it is back.
   *
   * @template T @param {() => Promise<T>} work @returns {Promise<T>}
   */
  change(work) {
    const insist = async () => {
      for (;;) {
        try {
          return await work();
        } catch (error) {
          const away = error instanceof Problem && error.status === 0 && !(await fetch("healthz", { cache: "no-store" }).then(({ ok }) => ok, () => false));
          if (!away) throw error;
          await new Promise((resolve) => connection.addEventListener("restored", resolve, { once: true }));
        }
      }
    };
    this.changes += 1;
    const done = this.turn.then(insist).finally(() => (this.changes -= 1));
    this.turn = done.catch(() => {});
    return done;
  }

  /**
   * Adds what was dropped outside the boxes: folders become classes, archives are unpacked by the server.
   *
   * @param {Found[]} found @param {string} [title] name of the dataset, if it is new
   */
  async addFolders(found, title) {
    if (found.length === 0 || !(await this.isMeant(found))) return;
    const folders = new Set(found.map(folderOf));
    if (folders.size === 1 && !found.some((one) => isArchive(one.path))) {
      const folder = folderOf(found[0]).split("/").at(-1) ?? "";
      if (folder === "") this.messages.append(notice("Drop photos on the class that they belong to. Folders of photos can be dropped here."));
      else (this.boxOf(folder) ?? this.addClass(folder)).add(found);
      return;
    }
    const [root] = found[0].path.split("/");
    const wanted = title ?? (found.every((one) => one.path.startsWith(`${root}/`)) ? nameFrom(root) : undefined);
    const bar = el("progress", { max: 1, value: 0, "aria-label": "Upload" });
    const progress = el("div", { class: "stack" }, bar, el("p", { class: "soft" }, "Uploading…"));
    this.messages.append(progress);
    try {
      const report = await this.change(async () => {
        const { id } = await this.ensureDataset(wanted);
        return sendAll(id, found, { split: "auto", labels: "folders", label: "" }, (fraction) => (bar.value = fraction), new AbortController().signal);
      });
      const lines = refused(report).filter(Boolean);
      if (report.duplicates > 0) lines.unshift(el("p", { class: "soft" }, `${report.duplicates} of the photos ${report.duplicates === 1 ? "was" : "were"} here already.`));
      fill(progress, lines, lines.length > 0 && el("div", null, button("Dismiss", () => progress.remove())));
    } catch (error) {
      fill(progress, notice(error), el("div", null, button("Try again", () => {
        progress.remove();
        void this.addFolders(found, title);
      })));
    }
    await attempt(this.messages, () => this.refresh());
  }

  /** Whether folders are meant for this dataset: those of other classes may be a dataset of their own. @param {Found[]} found */
  async isMeant(found) {
    const { dataset } = this;
    const names = [...new Set(found.map((one) => folderOf(one).split("/").at(-1) ?? ""))].filter(Boolean);
    if (!dataset || dataset.images === 0 || names.length < 2 || names.some((name) => this.boxOf(name))) return true;
    const answer = await choose(`${dataset.name} has different classes: ${listed(dataset.classes)}. Are ${listed(names)} the classes of a new one?`, [["new", "New dataset"], ["add", `Add to ${dataset.name}`]]);
    if (answer === "new") this.another(found);
    return answer === "add";
  }

  /** Offers two folders of sample photos while there are none. */
  offerSamples() {
    this.samples.hidden = (this.dataset?.images ?? 0) > 0 || this.boxes.some((box) => box.touched);
    if (this.samples.hidden || this.samples.firstChild) return;
    const use = button("Try it with ours", () => void once(use, this.messages, async () => {
      await this.addFolders(await sampleFolders(), "samples");
      this.trainer.start.focus({ preventScroll: true });
    }), { class: "link" });
    fill(this.samples, "No photos at hand? ", use);
  }

  /** Tries the model of `job` from now on, and shows how to use it. @param {import("./types.js").Job | null} job */
  setModel(job) {
    this.trial.setModel(job?.name ?? "");
    this.use.hidden = !job;
    if (job) fillFor(this.use, job.id, () => usage(job));
  }
}

/** @param {Found} found */
const folderOf = ({ path: file }) => file.split("/").slice(0, -1).join("/");
