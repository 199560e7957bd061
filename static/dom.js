/**
 * DOM helpers and number formatting. Untrusted values enter a page only as text nodes and
 * properties, so that a hostile name is displayed and never executed.
 */

/** @typedef {Node | string | number | false | null | undefined} Leaf */
/** @typedef {Leaf | Leaf[] | Leaf[][]} Child */

/**
 * Creates an element. Names with a dash and those in `ATTRIBUTES` are set as attributes, `on…` as
 * listeners, all others as properties.
 *
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {Record<string, any> | null} [properties]
 * @param {...Child} children
 * @returns {HTMLElementTagNameMap[T]}
 */
export function el(tag, properties, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name.includes("-") || ATTRIBUTES.has(name)) node.setAttribute(name, value === true ? "" : value);
    else /** @type {any} */ (node)[name] = value;
  }
  node.append(...leaves(children));
  return node;
}

const ATTRIBUTES = new Set(["role", "for", "class", "scope", "webkitdirectory", "datetime"]);

/** @param {any[]} children @returns {(Node | string)[]} */
function leaves(children) {
  return children
    .flat(3)
    .filter((child) => child !== null && child !== undefined && child !== false && child !== "")
    .map((child) => (child instanceof Node ? child : String(child)));
}

/**
 * Creates an SVG element.
 *
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...(Node | string)} children
 */
export function svg(tag, attributes, ...children) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes ?? {})) node.setAttribute(name, String(value));
  node.append(...children);
  return node;
}

/** Replaces the children of `node`. @param {Element} node @param {...Child} children */
export function fill(node, ...children) {
  node.replaceChildren(...leaves(children));
}

let ids = 0;

/** An id that is unique on the page. */
export function freshId() {
  ids += 1;
  return `id-${ids}`;
}

/**
 * A control with a label above and a hint below.
 *
 * @param {string} text
 * @param {HTMLInputElement | HTMLSelectElement} control
 * @param {Child} [hint]
 */
export function field(text, control, hint) {
  control.id ||= freshId();
  const note = hint ? el("p", { class: "hint", id: `${control.id}-hint` }, hint) : null;
  if (note) control.setAttribute("aria-describedby", note.id);
  return el("div", { class: "field" }, el("label", { for: control.id }, text), control, note);
}

/**
 * A select element.
 *
 * @param {(string | [value: string, text: string])[]} options
 * @param {{ value?: string, onchange?: (event: Event) => void, [name: string]: any }} [properties]
 */
export function select(options, properties = {}) {
  const { value, ...rest } = properties;
  const node = el("select", rest);
  for (const option of options) {
    const [key, text] = typeof option === "string" ? [option, option] : option;
    node.append(el("option", { value: key, selected: key === value }, text));
  }
  return node;
}

/** @param {string} text @param {() => void} act @param {Record<string, any>} [properties] */
export function button(text, act, properties) {
  return el("button", { type: "button", onclick: act, ...properties }, text);
}

/**
 * An error message that stays until it is dismissed.
 *
 * @param {unknown} error
 */
export function notice(error) {
  const text = error instanceof Error ? error.message : String(error);
  /** @type {HTMLElement} */
  const node = el("div", { class: "notice", role: "alert" }, el("p", null, text));
  node.append(button("Dismiss", () => node.remove()));
  return node;
}

/** Runs `work` and shows its error at the end of `place`. Returns whether it succeeded. @param {Element} place @param {() => Promise<unknown>} work */
export async function attempt(place, work) {
  for (const old of place.querySelectorAll(":scope > .notice")) old.remove();
  try {
    await work();
    return true;
  } catch (error) {
    if (!isAbort(error)) place.append(notice(error));
    return false;
  }
}

/** Like {@link attempt}, with `control` disabled meanwhile. @param {HTMLButtonElement} control @param {Element} place @param {() => Promise<unknown>} work */
export async function once(control, place, work) {
  control.disabled = true;
  const went = await attempt(place, work);
  control.disabled = false;
  return went;
}

/** Announces a change to screen readers. @param {string} text */
export function announce(text) {
  const place = document.querySelector(".announcement");
  if (place) place.textContent = text;
}

/**
 * Makes `zone` accept dropped files. Of zones within each other, the innermost takes them.
 *
 * @param {HTMLElement} zone
 * @param {(data: DataTransfer) => void} take
 */
export function droppable(zone, take) {
  zone.addEventListener("dragover", () => zone.classList.add("over"));
  zone.addEventListener("dragleave", () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    zone.classList.remove("over");
    if (event.defaultPrevented) return;
    event.preventDefault();
    if (event.dataTransfer) take(event.dataTransfer);
  });
}

/** Whether the error is a cancelled request, as after leaving the page. @param {unknown} error */
export function isAbort(error) {
  return error instanceof DOMException && error.name === "AbortError";
}

/**
 * Asks for confirmation before something is lost.
 *
 * @param {string} question
 * @param {string} action label of the button that confirms
 * @param {string} [decline] label of the button that declines
 * @returns {Promise<boolean>} whether the user confirmed
 */
export function confirmLoss(question, action, decline = "Cancel") {
  return new Promise((resolve) => {
    const dialog = el("dialog", { class: "ask", "aria-label": action, onclose: () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes");
    } });
    dialog.append(
      el("p", null, question),
      el("div", { class: "row end" },
        button(decline, () => dialog.close(""), { autofocus: true }),
        button(action, () => dialog.close("yes"), { class: "danger" })),
    );
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Asks which of some things to do.
 *
 * @param {string} question
 * @param {[value: string, text: string][]} options the first is suggested
 * @returns {Promise<string>} the value, or empty if the user cancelled
 */
export function choose(question, options) {
  return new Promise((resolve) => {
    const dialog = el("dialog", { class: "ask", "aria-label": question, onclose: () => {
      dialog.remove();
      resolve(dialog.returnValue);
    } });
    dialog.append(el("p", null, question), el("div", { class: "row end" },
      button("Cancel", () => dialog.close("")),
      options.map(([value, text], at) => button(text, () => dialog.close(value), at === 0 ? { class: "primary", autofocus: true } : {}))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/**
 * Asks for a value in a dialog.
 *
 * @param {string} question
 * @param {HTMLInputElement | HTMLSelectElement} control
 * @param {string} action label of the button that confirms
 * @param {Child} [hint]
 * @returns {Promise<string | null>} the value, or null if the user cancelled
 */
export function ask(question, control, action, hint) {
  return new Promise((resolve) => {
    const dialog = el("dialog", { class: "ask", "aria-label": action, onclose: () => {
      dialog.remove();
      resolve(dialog.returnValue === "yes" ? control.value.trim() : null);
    } });
    control.autofocus = true;
    dialog.append(el("form", { onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      dialog.close("yes");
    } },
      field(question, control, hint),
      el("div", { class: "row end" },
        button("Cancel", () => dialog.close("")),
        button(action, () => {}, { type: "submit", class: "primary" }))));
    document.body.append(dialog);
    dialog.showModal();
  });
}

/** @param {number} fraction 0 to 1 */
export const percent = (fraction) => `${(fraction * 100).toFixed(1)}%`;

/** @param {number | null | undefined} value */
export const decimal = (value, digits = 4) => (typeof value === "number" ? value.toFixed(digits) : "–");

/** @param {number} value */
export const count = (value) => value.toLocaleString("en-GB");

/** A count with its noun: 1 image, 2 images, 3 classes. @param {number} value @param {string} noun */
export const plural = (value, noun) => `${count(value)} ${noun}${value === 1 ? "" : noun.endsWith("s") ? "es" : "s"}`;

/** The first of many names, and how many more there are. @param {string[]} names @param {number} [shown] */
export function listed(names, shown = 3) {
  const few = names.length <= shown + 1 ? names : [...names.slice(0, shown), `${count(names.length - shown)} more`];
  return few.length < 2 ? few.join("") : `${few.slice(0, -1).join(", ")} and ${few.at(-1)}`;
}

/** The classes of a model or dataset within a sentence: cat and dog; 6 classes: cardboard, glass, metal and 3 more. @param {string[]} classes */
export const namedClasses = (classes) => (classes.length > 2 ? `${plural(classes.length, "class")}: ${listed(classes)}` : listed(classes));

/** @param {number} value */
export function bytes(value) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let power = 0;
  while (value >= 1000 && power < units.length - 1) {
    value /= 1000;
    power += 1;
  }
  return `${power && value < 100 ? value.toFixed(1) : Math.round(value)} ${units[power]}`;
}

/** A duration. @param {number} seconds */
export function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)];
  if (hours) return `${hours} h ${minutes} min`;
  return minutes ? `${minutes} min ${whole % 60} s` : `${whole} s`;
}

/** Up to how many seconds a duration is rounded to which step of which unit. @type {[below: number, unit: number, step: number, name: string][]} */
const ROUGH = [[10, 1, 1, "s"], [60, 1, 5, "s"], [120, 1, 10, "s"], [600, 60, 1, "min"], [3600, 60, 5, "min"], [7200, 60, 10, "min"], [172_800, 3600, 1, "h"], [Infinity, 86_400, 1, "days"]];

/** An estimated duration, no more precise than it can be: about 40 s, about 3 min. @param {number} seconds */
export function roughly(seconds) {
  const rounded = ROUGH.map(([below, unit, step, name]) => ({ below, unit, name, value: Math.max(Math.round(seconds / unit / step), 1) * step }));
  const fits = rounded.find(({ below, unit, value }) => value * unit < below) ?? rounded[rounded.length - 1];
  return `about ${count(fits.value)} ${fits.name}`;
}

/** A date and time in the browser's time zone. @param {string | null} moment RFC 3339 @param {"short" | "medium"} [timeStyle] to the minute or second */
export function time(moment, timeStyle = "short") {
  if (!moment) return "–";
  const date = new Date(moment);
  const text = date.toLocaleString("en-GB", { dateStyle: "medium", timeStyle });
  return el("time", { datetime: moment, title: date.toISOString() }, text);
}

/** Replaces underscores by spaces. @param {string} word as in `scratch_cnn` */
export const words = (word) => word.replaceAll("_", " ");
