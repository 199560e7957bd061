/**
 * Predict page: images that are dropped, pasted, chosen or taken by camera, each with its prediction,
 * a Grad-CAM explanation and optionally a second model's prediction. They stay while other pages are
 * open.
 */

import { all, get, requestWithRetry } from "./api.js";
import { announce, attempt, button, decimal, droppable, el, field, fill, isAbort, namedClasses, notice, percent, plural, select } from "./dom.js";
import { picture, showBlob } from "./picture.js";
import { doubtOf } from "./prediction.js";
import { sampleFile, SAMPLES, sampleUrl } from "./samples.js";

/** @typedef {import("./types.js").PredictResponse} PredictResponse */
/** @typedef {import("./types.js").Model} Model */

/** Concurrent requests. The server limits its queue itself; this leaves room for other clients. */
const AT_ONCE = 4;
/** Classes shown per prediction. */
const SHOWN = 5;

const models = { first: "", second: "" };
/** @type {ImageCard[]} newest first */
let cards = [];
/** Shows them on the current page. */
let show = () => {};
/** @type {(() => Promise<void>)[]} */
const waiting = [];
let working = 0;

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { signal }) {
  const list = el("ul", { class: "cards", "aria-label": "Images" });
  const clear = button("Clear all", () => {
    for (const card of cards) card.cancel();
    cards = [];
    show();
  });
  show = () => {
    fill(list, cards.map((card) => card.node));
    samples.hidden = cards.length > 0;
    clear.hidden = cards.length === 0;
  };
  /** @param {Iterable<File>} files */
  const add = (files) => {
    cards = [...Array.from(files, (file) => new ImageCard(file)), ...cards];
    show();
  };

  const samples = sampleBar(add);
  const [bar, about] = [el("div", { class: "row" }), el("div", { class: "soft" })];
  const hint = el("p", { class: "hint" }, "JPEG, PNG, WebP, GIF or BMP.");
  fill(place,
    el("div", { class: "row apart" }, el("h1", null, "Predict"), bar),
    about,
    dropZone(add, hint),
    samples,
    el("div", { class: "row end" }, clear),
    list);
  show();
  document.addEventListener("paste", (event) => {
    const files = event.clipboardData?.files;
    if (files?.length) add(files);
  }, { signal });
  await offerModels(bar, about, signal);
  await sayWhatIsKept(hint, signal);
}

/** What the server does with the images, if it says so. @param {Element} place @param {AbortSignal} signal */
async function sayWhatIsKept(place, signal) {
  try {
    /** @type {import("./types.js").PredictionSummary} */
    const { log: { enabled, photos, days } } = await get("predictions/summary", signal);
    const kept = `kept for ${plural(days, "day")}`;
    place.append(!enabled ? " Images are sent to this server and are not stored."
      : photos ? ` Images are sent to this server; they and their predictions are ${kept}.` : ` Images are sent to this server and are not stored; their predictions are ${kept}.`);
  } catch {
    // Without the right to read the log, nothing is known.
  }
}

/** @param {(files: Iterable<File>) => void} add @param {HTMLElement} hint */
function dropZone(add, hint) {
  const input = el("input", { type: "file", class: "file", multiple: true, accept: "image/*", onchange: () => {
    add(input.files ?? []);
    input.value = "";
  } });
  const zone = el("section", { class: "drop", "aria-label": "Add images" },
    el("p", null, "Drop images here, paste one, or"),
    el("div", { class: "row" },
      el("label", { class: "button primary" }, "Choose images", input),
      button("Take a photo", () => void takePhoto(add))),
    hint);
  const folders = el("p", { class: "problem", role: "alert", hidden: true }, "Folders can't be classified here. To train on a folder, drop it on ", el("a", { href: "#/datasets" }, "Datasets"), ".");
  zone.append(folders);
  droppable(zone, (data) => {
    const dropped = Array.from(data.items, (item) => item.webkitGetAsEntry?.()?.isDirectory ?? false);
    folders.hidden = !dropped.includes(true);
    add(Array.from(data.files).filter((_, index) => !dropped[index]));
  });
  return zone;
}

/** @param {(files: Iterable<File>) => void} add */
async function takePhoto(add) {
  const { photograph } = await import("./camera.js");
  const file = await photograph();
  if (file) add([file]);
}

/** Sample photos, each of which is added as if it had been dropped. @param {(files: Iterable<File>) => void} add */
function sampleBar(add) {
  /** @type {HTMLElement} */
  const place = el("section", { class: "samples", "aria-label": "Sample photos" },
    el("p", null, "No photo at hand? Try one of these:"),
    el("div", { class: "row" }, SAMPLES.map((name, index) => el("button", { type: "button", "aria-label": `Sample photo ${index + 1}`,
      onclick: () => void attempt(place, async () => add([await sampleFile(name)])) },
    el("img", { loading: "lazy", decoding: "async", width: 96, height: 96, src: sampleUrl(name), alt: "" })))));
  return place;
}

/** Selects for the model and for one to compare with, and what they distinguish. @param {HTMLElement} bar @param {HTMLElement} about @param {AbortSignal} signal */
async function offerModels(bar, about, signal) {
  /** @type {[Model[], Model | null]} */
  const [known, current] = await Promise.all([all("models", signal), get("models/current", signal).catch(() => null)]);
  /** @type {[string, string][]} */
  const named = known.map(({ name, test_accuracy, val_accuracy }) => [name, `${name} (${percent(test_accuracy ?? val_accuracy)})`]);
  for (const key of /** @type {const} */ (["first", "second"])) {
    if (!known.some(({ name }) => name === models[key])) models[key] = "";
  }
  const describe = () => {
    const chosen = [known.find(({ name }) => name === models.first) ?? current, known.find(({ name }) => name === models.second)];
    fill(about, [...new Set(chosen)].map((model) => model ? el("p", null, `${model.name} distinguishes ${namedClasses(model.classes)}.`) : null));
  };
  const first = select([["", current ? `In service: ${current.name}` : "In service"], ...named], { value: models.first, onchange: () => {
    models.first = first.value;
    describe();
    for (const card of cards) card.predict();
  } });
  const second = select([["", "None"], ...named], { value: models.second, onchange: () => {
    models.second = second.value;
    describe();
    for (const card of cards) card.predict();
  } });
  fill(bar, field("Model", first), field("Compare with", second));
  describe();
  // Another model may have been put in service while other pages were open.
  for (const card of cards) {
    if (models.first === "" && current && card.servedBy !== "" && card.servedBy !== current.name) card.predict();
  }
}

/** An image with its predictions. */
class ImageCard {
  /** @param {File} file */
  constructor(file) {
    this.file = file;
    this.round = 0;
    /** Name of the model that was used, if the one in service was requested. */
    this.servedBy = "";
    this.image = picture(file, file.name);
    /** Whether the heat map is shown. */
    this.explained = false;
    this.words = el("div", { class: "words" });
    this.node = el("li", { class: "panel card" }, el("div", { class: "view" }, this.image), this.words);
    this.predict();
  }

  /** Ignores responses that are still pending. */
  cancel() {
    this.round += 1;
  }

  remove() {
    this.cancel();
    cards = cards.filter((card) => card !== this);
    show();
  }

  /** Shows the image without the heat map again. */
  hideHeatMap() {
    if (!this.explained) return;
    this.explained = false;
    this.image.alt = this.file.name;
    void showBlob(this.image, this.file);
  }

  /** Requests predictions from the selected models; earlier responses are ignored. */
  predict() {
    this.cancel();
    this.hideHeatMap();
    const { round } = this;
    const results = el("div", { class: "stack" }, el("p", { class: "soft" }, "Predicting…"));
    fill(this.words,
      el("div", { class: "row apart" },
        el("span", { class: "name", title: this.file.name }, this.file.name),
        button("Remove", () => this.remove(), { class: "link", "aria-label": `Remove ${this.file.name}` })),
      results);
    const chosen = models.second === "" || models.second === models.first ? [models.first] : [models.first, models.second];
    enqueue(async () => {
      if (round !== this.round) return;
      const parts = await Promise.all(chosen.map((model) => this.resultOf(model)));
      if (round === this.round) fill(results, parts);
    });
  }

  /** @param {string} model a name, or empty for the model in service @returns {Promise<HTMLElement>} */
  async resultOf(model) {
    try {
      const response = await requestWithRetry(`predict?${query(model, { top: String(SHOWN) })}`, this.body());
      /** @type {PredictResponse} */
      const prediction = await response.json();
      if (model === "") this.servedBy = prediction.model.name;
      return this.verdict(prediction, model);
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

  /** @param {PredictResponse} response @param {string} model */
  verdict({ predictions: [top], model: by, timing_ms: timing }, model) {
    const doubt = doubtOf(top);
    announce(`${this.file.name}: ${top.label}, ${percent(top.probability)}${doubt && `. ${doubt}`}`);
    const likely = Object.entries(top.probabilities).sort((a, b) => b[1] - a[1] || Number(b[0] === top.label) - Number(a[0] === top.label));
    return el("div", { class: "verdict" },
      el("div", { class: "row apart" },
        el("span", { class: "label" }, top.label),
        doubt && el("span", { class: "badge unsure" }, doubt)),
      el("ul", { class: "bars" }, likely.map(([label, probability]) => this.bar(label, probability, model))),
      el("p", { class: "hint" }, `${by.name}: ${decimal(timing.total, 1)} ms total, ${decimal(timing.inference, 1)} ms inference`));
  }

  /** @param {string} label @param {number} probability @param {string} model */
  bar(label, probability, model) {
    const toggle = button("Explain", () => void this.explain(toggle, model, label), { "aria-pressed": "false", "aria-label": `Explain ${label}`, title: `Show the regions that support ${label} (Grad-CAM)` });
    return el("li", null,
      el("span", { class: "name", title: label }, label),
      el("span", null, percent(probability)), toggle,
      el("progress", { max: 1, value: probability, "aria-label": `Probability of ${label}` }));
  }

  /** Switches between the image and its Grad-CAM heat map. @param {HTMLButtonElement} toggle @param {string} model @param {string} label the class to explain */
  async explain(toggle, model, label) {
    const on = toggle.getAttribute("aria-pressed") !== "true";
    for (const other of this.node.querySelectorAll("[aria-pressed]")) other.setAttribute("aria-pressed", "false");
    if (!on) return this.hideHeatMap();
    const { round } = this;
    toggle.disabled = true;
    try {
      const response = await requestWithRetry(`explain?${query(model, { class: label })}`, this.body());
      const map = await response.blob();
      if (round !== this.round) return;
      await showBlob(this.image, map);
      this.explained = true;
      this.image.alt = `${this.file.name} with Grad-CAM heat map for ${label}`;
      for (const other of this.node.querySelectorAll("[aria-pressed]")) other.setAttribute("aria-pressed", String(other === toggle));
    } catch (error) {
      if (!isAbort(error)) this.words.append(notice(error));
    } finally {
      toggle.disabled = false;
    }
  }
}

/** @param {string} model a name, or empty for the model in service @param {Record<string, string>} others */
const query = (model, others) => new URLSearchParams({ ...(model && { model }), ...others });

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
