/**
 * One image after another, large, for keyboard use: possibly mislabelled ones, those that are
 * unlike the rest, and unlabelled ones.
 */

import { get, path, request, send } from "./api.js";
import { attempt, announce, button, confirmLoss, count, el, fill, listed, percent, plural } from "./dom.js";
import { pickClass } from "./classpicker.js";
import { picture } from "./picture.js";
import { Saves } from "./saves.js";

/** @typedef {import("./types.js").ReviewItem} Item */
/** @typedef {{ kind: string | null, work: (ids: string[]) => Promise<unknown> }} Change see {@link import("./saves.js").Save} */
/**
 * @typedef {{ dataset: import("./types.js").Dataset, url: string, signal: AbortSignal, result: import("./types.js").ReviewSummary,
 *   changed: () => void, focus: boolean }} Context `changed` is called when something of the list was saved; `focus`: the user has
 *   just opened the list
 * @typedef {{ node: HTMLElement, isFinished: () => boolean, update?: (result: import("./types.js").ReviewSummary) => void }} View what a tab
 *   shows; `isFinished`: it is empty, or everything in it is done and saved
 */

const PAGE = 60;
/** Images before the end of what is loaded at which more are fetched. */
const AHEAD = 20;
/** Classes that have a key. */
const KEYED = 9;
/** Images that are fetched before they are shown. */
const PRELOADED = 4;
/** Thumbnails in the strip. */
const STRIP = 12;

/** @type {Change} */
const NOTHING = { kind: null, work: async () => {} };

const NOT_AGAIN = "Don't list it again, without deciding about the label";

/** @type {Record<string, string>} */
const REASONS = { unlike: "unlike the other images", blank: "blank", dark: "dark", blurred: "blurred", small: "small" };

/** @type {Record<string, { intro: string, none: string, confirm: string, key: string, dismiss: string, label: string, hint: string }>} */
const WORDS = {
  mislabelled: {
    intro: "Images whose label is not the class that they look like, according to a classifier that was not trained on them. Nothing is changed until you say so.",
    none: "No image looks mislabelled.",
    confirm: "Label is right", key: "label is right", dismiss: "Dismiss", label: "Relabel", hint: NOT_AGAIN,
  },
  outliers: {
    intro: "Images that are unlike all others, or that show little. Keep them, relabel them, or remove them.",
    none: "No image is unlike the rest.",
    confirm: "Keep", key: "keep", dismiss: "Dismiss", label: "Relabel", hint: NOT_AGAIN,
  },
  unlabelled: {
    intro: "Images without a label, those first whose label would teach most. They are not used for training until they have one.",
    none: "No images without a label.",
    confirm: "Accept suggestion", key: "take the suggested label", dismiss: "Skip", label: "Label", hint: "Leave it without a label for now",
  },
};

/** A request about an image. @param {import("./types.js").Dataset} dataset @param {string} method @param {unknown} [body] @returns {Change} */
export function imageChange(dataset, method, body) {
  return { kind: null, work: ([id]) => send(method, `datasets/${path(dataset.id)}/images/${path(id)}`, body, true) };
}

/** @param {string} list @param {Context} context @returns {View} */
export function stage(list, context) {
  const made = new Stage(list, context);
  return { node: made.node, isFinished: () => made.isFinished() };
}

class Stage {
  /** @param {string} list @param {Context} context */
  constructor(list, { dataset, url, signal, changed, focus }) {
    this.list = list;
    this.dataset = dataset;
    this.url = url;
    this.signal = signal;
    this.words = WORDS[list];
    /** @type {Item[]} */
    this.items = [];
    /** What was done with each item. @type {Map<Item, { text: string, undo: Change | null }>} */
    this.done = new Map();
    /** Images that are loaded, by id. @type {Map<string, HTMLImageElement>} */
    this.pictures = new Map();
    /** @type {string | null} */
    this.cursor = "";
    this.loading = false;
    this.at = 0;

    this.view = el("div", { class: "stage-view" });
    this.about = el("div", { class: "stack", role: "status" });
    this.strip = el("ol", { class: "strip", "aria-label": "Next images" });
    this.messages = el("div", null);
    this.saves = new Saves(this.messages, changed);
    this.place = el("span", null);
    this.actions = el("div", { class: "actions" });
    const { classes } = dataset;
    const { label } = this.words;
    this.labels = el("div", { class: "actions", role: "group", "aria-label": `${label} as` },
      el("span", { class: "soft" }, `${label} as`),
      classes.slice(0, KEYED).map((name, at) => button(`${at + 1} ${name}`, () => this.relabel(name), { title: `${label} as ${name} (${at + 1})` })),
      classes.length > KEYED ? button("Other…", () => this.search(), { title: "Choose a class (l)" }) : null);
    this.keys = el("p", { class: "hint keys" },
      el("kbd", null, "j"), " ", el("kbd", null, "k"), " or arrow keys: move · ",
      el("kbd", null, "Enter"), `: ${this.words.key} · `,
      list === "mislabelled" ? [el("kbd", null, "Space"), ": take the suggested label · "] : null,
      el("kbd", null, "1"), "–", el("kbd", null, String(Math.min(KEYED, classes.length))), `: ${label.toLowerCase()} · `,
      classes.length > KEYED ? [el("kbd", null, "l"), `: ${label.toLowerCase()} by search · `] : null,
      el("kbd", null, "x"), `: ${this.words.dismiss.toLowerCase()} · `,
      el("kbd", null, "u"), ": undo · ", el("kbd", null, "Delete"), ": remove");
    this.box = el("div", { class: "stage", tabIndex: 0, role: "group", "aria-label": "Image to review", onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event) },
      this.view, el("div", { class: "stack" }, this.about, this.actions, this.labels, el("p", { class: "soft" }, this.place, " ", this.saves.node)));
    this.empty = el("p", { hidden: true }, this.words.none);
    this.node = el("div", { class: "stack" }, el("p", { class: "soft" }, this.words.intro), list === "unlabelled" ? this.adding() : null, this.keys, this.messages, this.empty, this.box, this.strip);
    this.box.hidden = true;
    void this.more().then(() => this.show(focus || document.activeElement === document.body || document.activeElement?.tagName === "MAIN"));
  }

  isFinished() {
    return this.cursor === null && this.done.size === this.items.length && this.saves.idle;
  }

  /** Adds images without a label. */
  adding() {
    const input = el("input", { type: "file", class: "file", multiple: true, accept: "image/*", onchange: () => attempt(this.messages, async () => {
      const form = new FormData();
      for (const file of input.files ?? []) form.append("file", file, file.name);
      input.disabled = true;
      try {
        /** @type {import("./types.js").UploadReport} */
        const { added, duplicates, rejected_total } = await (await request(`datasets/${path(this.dataset.id)}/images?labels=none`, { method: "POST", body: form })).json();
        fill(this.messages, el("p", { role: "status" }, `${plural(added, "image")} added, ${count(duplicates)} already there, ${count(rejected_total)} rejected. New images are listed after the next review.`));
      } finally {
        input.disabled = false;
        input.value = "";
      }
    }) });
    return el("div", { class: "row" }, el("label", { class: "button" }, "Add images without a label", input));
  }

  /** Fetches more, if there are any; whether some came. */
  async more() {
    if (this.loading || this.cursor === null) return false;
    this.loading = true;
    const came = await attempt(this.messages, async () => {
      const query = new URLSearchParams({ limit: String(PAGE), ...(this.cursor && { cursor: this.cursor }) });
      const page = await get(`${this.url}/${this.list}?${query}`, this.signal);
      this.cursor = page.next_cursor;
      this.items.push(...page.items);
    });
    this.loading = false;
    return came;
  }

  /** The next item that nothing was done with: after the current one or, if there are none after it, from the start. */
  nextOpen() {
    const open = (/** @type {Item} */ item) => !this.done.has(item);
    const after = this.items.findIndex((item, at) => at > this.at && open(item));
    return after < 0 && this.cursor === null ? this.items.findIndex(open) : after;
  }

  current() {
    return this.items[this.at];
  }

  /** The picture of an item, large; it is loaded at once. @param {Item} item */
  picture(item) {
    const { id, file_name } = item.image;
    const known = this.pictures.get(id);
    if (known) return known;
    const image = picture(`images/${path(id)}/thumbnail?size=640`, file_name);
    image.loading = "eager";
    this.pictures.set(id, image);
    return image;
  }

  /** @param {boolean} focus */
  show(focus = true) {
    if (this.signal.aborted) return;
    const item = this.current();
    this.box.hidden = !item;
    this.empty.hidden = this.items.length > 0;
    this.keys.hidden = !item;
    if (!item) {
      fill(this.strip);
      return;
    }
    fill(this.view, this.picture(item));
    for (const next of this.items.slice(this.at + 1, this.at + 1 + PRELOADED)) this.picture(next);
    const done = this.done.get(item);
    fill(this.about, this.describe(item), done ? el("p", { class: "good" }, done.text) : null);
    const suggested = this.suggestion(item);
    fill(this.actions,
      this.list === "mislabelled" && suggested ? button(`Relabel as ${suggested}`, () => this.relabel(suggested), { class: "primary", title: "Space" }) : null,
      this.list === "unlabelled" && !suggested ? null : button(this.words.confirm, () => this.confirm(), { class: this.list === "unlabelled" ? "primary" : "", title: "Enter" }),
      button(this.words.dismiss, () => this.dismiss(), { title: `${this.words.hint} (x)` }),
      button("Undo", () => this.undo(), { title: "u", disabled: !this.lastDone() }),
      button("Remove", () => this.remove(), { class: "danger", title: "Delete" }));
    const left = this.items.length - this.done.size;
    const over = left === 0 && this.cursor === null;
    this.place.className = over ? "good" : "";
    this.place.textContent = over ? `All ${count(this.items.length)} are done.` : `${count(this.at + 1)} of ${count(this.items.length)}${this.cursor === null ? "" : "+"}, ${count(left)} left`;
    const first = Math.max(0, Math.min(this.at - 2, this.items.length - STRIP));
    fill(this.strip, this.items.slice(first, first + STRIP).map((other, offset) => el("li", {
      class: this.done.has(other) ? "done" : "", "aria-current": first + offset === this.at ? "true" : null,
      title: other.image.file_name, onclick: () => this.go(first + offset),
    }, picture(`images/${path(other.image.id)}/thumbnail?size=104`, ""))));
    if (focus) this.box.focus({ preventScroll: true });
    if (this.at + AHEAD > this.items.length && this.cursor !== null) void this.more().then((came) => came && this.arrived());
  }

  /** More items came: a person who was through with the others goes on. */
  arrived() {
    const open = this.done.has(this.items[this.at]) ? this.nextOpen() : -1;
    if (open >= 0) this.at = open;
    this.show(false);
  }

  /** @param {Item} item */
  describe(item) {
    const { file_name, label, split, width, height } = item.image;
    const name = el("p", { class: "name", title: file_name }, file_name);
    const facts = el("p", { class: "soft" }, `${split ? `${split}, ` : ""}${width}×${height} px`);
    if (this.list === "outliers") {
      return [name, el("p", null, "Label: ", el("b", null, label ?? "none"), `. Listed because it is ${listed((item.reasons ?? []).map((reason) => REASONS[reason] ?? reason), 5)}.`), facts];
    }
    if (this.list === "unlabelled") {
      return [name, el("p", null, item.suggested ? ["Looks like ", el("b", null, item.suggested), ` (${percent(item.probability ?? 0)}).`] : "No suggestion: it needs labelled images of two classes."), facts];
    }
    return [name, el("p", null, "Label: ", el("b", null, label ?? "none"), ` (${percent(item.probability ?? 0)}). Looks like `, el("b", null, item.suggested ?? ""), ` (${percent(item.suggested_probability ?? 0)}).`), facts];
  }

  /** The class that an item looks like, if the dataset has it. @param {Item} item */
  suggestion(item) {
    return item.suggested && this.dataset.classes.includes(item.suggested) ? item.suggested : null;
  }

  /** @param {number} to */
  go(to) {
    this.at = Math.min(Math.max(to, 0), this.items.length - 1);
    this.show();
  }

  /**
   * Notes what is done with the current item, saves it, and goes on to the next.
   *
   * @param {string} text
   * @param {Change} change
   * @param {Change | null} undo
   */
  act(text, change, undo) {
    const item = this.current();
    if (!item) return;
    this.done.set(item, { text, undo });
    this.save(item, change, () => this.done.delete(item));
    announce(text);
    const next = this.nextOpen();
    this.go(next < 0 ? this.at : next);
  }

  /** @param {Item} item @param {Change} change @param {() => void} undone called if it fails */
  save(item, change, undone) {
    this.saves.add({ id: item.image.id, ...change, failed: () => {
      undone();
      this.show(false);
    } });
  }

  /** @param {string} decision @returns {Change} */
  decide(decision) {
    return { kind: decision, work: (images) => send("POST", `${this.url}/decisions`, { list: this.list, images, decision }, true) };
  }

  /** A request about the one image. @param {string} method @param {unknown} [body] */
  change(method, body) {
    return imageChange(this.dataset, method, body);
  }

  confirm() {
    const item = this.current();
    if (!item) return;
    if (this.list !== "unlabelled") this.act("Confirmed.", this.decide("confirmed"), this.decide("undecided"));
    else {
      const suggested = this.suggestion(item);
      if (suggested) this.relabel(suggested);
    }
  }

  dismiss() {
    const item = this.current();
    if (!item) return;
    // An unlabelled image that is skipped is asked for again later.
    if (this.list === "unlabelled") this.act("Skipped.", NOTHING, NOTHING);
    else this.act("Dismissed.", this.decide("dismissed"), this.decide("undecided"));
  }

  /** @param {string} label */
  relabel(label) {
    const item = this.current();
    if (!item) return;
    const before = item.image.label;
    this.act(`Labelled as ${label}.`, this.labelling(label, "confirmed"), before ? this.labelling(before, "undecided") : null);
  }

  /** Labels the image. Unless it had no label, the next review doesn't doubt it either. @param {string} label @param {string} decision @returns {Change} */
  labelling(label, decision) {
    const change = this.change("PATCH", { label });
    if (this.list === "unlabelled") return change;
    return { kind: null, work: (ids) => change.work(ids).then(() => this.decide(decision).work(ids)) };
  }

  async search() {
    const item = this.current();
    if (!item) return;
    const label = await pickClass(this.dataset.classes, `${this.words.label} ${item.image.file_name} as`);
    if (label) this.relabel(label);
  }

  async remove() {
    const item = this.current();
    if (!item || !(await confirmLoss(`Remove ${item.image.file_name} from ${this.dataset.name}?`, "Remove"))) return;
    this.act("Removed.", this.change("DELETE"), null);
  }

  /** The item that was done last and can be undone. */
  lastDone() {
    const last = [...this.done.entries()].at(-1);
    return last?.[1].undo ? last[0] : null;
  }

  undo() {
    const item = this.lastDone();
    const done = item && this.done.get(item);
    if (!item || !done?.undo) return;
    this.done.delete(item);
    this.save(item, done.undo, () => this.done.set(item, done));
    this.go(this.items.indexOf(item));
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // A focused button has its own Enter and Space.
    const onButton = event.target instanceof HTMLButtonElement;
    const item = this.current();
    const digit = /^[1-9]$/.test(event.key) ? this.dataset.classes[Number(event.key) - 1] : undefined;
    if (["j", "ArrowRight", "ArrowDown"].includes(event.key)) this.go(this.at + 1);
    else if (["k", "ArrowLeft", "ArrowUp"].includes(event.key)) this.go(this.at - 1);
    else if (event.key === "Enter" && !onButton) this.confirm();
    else if (event.key === " " && !onButton) {
      const suggested = item && this.suggestion(item);
      if (suggested) this.relabel(suggested);
    } else if (event.key === "x") this.dismiss();
    else if (event.key === "u") this.undo();
    else if (event.key === "l") void this.search();
    else if (event.key === "Delete" || event.key === "Backspace") void this.remove();
    else if (digit) this.relabel(digit);
    else return;
    event.preventDefault();
  }
}
