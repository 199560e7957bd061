/** The result of an evaluation in a sentence or two. */

import { count, plural } from "./dom.js";

/** @typedef {import("./types.js").Evaluation} Evaluation */
/** @typedef {{ truth: string, predicted: string, images: number }} Mistake */

/** @param {Pick<Evaluation, "split" | "confusion_matrix">} result */
export function inWords({ split, confusion_matrix: { labels, matrix } }) {
  const all = matrix.flat().reduce((sum, one) => sum + one, 0);
  const mistakes = matrix.flatMap((row, truth) => row.flatMap((images, predicted) => (images > 0 && truth !== predicted ? [{ truth: labels[truth], predicted: labels[predicted], images }] : [])));
  mistakes.sort((a, b) => b.images - a.images);
  const wrong = mistakes.reduce((sum, { images }) => sum + images, 0);
  if (all === 0) return "";
  return [right(all, wrong, `${split} image`), wrong === 1 ? `Its only error: it mistook ${pair(mistakes[0])}.` : labels.length === 2 ? ofTwo(mistakes) : ofMany(mistakes, wrong)].filter(Boolean).join(" ");
}

/** @param {number} all @param {number} wrong @param {string} noun */
function right(all, wrong, noun) {
  if (wrong === all) return all === 1 ? `Wrong for the only ${noun}.` : `Right for none of the ${plural(all, noun)}.`;
  if (wrong === 0) return all === 1 ? `Right for the only ${noun}.` : all === 2 ? `Right for both ${noun}s.` : `Right for all ${plural(all, noun)}.`;
  return `Right for ${count(all - wrong)} of ${plural(all, noun)}.`;
}

/** @param {Mistake} mistake */
const pair = ({ truth, predicted }) => `${truth} for ${predicted}`;

/** @param {number} number */
const times = (number) => (number === 1 ? "once" : number === 2 ? "twice" : `${count(number)} times`);

/** @param {Mistake[]} mistakes most frequent first */
function ofTwo([most, least]) {
  if (!most) return "";
  if (!least) return `It mistakes ${pair(most)} (${times(most.images)}), but never the other way round.`;
  if (most.images === least.images) return `It mistakes ${pair(most)} as often as ${pair(least)} (${times(most.images)} each).`;
  const both = least.images > 2 ? `${count(most.images)} and ${times(least.images)}` : `${times(most.images)} and ${times(least.images)}`;
  return `It mistakes ${pair(most)} more often than the other way round (${both}).`;
}

/** @param {Mistake[]} mistakes most frequent first @param {number} wrong */
function ofMany(mistakes, wrong) {
  if (mistakes.length === 0) return "";
  const [first, second] = mistakes;
  if (first.images === 1) return `It made ${count(wrong)} different errors, each only once.`;
  if (mistakes.length === 1) return `${wrong === 2 ? "Both" : `All ${count(wrong)}`} errors are the same: it mistook ${pair(first)}.`;
  const tied = mistakes.filter(({ images }) => images === first.images).length;
  if (tied === 1) return `Most often it mistakes ${pair(first)} (${count(first.images)} of ${count(wrong)} errors).`;
  if (tied > 2) return `Several errors are equally frequent (${times(first.images)} each), such as mistaking ${pair(first)}.`;
  return first.truth === second.predicted && first.predicted === second.truth
    ? `Most often it confuses ${first.truth} and ${first.predicted} (${times(first.images)} each way).`
    : `Most often it mistakes ${pair(first)} and ${pair(second)} (${times(first.images)} each).`;
}
