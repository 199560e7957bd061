/** Images from the server: a plain `<img>`, or fetched with the API token when scrolled into view. */

import { hasToken, request } from "./api.js";
import { el } from "./dom.js";

/** Source of each pending image: a path on the server, or a blob. @type {WeakMap<Element, string | Blob>} */
const wanted = new WeakMap();

const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const source = wanted.get(target);
    if (!isIntersecting || source === undefined) continue;
    seen.unobserve(target);
    void show(/** @type {HTMLImageElement} */ (target), source);
  }
}, { rootMargin: "300px" });

/** @param {HTMLImageElement} image @param {string | Blob} source */
async function show(image, source) {
  try {
    await showBlob(image, source instanceof Blob ? source : await (await request(source)).blob());
  } catch (error) {
    image.alt = `${image.alt} (${error instanceof Error ? error.message : error})`;
  }
}

/** Shows a blob; its object URL is released after decoding. @param {HTMLImageElement} image @param {Blob} blob */
export async function showBlob(image, blob) {
  const url = URL.createObjectURL(blob);
  image.src = url;
  try {
    await image.decode();
  } catch {
    // The browser can't decode it and shows the alt text.
  }
  URL.revokeObjectURL(url);
}

/**
 * An image that is loaded, or decoded, when it is scrolled into view.
 *
 * @param {string | Blob} source
 * @param {string} alt
 */
export function picture(source, alt) {
  if (typeof source === "string" && !hasToken()) return el("img", { loading: "lazy", decoding: "async", src: source, alt });
  const image = el("img", { alt });
  wanted.set(image, source);
  seen.observe(image);
  return image;
}

/** Downloads `path` as a file, with the API token if there is one. @param {string} path @param {string} name */
export async function save(path, name) {
  const link = el("a", { download: name, href: path });
  if (hasToken()) link.href = URL.createObjectURL(await (await request(path)).blob());
  document.body.append(link);
  link.click();
  link.remove();
  if (link.href.startsWith("blob:")) setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}
