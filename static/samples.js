/** Photos to try a prediction with, for whoever has none at hand. */

import { path, request } from "./api.js";

/** Files in `static/samples/`. */
export const SAMPLES = ["cat-1.jpg", "dog-1.jpg", "fish.jpg", "cat-2.jpg", "dog-2.jpg", "tool.jpg"];

/** @param {string} name */
export const sampleUrl = (name) => `static/samples/${path(name)}`;

/** @param {string} name one of `SAMPLES` @returns {Promise<File>} */
export async function sampleFile(name) {
  const response = await request(sampleUrl(name));
  return new File([await response.blob()], name, { type: "image/jpeg" });
}
