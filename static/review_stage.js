/**
 * One image after another, large, for keyboard use: probably mislabelled ones, those that are
 * unlike the rest, and unlabelled ones.
 */

import { get, path, request, send } from "./api.js";
import { attempt, announce, button, confirmLoss, count, el, field, fill, percent, plural } from "./dom.js";
import { pickClass } from "./classpicker.js";
import { picture } from "./picture.js";

/** @typedef {import("./types.js").ReviewItem} Item */
/** @typedef {{ dataset: import("./types.js").Dataset, url: string, signal: AbortSignal, result: import("./types.js").ReviewSummary }} Context */

const PAGE = 60;
/** Images before the end of what is loaded at which more are fetched. */
const AHEAD = 20;
/** Classes that have a key. */
const KEYED = 9;
/** Images that are fetched before they are shown. */
const PRELOADED = 4;
/** Thumbnails in the strip. */
const STRIP = 12;

/** @type {Record<string, string>} */
const REASONS = { unlike: "unlike the other images", blank: "blank", dark: "dark", blurred: "blurred", small: "few pixels" };

/** @type {Record<string, { intro: string, none: string, confirm: string, dismiss: string }>} */
const WORDS = {
  mislabelled: {
    intro: "Images whose label is not the class that they look like, according to a classifier that was not trained on them. Nothing is changed until you say so.",
    none: "No image looks mislabelled.",
    confirm: "Label is right", dismiss: "Dismiss",
  },
  outliers: {
    intro: "Images that are unlike all others, or that show little. Keep them, relabel them, or remove them.",
    none: "No image is unlike the rest.",
    confirm: "Keep", dismiss: "Dismiss",
  },
  unlabelled: {
    intro: "Images without a label, those first whose label would teach most. They are not used for training until they have one.",
    none: "No images without a label.",
    confirm: "Accept suggestion", dismiss: "Skip",
  },
};

/** @param {string} list @param {Context} context */
export function stage(list, context) {
  return new Stage(list, context).node;
}

class Stage {
  /** @param {string} list @param {Context} context */
  constructor(list, { dataset, url, signal }) {
    this.list = list;
    this.dataset = dataset;
    this.url = url;
    this.signal = signal;
    this.words = WORDS[list];
    /** @type {Item[]} */
    this.items = [];
    /** What was done with each item. @type {Map<Item, { text: string, undo: (() => Promise<unknown>) | null }>} */
    this.done = new Map();
    /** Images that are loaded, by id. @type {Map<string, HTMLImageElement>} */
    this.pictures = new Map();
    /** @type {string | null} */
    this.cursor = "";
    this.loading = false;
    this.at = 0;
    /** Requests run one after the other, while the person goes on. */
    this.turn = Promise.resolve();

    this.view = el("div", { class: "stage-view" });
    this.about = el("div", { class: "stack", role: "status" });
    this.strip = el("ol", { class: "strip", "aria-label": "Next images" });
    this.messages = el("div", null);
    this.place = el("p", { class: "soft" });
    this.actions = el("div", { class: "actions" });
    const { classes } = dataset;
    this.labels = el("div", { class: "actions", "aria-label": "Relabel as" },
      classes.slice(0, KEYED).map((name, at) => button(`${at + 1} ${name}`, () => this.relabel(name), { title: `Relabel as ${name} (${at + 1})` })),
      classes.length > KEYED ? button("Relabel…", () => this.search(), { title: "Choose a class (l)" }) : null);
    this.keys = el("p", { class: "hint" },
      el("kbd", null, "j"), " ", el("kbd", null, "k"), " or arrow keys move, ",
      el("kbd", null, "Enter"), ` ${this.words.confirm.toLowerCase()}, `,
      list === "mislabelled" ? [el("kbd", null, "Space"), " takes the suggested label, "] : null,
      el("kbd", null, "1"), "–", el("kbd", null, String(Math.min(KEYED, classes.length))), " relabel, ",
      classes.length > KEYED ? [el("kbd", null, "l"), " relabels by search, "] : null,
      el("kbd", null, "x"), ` ${this.words.dismiss.toLowerCase()}, `,
      el("kbd", null, "u"), " undoes, ", el("kbd", null, "Delete"), " removes the image.");
    this.box = el("div", { class: "stage", tabIndex: 0, role: "group", "aria-label": "Image to review", onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event) },
      this.view, el("div", { class: "stack" }, this.about, this.actions, this.labels, this.place));
    this.empty = el("p", { hidden: true }, this.words.none);
    this.node = el("div", { class: "stack" }, el("p", { class: "soft" }, this.words.intro), list === "unlabelled" ? this.adding() : null, this.keys, this.messages, this.empty, this.box, this.strip);
    this.box.hidden = true;
    void this.more().then(() => this.show(false));
  }

  /** Adds photos without a label. */
  adding() {
    const input = el("input", { type: "file", multiple: true, accept: "image/*", onchange: () => attempt(this.messages, async () => {
      const form = new FormData();
      for (const file of input.files ?? []) form.append("file", file, file.name);
      input.disabled = true;
      try {
        /** @type {import("./types.js").UploadReport} */
        const { added, duplicates, rejected_total } = await (await request(`datasets/${path(this.dataset.id)}/images?labels=none`, { method: "POST", body: form })).json();
        fill(this.messages, el("p", { role: "status" }, `${plural(added, "photo")} added, ${count(duplicates)} already there, ${count(rejected_total)} rejected. New photos are listed after the next review.`));
      } finally {
        input.disabled = false;
        input.value = "";
      }
    }) });
    return field("Add photos without a label", input);
  }

  async more() {
    if (this.loading || this.cursor === null) return;
    this.loading = true;
    await attempt(this.messages, async () => {
      const query = new URLSearchParams({ limit: String(PAGE), ...(this.cursor && { cursor: this.cursor }) });
      const page = await get(`${this.url}/${this.list}?${query}`, this.signal);
      this.cursor = page.next_cursor;
      this.items.push(...page.items);
    });
    this.loading = false;
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
      button(this.words.dismiss, () => this.dismiss(), { title: "x" }),
      button("Undo", () => this.undo(), { title: "u", disabled: !this.lastDone() }),
      button("Remove", () => this.remove(), { class: "danger", title: "Delete" }));
    const left = this.items.length - this.done.size;
    this.place.textContent = `${count(this.at + 1)} of ${count(this.items.length)}${this.cursor === null ? "" : "+"}, ${count(left)} left`;
    const first = Math.max(0, Math.min(this.at - 2, this.items.length - STRIP));
    fill(this.strip, this.items.slice(first, first + STRIP).map((other, offset) => el("li", {
      class: this.done.has(other) ? "done" : "", "aria-current": first + offset === this.at ? "true" : null,
      title: other.image.file_name, onclick: () => this.go(first + offset),
    }, picture(`images/${path(other.image.id)}/thumbnail?size=104`, ""))));
    if (focus) this.box.focus({ preventScroll: true });
    if (this.at + AHEAD > this.items.length && this.cursor !== null) void this.more();
  }

  /** @param {Item} item */
  describe(item) {
    const { file_name, label, split, width, height } = item.image;
    const name = el("p", { class: "name", title: file_name }, file_name);
    const facts = el("p", { class: "soft" }, `${split ? `${split}, ` : ""}${width}×${height} px`);
    if (this.list === "outliers") {
      return [name, el("p", null, "Label: ", el("b", null, label ?? "none"), ". ", (item.reasons ?? []).map((reason) => REASONS[reason] ?? reason).join(", "), "."), facts];
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
   * Notes what is done with the current item, sends it, and goes on to the next.
   *
   * @param {string} text
   * @param {() => Promise<unknown>} work
   * @param {(() => Promise<unknown>) | null} undo
   */
  act(text, work, undo) {
    const item = this.current();
    if (!item) return;
    this.done.set(item, { text, undo });
    this.send(work, () => this.done.delete(item));
    announce(text);
    const next = this.items.findIndex((other, at) => at > this.at && !this.done.has(other));
    this.go(next < 0 ? this.at : next);
  }

  /** @param {() => Promise<unknown>} work @param {() => void} failed */
  send(work, failed) {
    this.turn = this.turn.then(async () => {
      if (await attempt(this.messages, async () => { await work(); })) return;
      failed();
      this.show();
    });
  }

  /** @param {Item} item @param {string} decision */
  decide(item, decision) {
    return send("POST", `${this.url}/decisions`, { list: this.list, images: [item.image.id], decision });
  }

  confirm() {
    const item = this.current();
    if (!item) return;
    if (this.list !== "unlabelled") this.act("Confirmed.", () => this.decide(item, "confirmed"), () => this.decide(item, "undecided"));
    else {
      const suggested = this.suggestion(item);
      if (suggested) this.relabel(suggested);
    }
  }

  dismiss() {
    const item = this.current();
    if (!item) return;
    // An unlabelled image that is skipped is asked for again later.
    if (this.list === "unlabelled") this.act("Skipped.", async () => {}, async () => {});
    else this.act("Dismissed.", () => this.decide(item, "dismissed"), () => this.decide(item, "undecided"));
  }

  /** @param {string} label */
  relabel(label) {
    const item = this.current();
    if (!item) return;
    const url = `datasets/${path(this.dataset.id)}/images/${path(item.image.id)}`;
    const before = item.image.label;
    this.act(`Labelled as ${label}.`, () => send("PATCH", url, { label }), before ? () => send("PATCH", url, { label: before }) : null);
  }

  async search() {
    const item = this.current();
    if (!item) return;
    const label = await pickClass(this.dataset.classes, `Relabel ${item.image.file_name} as`);
    if (label) this.relabel(label);
  }

  async remove() {
    const item = this.current();
    if (!item || !(await confirmLoss(`Remove ${item.image.file_name} from ${this.dataset.name}?`, "Remove"))) return;
    this.act("Removed.", () => send("DELETE", `datasets/${path(this.dataset.id)}/images/${path(item.image.id)}`), null);
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
    const { undo } = done;
    this.done.delete(item);
    this.send(undo, () => this.done.set(item, done));
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
