/** Pictures that the server has: `<img>` where it wants no token, else fetched with it as they come into view. */

import { hasToken, request } from "./api.js";
import { el } from "./dom.js";

/** @type {WeakMap<Element, string>} */
const wanted = new WeakMap();

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const path = wanted.get(target);
    if (!isIntersecting || path === undefined) continue;
    seen.unobserve(target);
    void show(/** @type {HTMLImageElement} */ (target), path);
  }
}, { rootMargin: "300px" });

/** @param {HTMLImageElement} image @param {string} path */
async function show(image, path) {
  try {
    await showBlob(image, await (await request(path)).blob());
  } catch (error) {
    image.alt = `${image.alt} (${error instanceof Error ? error.message : error})`;
  }
}

/** Shows bytes, which are let go of once they are decoded. @param {HTMLImageElement} image @param {Blob} blob */
export async function showBlob(image, blob) {
  const url = URL.createObjectURL(blob);
  image.src = url;
  try {
    await image.decode();
  } catch {
    // The browser can't show it; its alt text stands there.
  }
  URL.revokeObjectURL(url);
}

/**
 * A picture that is loaded when it comes into view.
 *
 * @param {string} path
 * @param {string} alt
 */
export function picture(path, alt) {
  if (!hasToken()) return el("img", { loading: "lazy", decoding: "async", src: path, alt });
  const image = el("img", { alt });
  wanted.set(image, path);
  seen.observe(image);
  return image;
}

/** Saves what is under `path` as a file, with the token where there is one. @param {string} path @param {string} name */
export async function save(path, name) {
  const link = el("a", { download: name, href: path });
  if (hasToken()) link.href = URL.createObjectURL(await (await request(path)).blob());
  document.body.append(link);
  link.click();
  link.remove();
  if (link.href.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
