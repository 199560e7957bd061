/**
 * Predict: photos that are dropped, pasted, picked or taken, each with what a model says of it, why,
 * and what another model says. They stay while other pages are looked at.
 */

import { all, get, path, requestWithRetry } from "./api.js";
import { photograph } from "./camera.js";
import { announce, button, decimal, droppable, el, field, fill, isAbort, notice, percent, select } from "./dom.js";
import { picture, showBlob } from "./picture.js";

/** @typedef {import("./types.js").Answer} Answer */
/** @typedef {import("./types.js").Model} Model */

/** Requests at a time. The server refuses what it has no room for; this is only polite. */
const AT_ONCE = 4;

const models = { first: "", second: "" };
/** @type {Photo[]} newest first */
let photos = [];
/** Shows them on the page that is open. */
let show = () => {};
/** @type {(() => Promise<void>)[]} */
const waiting = [];
let working = 0;

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { signal }) {
  const list = el("ul", { class: "photos", "aria-label": "Photos" });
  const empty = el("p", { class: "soft" }, "Nothing yet. A photo of a cat or a dog is all that it takes.");
  const clear = button("Clear all", () => {
    for (const photo of photos) photo.leave();
    photos = [];
    show();
  });
  show = () => {
    fill(list, photos.map((photo) => photo.node));
    empty.hidden = photos.length > 0;
    clear.hidden = photos.length === 0;
  };
  /** @param {Iterable<File>} files */
  const add = (files) => {
    photos = [...Array.from(files, (file) => new Photo(file)), ...photos];
    show();
  };

  const bar = el("div", { class: "row" });
  fill(place,
    el("div", { class: "row apart" }, el("h1", null, "Cat or dog?"), bar),
    dropZone(add),
    el("div", { class: "row apart" }, empty, clear),
    list);
  show();
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (files?.length) add(files);
  }, { signal });
  await offerModels(bar, signal);
}

/** @param {(files: Iterable<File>) => void} add */
function dropZone(add) {
  const input = el("input", { type: "file", class: "file", multiple: true, accept: "image/*", onchange: () => {
    add(input.files ?? []);
    input.value = "";
  } });
  const zone = el("section", { class: "drop", "aria-label": "Add photos" },
    el("p", null, "Drop photos here, paste one, or"),
    el("div", { class: "row" },
      el("label", { class: "button primary" }, "Choose photos", input),
      button("Take a photo", () => void photograph().then((file) => file && add([file])))),
    el("p", { class: "hint" }, "JPEG, PNG, WebP, GIF or BMP. They go to this server and are not kept."));
  droppable(zone, (data) => add(data.files));
  return zone;
}

/** Which model answers, and which beside it. @param {HTMLElement} bar @param {AbortSignal} signal */
async function offerModels(bar, signal) {
  /** @type {[Model[], Model | null]} */
  const [known, current] = await Promise.all([all("models", signal), get("models/current", signal).catch(() => null)]);
  /** @type {[string, string][]} */
  const named = known.map(({ name, test_accuracy, val_accuracy }) => [name, `${name} (${percent(test_accuracy ?? val_accuracy)})`]);
  for (const key of /** @type {const} */ (["first", "second"])) {
    if (!known.some(({ name }) => name === models[key])) models[key] = "";
  }
  const first = select([["", current ? `in service: ${current.name}` : "in service"], ...named], { value: models.first, onchange: () => {
    models.first = first.value;
    for (const photo of photos) photo.predict();
  } });
  const second = select([["", "none"], ...named], { value: models.second, onchange: () => {
    models.second = second.value;
    for (const photo of photos) photo.predict();
  } });
  fill(bar, field("Model", first), field("Compare with", second));
  // Another model may have come into service while other pages were looked at.
  for (const photo of photos) {
    if (models.first === "" && current && photo.answeredBy !== "" && photo.answeredBy !== current.name) photo.predict();
  }
}

/** One photo and its card. */
class Photo {
  /** @param {File} file */
  constructor(file) {
    this.file = file;
    this.round = 0;
    /** Name of the model that answered where none was named. */
    this.answeredBy = "";
    this.picture = picture(file, `Photo ${file.name}`);
    /** Whether the heat map lies over it. */
    this.explained = false;
    this.words = el("div", { class: "words" });
    this.node = el("li", { class: "panel photo" }, el("div", { class: "view" }, this.picture), this.words);
    this.predict();
  }

  /** What is under way for it no longer counts. */
  leave() {
    this.round += 1;
  }

  remove() {
    this.leave();
    photos = photos.filter((photo) => photo !== this);
    show();
  }

  /** Shows the photo itself again. */
  uncover() {
    if (!this.explained) return;
    this.explained = false;
    this.picture.alt = `Photo ${this.file.name}`;
    void showBlob(this.picture, this.file);
  }

  /** Asks the chosen models; an answer to an earlier question no longer counts. */
  predict() {
    this.leave();
    this.uncover();
    const { round } = this;
    const answers = el("div", { class: "stack" }, el("p", { class: "soft" }, "Looking …"));
    fill(this.words,
      el("div", { class: "row apart" },
        el("span", { class: "name", title: this.file.name }, this.file.name),
        button("Remove", () => this.remove(), { class: "link", "aria-label": `Remove ${this.file.name}` })),
      answers);
    const chosen = models.second === "" || models.second === models.first ? [models.first] : [models.first, models.second];
    enqueue(async () => {
      if (round !== this.round) return;
      const parts = await Promise.all(chosen.map((model) => this.answer(model)));
      if (round === this.round) fill(answers, parts);
    });
  }

  /** @param {string} model a name, or nothing for the one in service @returns {Promise<HTMLElement>} */
  async answer(model) {
    try {
      const response = await requestWithRetry(`predict${query(model)}`, this.body());
      /** @type {Answer} */
      const answer = await response.json();
      if (model === "") this.answeredBy = answer.model.name;
      return this.verdict(answer, model);
    } catch (error) {
      const again = el("div", { class: "stack" }, notice(error));
      again.append(button("Try again", () => this.predict()));
      return again;
    }
  }

  body() {
    const form = new FormData();
    form.append("image", this.file, this.file.name);
    return { method: "POST", body: form };
  }

  /** @param {Answer} answer @param {string} model */
  verdict({ predictions: [top], model: by, timing_ms: timing }, model) {
    announce(`${this.file.name}: ${top.label}, ${percent(top.probability)}`);
    const why = button("Why?", () => void this.explain(why, model), { "aria-pressed": "false", title: "Show what in the photo speaks for the label (Grad-CAM)" });
    return el("div", { class: "verdict" },
      el("div", { class: "row apart" },
        el("span", { class: "label" }, top.label),
        el("span", { class: "row" }, percent(top.probability), why)),
      el("progress", { max: 1, value: top.probability, "aria-label": `Probability of ${top.label}` }),
      el("p", { class: "hint" }, `${by.name}, ${decimal(timing.total, 1)} ms (network ${decimal(timing.inference, 1)} ms)`));
  }

  /** Switches between the photo and what in it speaks for the label. @param {HTMLButtonElement} why @param {string} model */
  async explain(why, model) {
    const on = why.getAttribute("aria-pressed") !== "true";
    for (const other of this.node.querySelectorAll("[aria-pressed]")) other.setAttribute("aria-pressed", "false");
    if (!on) return this.uncover();
    const { round } = this;
    why.disabled = true;
    try {
      const response = await requestWithRetry(`explain${query(model)}`, this.body());
      const map = await response.blob();
      if (round !== this.round) return;
      await showBlob(this.picture, map);
      this.explained = true;
      this.picture.alt = `${this.file.name} under the heat map of its label, ${response.headers.get("X-Label")}`;
      for (const other of this.node.querySelectorAll("[aria-pressed]")) other.setAttribute("aria-pressed", String(other === why));
    } catch (error) {
      if (!isAbort(error)) this.words.append(notice(error));
    } finally {
      why.disabled = false;
    }
  }
}

/** @param {string} model */
const query = (model) => (model ? `?model=${path(model)}` : "");

/** @param {() => Promise<void>} work */
function enqueue(work) {
  waiting.push(work);
  void drain();
}

async function drain() {
  if (working >= AT_ONCE) return;
  working += 1;
  for (let work = waiting.shift(); work; work = waiting.shift()) await work();
  working -= 1;
}
