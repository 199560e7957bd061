/** A dialog to choose one of many classes: type to filter, arrow keys move, Enter chooses. */

import { button, el, fill } from "./dom.js";

/** Classes shown at once. */
const SHOWN = 100;

/**
 * @param {string[]} classes
 * @param {string} title
 * @returns {Promise<string | null>} the class, or null if the user cancelled
 */
export function pickClass(classes, title) {
  return new Promise((resolve) => {
    /** @type {string[]} */
    let found = [];
    let at = 0;
    const list = el("ul", { class: "options", role: "listbox", id: "class-options", "aria-label": "Classes", onclick: (/** @type {MouseEvent} */ event) => {
      const item = event.target instanceof Element ? event.target.closest("li") : null;
      if (item?.dataset.name !== undefined) dialog.close(`=${item.dataset.name}`);
    } });
    const rest = el("p", { class: "hint", role: "status" });
    const mark = () => {
      for (const [index, item] of [...list.children].entries()) item.setAttribute("aria-selected", String(index === at));
      const item = list.children[at];
      if (item) input.setAttribute("aria-activedescendant", item.id);
      else input.removeAttribute("aria-activedescendant");
      item?.scrollIntoView({ block: "nearest" });
    };
    const filter = () => {
      const text = input.value.trim().toLowerCase();
      const starts = (/** @type {string} */ name) => name.toLowerCase().startsWith(text);
      found = classes.filter((name) => name.toLowerCase().includes(text)).sort((a, b) => Number(starts(b)) - Number(starts(a)));
      at = 0;
      fill(list, found.slice(0, SHOWN).map((name, index) => {
        const item = el("li", { role: "option", id: `class-option-${index}` }, name);
        item.dataset.name = name;
        return item;
      }));
      rest.textContent = found.length === 0 ? "No such class" : found.length > SHOWN ? `${found.length - SHOWN} more; type to filter` : "";
      mark();
    };
    const input = el("input", { type: "text", autocomplete: "off", autofocus: true, role: "combobox", "aria-expanded": "true", "aria-controls": "class-options", "aria-label": title, placeholder: "Type to filter",
      oninput: filter,
      onkeydown: (/** @type {KeyboardEvent} */ event) => {
        const last = Math.min(found.length, SHOWN) - 1;
        if (event.key === "ArrowDown") at = Math.min(at + 1, last);
        else if (event.key === "ArrowUp") at = Math.max(at - 1, 0);
        else if (event.key === "Enter" && !event.isComposing) {
          if (found.length > 0) dialog.close(`=${found[at]}`);
        } else return;
        event.preventDefault();
        mark();
      } });
    const dialog = el("dialog", { class: "ask", "aria-label": title, onclose: () => {
      dialog.remove();
      resolve(dialog.returnValue.startsWith("=") ? dialog.returnValue.slice(1) : null);
    } },
      el("b", null, title), input, list, rest,
      el("div", { class: "row end" }, button("Cancel", () => dialog.close(""))));
    document.body.append(dialog);
    dialog.showModal();
    filter();
  });
}
