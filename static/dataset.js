/** Dataset page: upload, classes, statistics, augmentation preview and image gallery. */

import { get, path } from "./api.js";
import { attempt, button, count, el, field, fill, plural } from "./dom.js";
import { classList } from "./classes.js";
import { sum } from "./datasets.js";
import { gallery } from "./gallery.js";
import { find } from "./missing.js";
import { picture } from "./picture.js";
import { splitOffer } from "./split.js";
import { statistics } from "./statistics.js";
import { uploads } from "./uploads.js";

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { parts: [name], signal }) {
  /** @type {import("./types.js").Dataset} */
  let dataset = await find(place, "datasets", name, signal);
  if (!dataset) return;
  const version = el("p", { class: "soft" });
  const review = el("a", { class: "button", href: `#/review/${path(dataset.name)}` }, "Review");
  const train = el("a", { class: "button primary", href: `#/train?dataset=${path(dataset.name)}` }, "Train a model");
  const numbers = el("section", { class: "panel", "aria-label": "Statistics" });
  const samples = el("section", { class: "panel", "aria-label": "Augmentation preview" });
  const gaps = el("div", { class: "stack advice" });
  const messages = el("div", null);
  const images = gallery(dataset, () => changed(), signal);
  const added = uploads(dataset, () => refresh());
  const classes = classList(dataset, () => refresh());
  let round = 0;

  const describe = () => {
    const splits = Object.entries(dataset.counts).map(([split, counts]) => `${count(sum(counts))} ${split}`).join(", ");
    fill(version, `${plural(dataset.images, "image")}: ${splits}${dataset.unlabelled ? "; " : ". "}`,
      dataset.unlabelled ? [el("a", { href: `#/review/${path(dataset.name)}?list=unlabelled` }, `${count(dataset.unlabelled)} unlabelled`), ". "] : null, el("span", { title: dataset.version }, `Version ${dataset.version.slice(0, 12)}`));
    train.hidden = dataset.images === 0;
    review.hidden = dataset.images + dataset.unlabelled === 0;
    images.node.hidden = numbers.hidden = dataset.images === 0;
    samples.hidden = sum(dataset.counts.train) === 0;
    splitOffer(gaps, dataset, () => refresh());
    if (dataset.images === 0) gaps.hidden = true;
    images.update(dataset);
    added.update(dataset);
    classes.update(dataset);
  };
  const refresh = () => {
    images.reload();
    changed();
    augmentations(samples, dataset);
  };
  /** Refreshes the counts, version and statistics after a change, but not the gallery. */
  const changed = () => {
    round += 1;
    const mine = round;
    const isStale = () => mine !== round || signal.aborted;
    if (signal.aborted) return;
    void attempt(messages, async () => {
      const now = await get(`datasets/${path(name)}`, signal);
      if (isStale()) return;
      dataset = now;
      describe();
      if (dataset.images > 0) await statistics(numbers, dataset, signal, isStale);
    });
  };

  fill(place,
    el("div", { class: "row apart" }, el("h1", null, dataset.name), el("div", { class: "row" }, review, train)),
    version,
    gaps,
    messages,
    added.node, classes.node, numbers, samples, images.node);
  describe();
  if (dataset.images === 0) return;
  images.reload();
  augmentations(samples, dataset);
  await statistics(numbers, dataset, signal, () => signal.aborted);
}

/**
 * Shows one training image with random augmentation.
 *
 * @param {HTMLElement} place
 * @param {import("./types.js").Dataset} dataset
 */
function augmentations(place, dataset) {
  const seed = el("input", { type: "number", min: "0", step: "1", required: true, value: "0", class: "inline" });
  const sheet = el("div", null);
  const show = () => {
    if (!seed.reportValidity()) return;
    const alt = "Nine augmented versions of one training image";
    fill(sheet, picture(`datasets/${path(dataset.id)}/augmentations?count=9&seed=${Number(seed.value)}`, alt));
  };
  seed.addEventListener("change", show);
  const next = button("New sample", () => {
    seed.value = String(Number(seed.value) + 1);
    show();
  });
  fill(place,
    el("h2", null, "Augmentation preview"),
    el("p", { class: "soft" }, "One training image after the random augmentation of augmented_cnn and of fine-tuning: horizontal flip, rotation up to ±36°, zoom up to ±20%. New random values are drawn in every epoch."),
    el("div", { class: "row" }, field("Seed", seed), next),
    sheet);
  show();
}
