/**
 * Teach page: boxes of photos become a model. What is shown is the server's: a dataset, its jobs and
 * models, so that it is found again on return, in another tab, and after a restart of the server.
 */

import { all, connection, get, path, Problem, send } from "./api.js";
import { attempt, button, droppable, el, fill, notice, select } from "./dom.js";
import { dropped, isArchive, picked, sendAll } from "./files.js";
import { fillFor } from "./live.js";
import { refused } from "./preview.js";
import { Box } from "./teach_box.js";
import { sampleFolders } from "./samples.js";
import { Trainer } from "./teach_train.js";
import { Trial } from "./teach_try.js";
import { usage } from "./teach_use.js";

/** @typedef {import("./types.js").Dataset} Dataset */
/** @typedef {import("./files.js").Found} Found */

/** Name of the first dataset made here; the next ones get a number. */
const NAME = "my-classes";
/** Key of the name of the dataset that was opened last. */
const LAST = "pawprint-teach";
/** A dataset with more classes is not suggested, as it would not fit the page. */
const MAX_CLASSES = 20;

/** Uploads under way; leaving the site would lose them. */
let uploading = 0;
window.addEventListener("beforeunload", (event) => {
  if (uploading > 0) event.preventDefault();
});

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { parts: [name], query, signal }) {
  /** @type {Dataset[]} */
  const datasets = await all("datasets", signal);
  const last = localStorage.getItem(LAST);
  const fresh = query.has("new") || name === "";
  const known = name ? await get(`datasets/${path(name)}`, signal)
    : fresh ? null
      : datasets.find((one) => one.name === last) ?? datasets.filter((one) => one.open && one.classes.length <= MAX_CLASSES).at(-1) ?? null;
  await new Lesson(place, datasets, known, signal).show();
}

/** A dataset in the making, with its boxes, its training and its trial. */
export class Lesson {
  /** @param {HTMLElement} place @param {Dataset[]} datasets @param {Dataset | null} dataset null until the first photo @param {AbortSignal} signal */
  constructor(place, datasets, dataset, signal) {
    this.place = place;
    this.datasets = datasets;
    this.dataset = dataset;
    this.signal = signal;
    /** Name of a dataset that is yet to be created. */
    this.wanted = NAME;
    /** @type {Box[]} */
    this.boxes = [];
    /** Box that pasted images go to. @type {Box | null} */
    this.last = null;
    /** Uploads run one after the other. @type {Promise<unknown>} */
    this.turn = Promise.resolve();
    this.chosen = select([], { "aria-label": "Dataset", onchange: () => {
      location.hash = this.chosen.value ? `#/teach/${path(this.chosen.value)}` : "#/teach?new";
    } });
    this.list = el("div", { class: "boxes" });
    this.messages = el("div", { class: "stack" });
    this.samples = el("p", { class: "soft" });
    this.use = el("section", { class: "panel", "aria-label": "Use the model" });
    this.trial = new Trial(this);
    this.trainer = new Trainer(this);
  }

  async show() {
    const folder = el("input", { type: "file", class: "file", multiple: true, webkitdirectory: true, onchange: () => {
      void this.addFolders(picked(folder.files));
      folder.value = "";
    } });
    const classes = el("section", { class: "stack", "aria-label": "Classes" },
      this.samples, this.list,
      el("div", { class: "row" }, button("Add a class", () => void this.addClass()), el("label", { class: "button" }, "Choose a folder", folder), el("span", { class: "hint" }, "A folder with a subfolder for each class fills all boxes; you can also drop it here.")),
      this.messages);
    droppable(classes, (data) => void dropped(data).then((found) => this.addFolders(found), (error) => this.messages.append(notice(error))));
    fill(this.place,
      el("div", { class: "row apart" }, el("h1", null, "Teach"), el("div", { class: "row" }, el("span", { class: "soft" }, "Dataset"), el("div", null, this.chosen))),
      el("div", { class: "lesson" }, classes, this.trainer.node, this.trial.node),
      this.use);
    document.addEventListener("paste", (event) => {
      const files = event.clipboardData?.files;
      const box = this.last ?? this.boxes[0];
      if (files?.length && box && !this.trial.focused()) box.add(Array.from(files, (file) => ({ file, path: file.name })));
    }, { signal: this.signal });
    this.signal.addEventListener("abort", () => {
      for (const box of this.boxes) box.close();
      this.trial.close();
    }, { once: true });
    // Photos may have been added in another tab.
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden && uploading === 0) void attempt(this.messages, () => this.refresh());
    }, { signal: this.signal });
    await this.refresh();
    await this.trainer.watch();
  }

  /** Reads the dataset again and shows its classes. */
  async refresh() {
    if (this.dataset) {
      this.dataset = /** @type {Dataset} */ (await get(`datasets/${path(this.dataset.id)}`));
      localStorage.setItem(LAST, this.dataset.name);
    }
    this.update();
    await Promise.all(this.boxes.map((box) => box.load()));
  }

  /** Shows the classes of the dataset, and empty boxes that are not in it yet. */
  update() {
    const names = this.dataset?.classes ?? [];
    const before = this.boxes;
    // A box that nobody touched gives way to a class with photos.
    const local = before.filter((box) => !names.includes(box.name) && !box.saved && (box.touched || names.length === 0));
    this.boxes = [...names.map((name) => before.find((box) => box.name === name) ?? new Box(this, name)), ...local];
    for (const box of this.boxes) box.saved = names.includes(box.name);
    while (this.boxes.length < 2) this.boxes.push(new Box(this, this.freshName()));
    for (const box of before) if (!this.boxes.includes(box)) box.close();
    // Boxes that stay are not moved: they may have the focus, or the camera.
    for (const node of [...this.list.children]) if (!this.boxes.some((box) => box.node === node)) node.remove();
    this.boxes.forEach((box, at) => {
      if (this.list.children[at] !== box.node) this.list.insertBefore(box.node, this.list.children[at] ?? null);
      box.update();
    });
    const { dataset } = this;
    const known = dataset && !this.datasets.some(({ id }) => id === dataset.id) ? [...this.datasets, dataset] : this.datasets;
    fillFor(this.chosen, [known.length, dataset?.id], () => [["", "New…"], ...known.map((one) => [one.name, one.name])].map(([value, text]) => el("option", { value, selected: value === (dataset?.name ?? "") }, text)));
    this.offerSamples();
    this.trainer.update();
    this.trial.update();
  }

  /** Photos of a class. @param {string} name */
  photosOf(name) {
    return Object.values(this.dataset?.counts ?? {}).reduce((sum, counts) => sum + (counts[name] ?? 0), 0);
  }

  /** A name for a new class: Class 1, Class 2, … */
  freshName() {
    for (let number = 1; ; number += 1) {
      const name = `Class ${number}`;
      if (![...this.boxes.map((box) => box.name), ...(this.dataset?.classes ?? [])].includes(name)) return name;
    }
  }

  async addClass() {
    const box = new Box(this, this.freshName());
    box.touched = true;
    this.boxes.push(box);
    this.update();
    box.title.focus();
    box.title.select();
  }

  /** The dataset; it is created with the first photo. */
  async ensureDataset() {
    for (let number = 1; !this.dataset; number += 1) {
      const name = number === 1 ? this.wanted : `${this.wanted}-${number}`;
      try {
        this.dataset = /** @type {Dataset} */ (await send("POST", "datasets", { name }));
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 409) throw error;
      }
    }
    if (!this.signal.aborted) history.replaceState(null, "", `#/teach/${path(this.dataset.name)}`);
    return this.dataset;
  }

  /**
   * Uploads something after all that was added before, also if the user leaves this page. If the server
   * can't be reached, it is uploaded when it is back.
   *
   * @param {() => Promise<void>} work
   */
  upload(work) {
    const insist = async () => {
      for (;;) {
        try {
          return await work();
        } catch (error) {
          if (!(error instanceof Problem) || error.status !== 0) throw error;
          await new Promise((resolve) => connection.addEventListener("restored", resolve, { once: true }));
        }
      }
    };
    uploading += 1;
    const done = this.turn.then(insist).finally(() => (uploading -= 1));
    this.turn = done.catch(() => {});
    return done;
  }

  /**
   * Adds what was dropped outside the boxes: folders become classes, archives are unpacked by the server.
   *
   * @param {Found[]} found
   */
  async addFolders(found) {
    if (found.length === 0) return;
    const flat = !found.some((one) => isArchive(one.path)) && new Set(found.map(folderOf)).size === 1;
    if (flat) {
      const folder = folderOf(found[0]).split("/").at(-1);
      const box = this.boxes.find(({ name }) => name === folder) ?? this.boxes.find((one) => !one.saved && !one.touched) ?? this.boxes.at(-1);
      if (box && folder && !box.saved && !box.touched) box.title.value = box.name = folder;
      box?.add(found);
      return;
    }
    const [root] = found[0].path.split("/");
    if (!this.dataset && found.every((one) => one.path.startsWith(`${root}/`))) this.wanted = nameFrom(root);
    const text = el("p", { class: "soft" }, "Uploading…");
    const bar = el("progress", { max: 1, value: 0, "aria-label": "Upload" });
    const progress = el("div", { class: "stack" }, bar, text);
    this.messages.append(progress);
    try {
      await this.upload(async () => {
        const { id } = await this.ensureDataset();
        const report = await sendAll(id, found, { split: "auto", labels: "folders", label: "" }, (fraction) => (bar.value = fraction), new AbortController().signal);
        const lines = refused(report).filter(Boolean);
        if (report.duplicates > 0) lines.unshift(el("p", { class: "soft" }, `${report.duplicates} of the photos ${report.duplicates === 1 ? "was" : "were"} here already.`));
        fill(progress, lines);
        if (lines.length > 0) progress.append(button("Dismiss", () => progress.remove()));
        await this.refresh();
      });
    } catch (error) {
      fill(progress, notice(error), el("div", null, button("Try again", () => {
        progress.remove();
        void this.addFolders(found);
      })));
    }
  }

  /** Offers two folders of sample photos while there are none. */
  offerSamples() {
    this.samples.hidden = (this.dataset?.images ?? 0) > 0 || this.boxes.some((box) => box.touched);
    if (this.samples.hidden || this.samples.firstChild) return;
    fill(this.samples, "No photos at hand? ", button("Try it with ours", async () => {
      this.samples.hidden = true;
      try {
        this.wanted = "samples";
        await this.addFolders(await sampleFolders());
      } catch (error) {
        this.messages.append(notice(error));
      }
    }, { class: "link" }));
  }

  /** Shows how to use `model`, and tries it from now on. @param {import("./types.js").Job | null} job @param {boolean} trained whether it has a model */
  setModel(job, trained) {
    this.trial.setModel(trained && job ? job.name : "");
    this.use.hidden = !trained;
    if (job && trained) fill(this.use, usage(job));
  }
}

/** @param {Found} found */
const folderOf = ({ path: file }) => file.split("/").slice(0, -1).join("/");

/** A valid name of a dataset. @param {string} folder */
const nameFrom = (folder) => folder.normalize("NFKD").replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+|-+$/g, "").slice(0, 90) || NAME;
