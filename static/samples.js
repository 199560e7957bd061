/** Sample photos that are part of the program, for whoever has none at hand. */

import { path, request } from "./api.js";

/** Photos for the Predict page: files in `static/samples/`. */
export const SAMPLES = ["cat-1.jpg", "dog-1.jpg", "fish.jpg", "cat-2.jpg", "tool.jpg", "fish-6.jpg"];
/** Classes of the sample dataset, with their numbers of photos. @type {Record<string, number>} */
const FOLDERS = { fish: 12, tool: 12 };

/** @param {string} name */
export const sampleUrl = (name) => `static/samples/${path(name)}`;

/** @param {string} name @returns {Promise<File>} */
export async function sampleFile(name) {
  const response = await request(sampleUrl(name));
  return new File([await response.blob()], name, { type: "image/jpeg" });
}

/** The sample dataset, as if its folder had been dropped. @returns {Promise<import("./files.js").Found[]>} */
export function sampleFolders() {
  const names = Object.entries(FOLDERS).flatMap(([label, photos]) => Array.from({ length: photos }, (_, at) => [label, `${label}-${at + 1}.jpg`]));
  return Promise.all(names.map(async ([label, name]) => ({ file: await sampleFile(name), path: `samples/${label}/${name}` })));
}
