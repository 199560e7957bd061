/** Tries the model of the Teach page on the camera or on a photo, and adds what it gets wrong. */

import { Problem, requestWithRetry } from "./api.js";
import { closeCamera, frame, hasSeveralCameras, openCamera, viewOf } from "./camera.js";
import { announce, button, droppable, el, fill, isAbort, notice, percent } from "./dom.js";
import { picture } from "./picture.js";
import { doubtOf } from "./prediction.js";

/** @typedef {import("./teach_lesson.js").Lesson} Lesson */
/** @typedef {import("./types.js").PredictResponse} PredictResponse */

/** Classes with a bar: all of few, or the most likely ones. */
const BARS = 6;
/** Milliseconds between two live predictions, at least. */
const INTERVAL = 50;

/** The panel to try a model. */
export class Trial {
  /** @param {Lesson} lesson */
  constructor(lesson) {
    this.lesson = lesson;
    /** Name of the model, or empty. */
    this.model = "";
    /** The photo that the bars belong to. @type {File | null} */
    this.shown = null;
    /** @type {MediaStream | null} */
    this.stream = null;
    /** @type {"environment" | "user"} */
    this.facing = "environment";
    /** Counts the pictures that were shown; answers for earlier ones are ignored. */
    this.round = 0;
    /** What is to be announced once it has not changed for a while, and its timer. */
    this.said = "";
    this.saying = 0;
    /** Bars by class. @type {Map<string, { node: HTMLElement, bar: HTMLProgressElement, text: HTMLElement }>} */
    this.bars = new Map();
    this.view = el("div", { class: "view" });
    this.verdict = el("div", { class: "row" });
    this.list = el("ul", { class: "bars" });
    this.correct = el("div", { class: "row" });
    this.messages = el("div", { class: "stack" });
    const input = el("input", { type: "file", class: "file", accept: "image/*", onchange: () => {
      const [file] = input.files ?? [];
      input.value = "";
      if (file) this.photo(file);
    } });
    this.camera = button("Use the camera", () => void this.toggleCamera());
    this.other = button("Switch camera", () => {
      this.facing = this.facing === "environment" ? "user" : "environment";
      void this.openCamera();
    }, { hidden: true });
    this.inputs = el("div", { class: "row" }, this.camera, this.other, el("label", { class: "button" }, "Choose a photo", input));
    this.hint = el("p", { class: "soft" });
    this.node = el("section", { class: "panel trial", "aria-label": "Try it" },
      el("h2", null, "Try it"), this.hint, this.inputs, this.view, this.verdict, this.list, this.correct, this.messages);
    droppable(this.node, (data) => {
      if (data.files[0]) this.photo(data.files[0]);
    });
    this.update();
  }

  /** Whether a pasted image is meant for this panel. */
  focused() {
    return this.node.contains(document.activeElement);
  }

  /** @param {string} name of the model, or empty */
  setModel(name) {
    if (name === this.model) return;
    this.model = name;
    this.update();
    // A photo is tried again; the camera goes on by itself.
    if (name && this.shown && !this.stream) void this.predict(this.shown);
  }

  update() {
    this.inputs.hidden = !this.model;
    this.hint.hidden = Boolean(this.model && this.shown);
    this.hint.textContent = this.model ? "Hold something in front of the camera, or drop a photo here." : "Train the model first; then try it here with the camera or a photo.";
    if (!this.model && (this.stream || this.shown)) {
      this.close();
      this.clear();
    }
    this.offer();
  }

  clear() {
    this.round += 1;
    this.shown = null;
    this.bars.clear();
    for (const node of [this.view, this.verdict, this.list, this.messages]) fill(node);
    this.offer();
  }

  /** Buttons that add the photo to a class. */
  offer() {
    const { boxes } = this.lesson;
    this.correct.hidden = !this.shown;
    if (this.correct.hidden) return;
    const key = boxes.map(({ name }) => name).join("\n");
    if (this.correct.dataset.key === key && this.correct.firstChild) return;
    this.correct.dataset.key = key;
    const note = el("span", { class: "good", role: "status" });
    fill(this.correct, el("span", { class: "soft" }, "Wrong or unsure? Add this photo to"), boxes.map((box) => button(box.name, () => {
      if (!this.shown) return;
      note.textContent = `Added to ${box.name}`;
      window.setTimeout(() => (note.textContent = ""), 2000);
      const { shown } = this;
      const name = shown.name.includes(".") ? shown.name : `${shown.name}.jpg`;
      box.add([{ file: new File([shown], name, { type: shown.type }), path: name }]);
    }, { "aria-label": `Add this photo to ${box.name}` })), note);
  }

  /** @param {File} file */
  photo(file) {
    this.close();
    this.clear();
    fill(this.view, picture(file, file.name));
    if (this.model) void this.predict(file);
  }

  async toggleCamera() {
    if (this.stream) this.close();
    else await this.openCamera();
  }

  async openCamera() {
    this.close();
    this.clear();
    try {
      const stream = await openCamera(this.facing, (reason) => {
        this.close();
        if (reason) fill(this.messages, notice(reason));
      });
      if (this.lesson.signal.aborted) {
        closeCamera(stream);
        return;
      }
      this.stream = stream;
      this.camera.textContent = "Stop the camera";
      void hasSeveralCameras().then((several) => (this.other.hidden = !several), () => {});
      const video = viewOf(stream);
      fill(this.view, video);
      await this.live(stream, video);
    } catch (error) {
      if (isAbort(error)) return;
      this.close();
      fill(this.messages, notice(error));
    }
  }

  /** Predicts one frame after the other. @param {MediaStream} stream @param {HTMLVideoElement} video */
  async live(stream, video) {
    while (this.stream === stream) {
      const at = performance.now();
      // Nobody looks at a page in the background.
      const file = document.hidden || !this.model ? null : await frame(video);
      if (file && !(await this.predict(file))) await wait(1000);
      await wait(Math.max(file ? 0 : 100, INTERVAL - (performance.now() - at)));
    }
  }

  /** Stops the camera; its last frame stays. */
  close() {
    closeCamera(this.stream);
    if (this.stream) {
      this.round += 1;
      fill(this.view, this.shown && picture(this.shown, "The last frame of the camera"));
    }
    this.stream = null;
    this.camera.textContent = "Use the camera";
    this.other.hidden = true;
  }

  /** Shows the prediction for a photo. Returns whether there was one. @param {File} file */
  async predict(file) {
    const { round, lesson } = this;
    const few = (lesson.dataset?.classes.length ?? 0) <= BARS;
    const query = new URLSearchParams({ model: this.model, ...(!few && { top: String(BARS) }) });
    const body = new FormData();
    body.append("image", file, file.name);
    try {
      const response = await requestWithRetry(`predict?${query}`, { method: "POST", body, signal: lesson.signal });
      /** @type {PredictResponse} */
      const { predictions: [prediction] } = await response.json();
      if (round !== this.round) return true;
      this.shown = file;
      if (this.messages.firstChild) fill(this.messages);
      this.show(prediction, few);
      return true;
    } catch (error) {
      if (isAbort(error) || round !== this.round) return false;
      // It may have been deleted elsewhere.
      if (error instanceof Problem && error.status === 404) await lesson.trainer.watch();
      else if (!this.messages.firstChild) fill(this.messages, notice(error));
      return false;
    }
  }

  /** @param {import("./types.js").Prediction} prediction @param {boolean} few whether each class keeps its place */
  show(prediction, few) {
    const doubt = doubtOf(prediction);
    fill(this.verdict, el("span", { class: doubt ? "label soft" : "label" }, prediction.label), doubt && el("span", { class: "badge unsure" }, doubt));
    this.say(`${prediction.label}${doubt && `. ${doubt}`}`);
    const entries = Object.entries(prediction.probabilities);
    const place = (/** @type {string} */ label) => this.lesson.dataset?.classes.indexOf(label) ?? 0;
    const ordered = entries.sort((a, b) => (few ? place(a[0]) - place(b[0]) : b[1] - a[1]));
    for (const label of [...this.bars.keys()]) if (!(label in prediction.probabilities)) this.bars.delete(label);
    for (const [label, probability] of ordered) {
      const row = this.bars.get(label) ?? this.bar(label);
      row.bar.value = probability;
      row.text.textContent = percent(probability);
    }
    const nodes = ordered.map(([label]) => /** @type {HTMLElement} */ (this.bars.get(label)?.node));
    if (nodes.some((node, at) => this.list.children[at] !== node) || this.list.children.length !== nodes.length) fill(this.list, nodes);
    this.hint.hidden = true;
    this.offer();
  }

  /** Announces what stays the same for a second. @param {string} said */
  say(said) {
    if (said === this.said) return;
    this.said = said;
    window.clearTimeout(this.saying);
    this.saying = window.setTimeout(() => announce(said), 1000);
  }

  /** @param {string} label */
  bar(label) {
    const [bar, text] = [el("progress", { max: 1, "aria-label": `Probability of ${label}` }), el("span", null)];
    const row = { bar, text, node: el("li", null, el("span", { class: "name", title: label }, label), text, bar) };
    this.bars.set(label, row);
    return row;
  }
}

/** @param {number} milliseconds @returns {Promise<void>} */
const wait = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
