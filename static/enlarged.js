/** A photo of a gallery, large: arrows walk on from it, and the keys of the gallery act on it. */

import { path } from "./api.js";
import { button, bytes, el, fill } from "./dom.js";
import { picture } from "./picture.js";

/** @typedef {import("./types.js").Image} Image */

/**
 * Shows `image` until it is closed.
 *
 * @param {Image} image
 * @param {(key: string) => Promise<Image | null>} press what to show after a key was pressed, or
 *   nothing where none is left
 * @param {() => void} closed
 */
export function enlarge(image, press, closed) {
  const shown = el("div", { class: "stack" });
  const show = (/** @type {Image} */ now) => {
    dialog.setAttribute("aria-label", now.file_name);
    const words = `${now.label}, ${now.split}, ${now.width} × ${now.height}, ${bytes(now.bytes)}`;
    // The same photo stays where only what is said of it has changed.
    if (now.id !== image.id || !shown.firstChild) fill(shown, picture(`images/${path(now.id)}`, now.file_name), el("p", null, now.file_name), el("p", { class: "soft", role: "status" }));
    image = now;
    /** @type {HTMLElement} */ (shown.lastElementChild).textContent = words;
  };
  const dialog = el("dialog", {
    onclose: () => {
      dialog.remove();
      closed();
    },
    onkeydown: async (/** @type {KeyboardEvent} */ event) => {
      // Enter and Space push the button that has the focus; Escape closes a dialog by itself.
      if (event.ctrlKey || event.metaKey || event.altKey || ["Enter", " ", "Escape", "Tab"].includes(event.key)) return;
      event.preventDefault();
      const next = await press(event.key);
      if (next) show(next);
      else dialog.close();
    },
  });
  dialog.append(shown, el("div", { class: "row end" }, button("Close", () => dialog.close(), { autofocus: true })));
  show(image);
  document.body.append(dialog);
  dialog.showModal();
}
