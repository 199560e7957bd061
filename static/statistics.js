/** Statistics of a dataset: class balance, image sizes, formats and near-identical images across splits. */

import { get, path } from "./api.js";
import { barChart } from "./chart.js";
import { bytes, count, el, fill, percent, plural } from "./dom.js";
import { picture } from "./picture.js";

/** @typedef {import("./types.js").Statistics} Statistics */

/** Classes are imbalanced if one has more than so many times the training images of another. */
const IMBALANCE = 1.5;
/** The most classes that have each a colour, and that have each a bar per split. */
const FEW = 6;
const SOME = 12;

/** @param {HTMLElement} place @param {import("./types.js").Dataset} dataset @param {AbortSignal} signal @param {() => boolean} isStale */
export async function statistics(place, dataset, signal, isStale) {
  if (!place.hasChildNodes()) fill(place, el("h2", null, "Dataset statistics"), el("p", { class: "soft" }, "Computing…"));
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
    duplicates(numbers, dataset));
}

/** @param {Statistics} numbers */
function balance({ counts }) {
  const training = Object.entries(counts.train ?? {}).sort((a, b) => a[1] - b[1]);
  const all = training.reduce((sum, [, one]) => sum + one, 0);
  if (all === 0) return "No training images yet.";
  const [[least, few], [most, many]] = [training[0], training[training.length - 1]];
  if (many <= IMBALANCE * few) return "The training classes are balanced.";
  return training.length === 2
    ? `Class imbalance: one class has ${percent(many / all)} of the training images.`
    : `Class imbalance: ${most} has ${plural(many, "training image")}, ${least} only ${count(few)}. Balanced class weights can compensate.`;
}

/** @param {Statistics} numbers @param {string[]} names */
function classes({ counts }, names) {
  const splits = Object.keys(counts);
  if (names.length <= FEW) {
    const bars = splits.map((split) => ({ name: split, values: names.map((name) => counts[split][name] ?? 0) }));
    return barChart({ title: "Images by split and class", x: "split", bars, series: names });
  }
  const all = names.map((name) => ({ name, values: splits.map((split) => counts[split][name] ?? 0) }));
  if (names.length <= SOME) return barChart({ title: "Images by class and split", x: "class", bars: all, series: splits });
  const sums = all.map(({ name, values }) => ({ name, values: [values.reduce((sum, one) => sum + one, 0)] })).sort((a, b) => b.values[0] - a.values[0]);
  return barChart({ title: "Images by class, largest first", x: "class", bars: sums, series: ["images"] });
}

/** @param {string} side @param {import("./types.js").Histogram | null} histogram */
function histogram(side, histogram) {
  if (!histogram) return null;
  const { edges, counts, min, max, mean } = histogram;
  const bars = counts.map((value, bin) => ({ name: edges[bin + 1] - edges[bin] > 1 ? `${edges[bin]}–${edges[bin + 1] - 1}` : `${edges[bin]}`, values: [value] }));
  return barChart({ title: `${side}: ${min === max ? min : `${min}–${max}`} px, mean ${Math.round(mean)}`, x: `${side.toLowerCase()} (px)`, bars, series: ["images"] });
}

/** @param {Statistics} numbers @param {import("./types.js").Dataset} dataset */
function duplicates({ cross_split_duplicates: { count: groupsFound, groups } }, { name }) {
  const review = el("p", { class: "hint" }, el("a", { href: `#/review/${path(name)}?list=duplicates` }, "Review"), " also finds mirrored and cropped ones.");
  if (groupsFound === 0) return el("div", { class: "stack" }, el("p", null, "No near-identical images across splits."), review);
  return el("div", { class: "stack" }, review, el("details", { open: groups.length <= 10 },
    el("summary", null, `${plural(groupsFound, "group")} of near-identical images ${groupsFound === 1 ? "spans" : "span"} several splits (data leakage)`),
    el("div", { class: "stack" }, groups.map(({ images }) => el("ul", { class: "grid" }, images.map((image) => el("li", { title: image.file_name },
      picture(`images/${path(image.id)}/thumbnail?size=208`, image.file_name), el("span", { class: "tag" }, `${image.label} · ${image.split}`))))))));
}
