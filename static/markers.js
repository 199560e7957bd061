/**
 * Colours and markers by which the series of a comparison are told apart, by colour-blind people too.
 * The numbers of colours and shapes have no common factor, so that 56 series differ in one of them.
 */

import { svg } from "./dom.js";

const COLOURS = 7;
/** Outlines within 4 px around the origin; a path without its end is a line. */
const SHAPES = [
  "M-3.5 0a3.5 3.5 0 1 0 7 0a3.5 3.5 0 1 0-7 0z",
  "M-3.2-3.2h6.4v6.4h-6.4z",
  "M0-4.2L4 3h-8z",
  "M0-4.6L4.6 0L0 4.6L-4.6 0z",
  "M0 4.2L4-3h-8z",
  "M-4.2 0h8.4M0-4.2v8.4",
  "M-3.4-3.4l6.8 6.8M3.4-3.4l-6.8 6.8",
  "M0-4.6l1.2 3h3.2l-2.5 2l1 3.2L0 1.8l-2.9 1.8l1-3.2l-2.5-2h3.2z",
];
const DASHES = ["", " dashed", " hatch"];
/** Markers per line, so that those of a long one do not merge. */
const MOST = 12;

/** CSS class of the n-th series. @param {number} series */
export const seriesClass = (series) => `k${series % COLOURS}${DASHES[Math.floor(series / COLOURS) % DASHES.length]}`;

/** The marker of the n-th series. @param {number} series @param {number} x @param {number} y */
export function marker(series, x, y) {
  const shape = SHAPES[series % SHAPES.length];
  return svg("path", { d: shape, transform: `translate(${x.toFixed(1)} ${y.toFixed(1)})`, class: `marker k${series % COLOURS}${shape.endsWith("z") ? "" : " open"}` });
}

/** The points of a line that get a marker: the last one, and some others. @param {number[][]} points @param {number} series */
export function marked(points, series) {
  const every = Math.ceil(points.length / MOST);
  return points.filter((_, at) => at === points.length - 1 || (at + series) % every === 0);
}
