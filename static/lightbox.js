/** A photo of a gallery, large: arrows walk on from it, and the keys of the gallery act on it. */

import { path } from "./api.js";
import { button, bytes, el } from "./dom.js";
import { picture } from "./picture.js";

/** @typedef {import("./types.js").Image} Image */

/**
 * Shows `image` until it is closed.
 *
 * @param {Image} image
 * @param {(key: string) => boolean} acts whether a key does anything
 * @param {(key: string) => Promise<Image | null>} press what to show after such a key, or nothing
 *   where none is left
 * @param {() => void} closed
 */
export function enlarge(image, acts, press, closed) {
  let view = picture(`images/${path(image.id)}`, image.file_name);
  // One element that stays, so that a screen reader tells how its text changes.
  const words = el("p", { role: "status" });
  const show = (/** @type {Image} */ now) => {
    if (now.id !== image.id) {
      const next = picture(`images/${path(now.id)}`, now.file_name);
      view.replaceWith(next);
      view = next;
    }
    image = now;
    dialog.setAttribute("aria-label", now.file_name);
    words.textContent = `${now.file_name}: ${now.label}, ${now.split}, ${now.width} × ${now.height}, ${bytes(now.bytes)}`;
  };
  /** Whether a key is being acted on; the next must not meet another photo than was seen. */
  let pressed = false;
  const dialog = el("dialog", {
    class: "enlarged",
    onclose: () => {
      dialog.remove();
      closed();
    },
    onkeydown: async (/** @type {KeyboardEvent} */ event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !acts(event.key)) return;
      event.preventDefault();
      if (pressed) return;
      pressed = true;
      const next = await press(event.key);
      pressed = false;
      if (next) show(next);
      else dialog.close();
    },
  });
  dialog.append(view, words, el("div", { class: "row end" }, button("Close", () => dialog.close(), { autofocus: true })));
  show(image);
  document.body.append(dialog);
  dialog.showModal();
}
