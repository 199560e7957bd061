/** A gallery image, enlarged. Arrow keys move to its neighbours; the gallery's other keys act on it. */

import { path } from "./api.js";
import { button, bytes, el } from "./dom.js";
import { picture } from "./picture.js";

/** @typedef {import("./types.js").Image} Image */

/**
 * Shows `image` until the dialog is closed.
 *
 * @param {Image} image
 * @param {(key: string) => boolean} acts whether a key has an action
 * @param {(key: string) => Promise<Image | null>} press acts on a key; resolves to the next image,
 *   or null if there is none
 * @param {() => void} closed
 */
export function enlarge(image, acts, press, closed) {
  let view = picture(`images/${path(image.id)}`, image.file_name);
  // This element stays, so that screen readers announce changes of its text.
  const words = el("p", { role: "status" });
  const show = (/** @type {Image} */ now) => {
    if (now.id !== image.id) {
      const next = picture(`images/${path(now.id)}`, now.file_name);
      view.replaceWith(next);
      view = next;
    }
    image = now;
    dialog.setAttribute("aria-label", now.file_name);
    words.textContent = `${now.file_name}: ${now.label}, ${now.split}, ${now.width}×${now.height} px, ${bytes(now.bytes)}`;
  };
  /** Whether an action is in progress; another key could otherwise act on an image not yet seen. */
  let pressed = false;
  const dialog = el("dialog", {
    class: "lightbox",
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
