/** What a dataset lacks for training and evaluation, and a button that splits it automatically. */

import { path, send } from "./api.js";
import { announce, button, confirmLoss, count, el, fill, listed, once, plural } from "./dom.js";

/** @typedef {import("./types.js").Dataset} Dataset */

const SPLITS = ["train", "validation", "test"];
/** The fewest images of a class that can be in all three splits. */
const MIN_IMAGES = 3;
/** Classes that are named at first. */
const NAMED = 3;

/**
 * Fills `place` with what the dataset lacks, and hides it if each class has images in each split.
 *
 * @param {HTMLElement} place
 * @param {Dataset} dataset
 * @param {() => Promise<unknown> | void} changed called after images were moved
 */
export function splitOffer(place, dataset, changed) {
  const gaps = dataset.classes.map((name) => ({ name, images: SPLITS.map((split) => dataset.counts[split]?.[name] ?? 0) }))
    .filter(({ images }) => images.includes(0));
  const few = dataset.classes.length < 2;
  place.hidden = gaps.length === 0 && !few;
  const prevents = few || gaps.some(({ images: [train, validation] }) => train === 0 || validation === 0);
  const small = gaps.filter(({ images }) => total(images) < MIN_IMAGES).map(({ name }) => name);
  const split = button("Split automatically", async () => {
    const sure = await confirmLoss(`Reassign all ${plural(dataset.images, "image")} of ${dataset.name} to train, validation and test (70/15/15)? Images that were assigned to a split deliberately move too. Existing jobs keep their images.`, "Split automatically");
    if (!sure) return;
    await once(split, place, async () => {
      const { moved, counts } = await send("POST", `datasets/${path(dataset.id)}/split`);
      const splits = SPLITS.map((name) => `${count(total(Object.values(counts[name] ?? {})))} ${name}`).join(", ");
      announce(`${plural(moved, "image")} moved: ${splits}`);
      await changed();
    });
  });
  if (few) {
    fill(place, el("p", null, el("b", null, "Not ready for training. "),
      dataset.classes.length === 0 ? "The dataset has no classes yet; add images of at least two." : `The dataset has only the class ${dataset.classes[0]}; add images of at least one more.`));
    return;
  }
  const shown = gaps.slice(0, gaps.length === NAMED + 1 ? gaps.length : NAMED).map(describe);
  const others = gaps.slice(shown.length).map(describe);
  fill(place, gaps.length > 0 && [
    el("p", null, el("b", null, prevents ? "Not ready for training. " : "Test images are missing. "),
      prevents ? "Each class needs training and validation images: " : "The model can't be evaluated on test images of each class: ",
      `${shown.join("; ")}${others.length > 0 ? "; …" : "."}`),
    others.length > 0 && el("details", null, el("summary", null, plural(others.length, "more class")), el("p", { class: "tall" }, `${others.join("; ")}.`)),
    small.length > 0 && el("p", null, `Add images of ${listed(small, NAMED)} (at least ${MIN_IMAGES} per class)${dataset.classes.length - small.length >= 2 ? ", or delete or merge the class" : ""}.`),
    small.length < gaps.length && el("div", { class: "row" }, split,
      el("span", { class: "hint" }, "Reassigns all images, 70% train, 15% validation, 15% test, by their content.")),
  ]);
}

/** @param {number[]} counts */
const total = (counts) => counts.reduce((all, one) => all + one, 0);

/** @param {{ name: string, images: number[] }} gap */
function describe({ name, images }) {
  if (total(images) === 0) return `${name} has no images`;
  const [train, validation, test] = images.map((number) => number === 0 ? "no" : count(number));
  return `${name} has ${train} training, ${validation} validation and ${test} test images`;
}
