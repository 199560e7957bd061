/** Statistics of a dataset: class balance, image sizes, formats and near-duplicates. */

import { get, path } from "./api.js";
import { barChart } from "./chart.js";
import { bytes, el, fill, percent, plural } from "./dom.js";
import { picture } from "./picture.js";

/** @typedef {import("./types.js").Statistics} Statistics */

/** @param {HTMLElement} place @param {import("./types.js").Dataset} dataset @param {AbortSignal} signal @param {() => boolean} isStale */
export async function statistics(place, dataset, signal, isStale) {
  /** @type {Statistics} */
  const numbers = await get(`datasets/${path(dataset.id)}/statistics`, signal);
  if (isStale()) return;
  fill(place,
    el("h2", null, "Dataset statistics"),
    el("p", { class: "soft" }, `${plural(numbers.images, "image")}, ${bytes(numbers.bytes)}. ${balance(numbers)}`),
    el("div", { class: "columns" },
      classes(numbers, dataset.classes),
      histogram("Width", numbers.width),
      histogram("Height", numbers.height),
      barChart({ title: "Image formats", x: "format", bars: Object.entries(numbers.formats).map(([name, value]) => ({ name: name.replace("image/", ""), values: [value] })), series: ["images"] })),
    duplicates(numbers));
}

/** @param {Statistics} numbers */
function balance({ counts }) {
  const training = Object.values(counts.train ?? {});
  const all = training.reduce((sum, one) => sum + one, 0);
  if (all === 0) return "No training images yet.";
  const most = Math.max(...training) / all;
  return most > 0.6 ? `Class imbalance: one class has ${percent(most)} of the training images.` : "The training classes are balanced.";
}

/** @param {Statistics} numbers @param {string[]} names */
function classes({ counts }, names) {
  const bars = Object.entries(counts).map(([split, of]) => ({ name: split, values: names.map((name) => of[name] ?? 0) }));
  return barChart({ title: "Images by split and class", x: "split", bars, series: names });
}

/** @param {string} side @param {import("./types.js").Histogram | null} histogram */
function histogram(side, histogram) {
  if (!histogram) return null;
  const { edges, counts, min, max, mean } = histogram;
  const bars = counts.map((value, bin) => ({ name: edges[bin + 1] - edges[bin] > 1 ? `${edges[bin]}–${edges[bin + 1] - 1}` : `${edges[bin]}`, values: [value] }));
  return barChart({ title: `${side}: ${min === max ? min : `${min}–${max}`} px, mean ${Math.round(mean)}`, x: `${side.toLowerCase()} (px)`, bars, series: ["images"] });
}

/** @param {Statistics} numbers */
function duplicates({ cross_split_duplicates: { count: found, groups } }) {
  if (found === 0) return el("p", null, "No near-duplicates across splits.");
  return el("details", { open: true },
    el("summary", null, `${plural(found, "group")} of near-duplicates ${found === 1 ? "spans" : "span"} several splits (data leakage): accuracy would be overestimated`),
    el("div", { class: "stack" }, groups.map(({ images }) => el("ul", { class: "grid" }, images.map((image) => el("li", { title: image.file_name },
      picture(`images/${path(image.id)}/thumbnail?size=208`, image.file_name), el("span", { class: "tag" }, `${image.label} · ${image.split}`)))))));
}
