/**
 * Gallery of a dataset's images, loaded in pages; relabel, move and delete them by keyboard or
 * mouse.
 */

import { concurrently, get, path, send } from "./api.js";
import { attempt, button, confirmLoss, count, el, field, fill, select } from "./dom.js";
import { pickClass } from "./classpicker.js";
import { enlarge } from "./lightbox.js";
import { picture } from "./picture.js";

/** @typedef {import("./types.js").Image} Image */

const PAGE = 200;
const SPLITS = ["train", "validation", "test"];
/** @type {Record<string, string>} */
const KEYS = { t: "train", v: "validation", x: "test" };
/** Classes that have a key, and if there are not more, a button. */
const KEYED = 9;
/** Opens the search for a class. */
const SEARCH = "l";
/** @type {Record<string, number>} */
const NEIGHBOURS = { ArrowLeft: -1, ArrowRight: 1 };

/**
 * @param {import("./types.js").Dataset} dataset
 * @param {() => void} changed called after images were relabelled, moved or deleted
 * @param {AbortSignal} signal
 */
export function gallery(dataset, changed, signal) {
  const created = new Gallery(dataset, changed, signal);
  return { node: created.node, reload: () => void created.reload(), update: (/** @type {import("./types.js").Dataset} */ now) => created.update(now) };
}

class Gallery {
  /** @param {import("./types.js").Dataset} dataset @param {() => void} changed @param {AbortSignal} signal */
  constructor(dataset, changed, signal) {
    this.dataset = dataset;
    this.changed = changed;
    this.signal = signal;
    /** @type {Map<HTMLElement, Image>} in page order */
    this.images = new Map();
    /** @type {string | null} */
    this.cursor = "";
    this.loading = false;
    this.round = 0;
    /** Changes run one after the other. */
    this.turn = Promise.resolve(true);
    /** Start of the range that Shift extends. @type {HTMLElement | null} */
    this.anchor = null;

    this.split = select([["", "All splits"], ...SPLITS], { onchange: () => void this.reload() });
    this.label = el("select", { onchange: () => void this.reload() });
    this.chosen = el("span", { class: "soft", role: "status" });
    this.labels = el("span", { class: "actions" });
    this.actions = el("div", { class: "actions" },
      this.labels,
      Object.entries(KEYS).map(([key, split]) => button(`→ ${split}`, () => void this.change({ split }), { title: `Move (${key})` })),
      button("Delete", () => void this.remove(), { class: "danger", title: "Delete" }),
      button("Clear selection", () => this.select([]), { title: "Clear selection (Escape)" }));
    this.grid = el("ul", { class: "grid", role: "listbox", "aria-multiselectable": "true", "aria-label": "Images",
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event), onclick: (/** @type {MouseEvent} */ event) => this.click(event),
      ondblclick: () => this.enlarge() });
    this.keys = el("span", null);
    this.end = el("p", { class: "soft" });
    this.messages = el("div", null);
    this.node = el("section", { class: "panel", "aria-label": "Images" },
      el("div", { class: "row apart" }, el("h2", null, "Images"), el("div", { class: "row" }, field("Split", this.split), field("Class", this.label))),
      el("p", { class: "hint" }, "Arrow keys move, ", el("kbd", null, "Space"), " selects, ", el("kbd", null, "Shift"), " extends the selection, ", el("kbd", null, "Enter"), " or double-click enlarges; ",
        this.keys,
        Object.entries(KEYS).map(([key, split]) => [el("kbd", null, key), ` ${split}, `]), el("kbd", null, "Delete"), " removes."),
      el("div", { class: "toolbar row apart" }, this.chosen, this.actions),
      this.messages, this.grid, this.end);
    new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && void this.more(), { rootMargin: "800px" }).observe(this.end);
    this.update(dataset);
  }

  /** Offers the classes that the dataset has now. @param {import("./types.js").Dataset} dataset */
  update(dataset) {
    this.dataset = dataset;
    const { classes } = dataset;
    const filter = this.label.value;
    fill(this.label, el("option", { value: "" }, "All classes"), classes.map((name) => el("option", { value: name, selected: name === filter }, name)));
    // Its class may have been renamed or deleted.
    if (filter && !classes.includes(filter)) void this.reload();
    fill(this.labels, classes.length > KEYED
      ? button("Relabel…", () => void this.search(), { title: `Choose a class (${SEARCH})` })
      : classes.map((name, index) => button(`→ ${name}`, () => void this.change({ label: name }), { title: `Relabel (${index + 1})` })));
    fill(this.keys, classes.length > KEYED
      ? [el("kbd", null, SEARCH), " relabels by search, ", el("kbd", null, "1"), "–", el("kbd", null, String(KEYED)), ` the first ${KEYED} classes, `]
      : classes.map((name, index) => [el("kbd", null, String(index + 1)), ` ${name}, `]));
    this.select(this.selected());
  }

  async reload() {
    if (this.signal.aborted) return;
    this.round += 1;
    this.images.clear();
    this.anchor = null;
    fill(this.grid);
    this.select([]);
    this.cursor = "";
    this.loading = false;
    await this.more();
  }

  async more() {
    if (this.loading || this.cursor === null) return;
    this.loading = true;
    const { round } = this;
    const went = await attempt(this.messages, async () => {
      const query = new URLSearchParams({ limit: String(PAGE) });
      if (this.split.value) query.set("split", this.split.value);
      if (this.label.value) query.set("label", this.label.value);
      if (this.cursor) query.set("cursor", this.cursor);
      const page = await get(`datasets/${path(this.dataset.id)}/images?${query}`, this.signal);
      if (round !== this.round) return;
      this.cursor = page.next_cursor;
      for (const image of page.items) this.append(image);
      this.end.textContent = this.cursor === null ? (this.images.size === 0 ? "No images" : `${this.images.size === 1 ? "1 image" : `All ${count(this.images.size)} images`} shown`) : "Loading…";
    });
    if (round !== this.round) return;
    this.loading = false;
    // The observer fires only on changes, so load more if the page does not fill the window yet.
    if (went && this.cursor !== null && this.end.isConnected && this.end.getBoundingClientRect().top < innerHeight + 800) await this.more();
  }

  /** @param {Image} image */
  append(image) {
    const tag = el("span", { class: "tag" });
    const item = el("li", { role: "option", tabIndex: this.images.size === 0 ? 0 : -1, "aria-selected": "false" },
      picture(`images/${path(image.id)}/thumbnail?size=208`, ""), tag);
    this.images.set(item, image);
    this.describe(item, image);
    this.grid.append(item);
  }

  /** @param {HTMLElement} item @param {Image} image */
  describe(item, image) {
    if (!this.images.has(item)) return;
    this.images.set(item, image);
    const text = `${image.label}, ${image.split}, ${image.file_name}`;
    item.setAttribute("aria-label", text);
    item.title = text;
    const tag = item.querySelector(".tag");
    if (tag) tag.textContent = `${image.label} · ${image.split}`;
  }

  items() {
    return [...this.images.keys()];
  }

  selected() {
    return this.items().filter((item) => item.getAttribute("aria-selected") === "true");
  }

  /** Items that an action applies to: the selected ones, or else the focused one. */
  targets() {
    const selected = this.selected();
    const focused = this.focused();
    return selected.length > 0 || !focused ? selected : [focused];
  }

  /** @returns {HTMLElement | null} */
  focused() {
    const active = document.activeElement;
    return active instanceof HTMLElement && this.images.has(active) ? active : null;
  }

  /** @param {HTMLElement[]} items */
  select(items) {
    const chosen = new Set(items);
    for (const item of this.images.keys()) item.setAttribute("aria-selected", String(chosen.has(item)));
    this.chosen.textContent = items.length === 0 ? "None selected" : `${count(items.length)} selected`;
    for (const control of this.actions.querySelectorAll("button")) control.disabled = items.length === 0;
  }

  /** @param {HTMLElement} item @param {{ range?: boolean, toggle?: boolean }} how */
  choose(item, { range = false, toggle = false }) {
    const items = this.items();
    if (range && this.anchor) {
      const [from, to] = [items.indexOf(this.anchor), items.indexOf(item)].sort((a, b) => a - b);
      this.select(items.slice(Math.max(from, 0), to + 1));
      return;
    }
    this.anchor = item;
    const before = new Set(this.selected());
    if (!toggle) return this.select([item]);
    if (!before.delete(item)) before.add(item);
    this.select([...before]);
  }

  /** @param {HTMLElement} item */
  focus(item) {
    for (const other of this.grid.querySelectorAll('[tabindex="0"]')) other.setAttribute("tabindex", "-1");
    item.tabIndex = 0;
    item.focus();
  }

  /** @param {MouseEvent} event */
  click(event) {
    const item = event.target instanceof Element ? event.target.closest("li") : null;
    if (!item) return;
    this.focus(item);
    this.choose(item, { range: event.shiftKey, toggle: !event.shiftKey });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const item = this.focused();
    if (!item || event.ctrlKey || event.metaKey || event.altKey) return;
    const items = this.items();
    const columns = Math.max(items.filter(({ offsetTop }) => offsetTop === items[0].offsetTop).length, 1);
    /** @type {Record<string, number>} */
    const steps = { ...NEIGHBOURS, ArrowUp: -columns, ArrowDown: columns, Home: -items.length, End: items.length };
    const at = items.indexOf(item);
    if (event.key in steps) {
      const next = items[Math.min(Math.max(at + steps[event.key], 0), items.length - 1)];
      if (event.shiftKey) {
        this.anchor ??= item;
        this.choose(next, { range: true });
      }
      this.focus(next);
    } else if (event.key === " ") this.choose(item, { toggle: true });
    else if (event.key === "Escape") this.select([]);
    else if (event.key === "Enter") this.enlarge();
    else {
      const action = this.action(event.key);
      if (!action) return;
      void action(this.targets());
    }
    event.preventDefault();
  }

  /**
   * The action of a key, or null if it has none; the action resolves to whether it succeeded.
   *
   * @param {string} key
   * @returns {((items: HTMLElement[]) => Promise<boolean>) | null}
   */
  action(key) {
    const label = /^[1-9]$/.test(key) ? this.dataset.classes[Number(key) - 1] : undefined;
    if (key === SEARCH) return (items) => this.search(items);
    if (key === "Delete" || key === "Backspace") return (items) => this.remove(items);
    if (KEYS[key]) return (items) => this.change({ split: KEYS[key] }, items);
    return label ? (items) => this.change({ label }, items) : null;
  }

  /** Relabels or moves. @param {{ label?: string, split?: string }} change */
  change(change, items = this.targets()) {
    const isOther = (/** @type {Image} */ image) => (change.label ?? image.label) !== image.label || (change.split ?? image.split) !== image.split;
    return this.each(items, isOther, async (item, image) => {
      const now = await send("PATCH", `datasets/${path(this.dataset.id)}/images/${path(image.id)}`, change);
      this.describe(item, now);
      const stays = (!this.split.value || now.split === this.split.value) && (!this.label.value || now.label === this.label.value);
      if (!stays) this.drop(item);
    });
  }

  /** Relabels as a class that the user searches for. */
  async search(items = this.targets()) {
    if (items.length === 0) return true;
    const [first] = items;
    const label = await pickClass(this.dataset.classes, items.length === 1 ? `Relabel ${this.images.get(first)?.file_name} as` : `Relabel ${count(items.length)} images as`);
    if (label) return this.change({ label }, items);
    return true;
  }

  async remove(items = this.targets()) {
    if (items.length === 0) return true;
    const one = items.length === 1 ? this.images.get(items[0])?.file_name : `${count(items.length)} images`;
    if (!(await confirmLoss(`Delete ${one} from ${this.dataset.name}?`, "Delete"))) return true;
    return this.each(items, () => true, async (item, image) => {
      await send("DELETE", `datasets/${path(this.dataset.id)}/images/${path(image.id)}`);
      this.drop(item);
    });
  }

  /**
   * Runs `work` on those of `items` that are wanted. Resolves to whether all succeeded.
   *
   * @param {HTMLElement[]} items
   * @param {(image: Image) => boolean} wanted
   * @param {(item: HTMLElement, image: Image) => Promise<void>} work
   */
  each(items, wanted, work) {
    const done = this.turn.then(async () => {
      const queue = items.flatMap((item) => {
        const image = this.images.get(item);
        return image && wanted(image) ? [{ item, image }] : [];
      });
      if (queue.length === 0) return true;
      const at = this.items().indexOf(queue[0].item);
      const went = await attempt(this.messages, () => concurrently(queue, ({ item, image }) => work(item, image)));
      this.select(this.selected());
      // If the focused item was removed, focus its neighbour, so that the keyboard keeps working.
      const left = this.items();
      if (left.length > 0 && !this.grid.querySelector('[tabindex="0"]')) left[Math.min(at, left.length - 1)].tabIndex = 0;
      if (document.activeElement === document.body && left.length > 0) this.focus(left[Math.min(at, left.length - 1)]);
      this.changed();
      return went;
    });
    this.turn = done;
    return done;
  }

  /** @param {HTMLElement} item */
  drop(item) {
    this.images.delete(item);
    item.remove();
    if (this.anchor === item) this.anchor = null;
  }

  /** Enlarges the focused image. Arrow keys, or removing it from the page, move on to a neighbour. */
  enlarge() {
    let item = this.focused();
    const image = item && this.images.get(item);
    if (!item || !image) return;
    const acts = (/** @type {string} */ key) => key in NEIGHBOURS || this.action(key) !== null;
    enlarge(image, acts, async (key) => {
      // An upload that finishes meanwhile reloads the page.
      if (!item || !this.images.has(item)) return null;
      const at = this.items().indexOf(item);
      // An error is shown on the page behind, so close the dialog.
      if (!(await (this.action(key)?.([item]) ?? true))) return null;
      const to = this.images.has(item) ? at + (NEIGHBOURS[key] ?? 0) : at;
      if (to >= this.images.size) await this.more();
      const items = this.items();
      item = items[Math.min(Math.max(to, 0), items.length - 1)] ?? null;
      return (item && this.images.get(item)) ?? null;
    }, () => item && this.images.has(item) && this.focus(item));
  }
}
