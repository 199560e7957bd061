/**
 * One prediction after another, large, for keyboard use: confirm it, say what the image shows, add the
 * image to a dataset.
 */

import { get, path, send } from "./api.js";
import { announce, attempt, button, confirmLoss, count, el, field, fill, percent, plural, select, time } from "./dom.js";
import { pickClass } from "./classpicker.js";
import { picture } from "./picture.js";
import { doubtOf } from "./prediction.js";
import { Saves } from "./saves.js";

/** @typedef {import("./types.js").LoggedPrediction} Item */
/**
 * @typedef {{ query: Record<string, string>, models: import("./types.js").LoggedModelSummary[], datasets: import("./types.js").Dataset[],
 *   photos: boolean, signal: AbortSignal, changed: () => void }} Context
 */

const PAGE = 60;
/** Predictions before the end of what is loaded at which more are fetched. */
const AHEAD = 20;
/** Classes that have a key. */
const KEYED = 9;
/** Images that are fetched before they are shown. */
const PRELOADED = 4;
/** Thumbnails in the strip. */
const STRIP = 12;
/** Classes whose probability is listed. */
const LISTED = 5;

/** @param {Context} context */
export function predictionStage(context) {
  return new Stage(context).node;
}

class Stage {
  /** @param {Context} context */
  constructor({ query, models, datasets, photos, signal, changed }) {
    this.query = query;
    this.photos = photos;
    this.signal = signal;
    this.classes = new Map(models.map((model) => [model.id, model.classes]));
    /** @type {Item[]} */
    this.items = [];
    /** What was done with each item. @type {Map<Item, string>} */
    this.done = new Map();
    /** Images that are loaded, by id. @type {Map<string, HTMLImageElement>} */
    this.pictures = new Map();
    /** The same for the strip. @type {Map<string, HTMLImageElement>} */
    this.thumbnails = new Map();
    /** @type {string | null} */
    this.cursor = "";
    this.loading = false;
    this.at = 0;
    /** The last feedback: the image that the key `a` adds. @type {{ item: Item, label: string } | null} */
    this.last = null;

    this.view = el("div", { class: "stage-view" });
    this.about = el("div", { class: "stack", role: "status" });
    this.strip = el("ol", { class: "strip", "aria-label": "Next predictions" });
    this.messages = el("div", null);
    this.saves = new Saves(this.messages, () => {
      if (!signal.aborted) changed();
    });
    this.changed = changed;
    this.place = el("span", null);
    /** What was done with an image that is no longer shown. */
    this.note = el("p", { class: "good", role: "status" });
    this.actions = el("div", { class: "actions" });
    this.labels = el("div", { class: "actions", role: "group", "aria-label": "The image shows" });
    this.target = select(datasets.map(({ name }) => name));
    this.adding = el("input", { type: "checkbox" });
    const most = Math.max(...models.map(({ classes }) => classes.length));
    this.keys = el("p", { class: "hint keys" },
      el("kbd", null, "j"), " ", el("kbd", null, "k"), " or arrow keys: move · ",
      el("kbd", null, "Enter"), ": the label is right · ",
      el("kbd", null, "1"), "–", el("kbd", null, String(Math.min(KEYED, most))), ": choose the class · ",
      most > KEYED ? [el("kbd", null, "l"), ": choose by search · "] : null,
      datasets.length && photos ? [el("kbd", null, "a"), ": add the image with the last feedback to the dataset · "] : null,
      el("kbd", null, "u"), ": withdraw the feedback · ", el("kbd", null, "Delete"), ": delete the prediction");
    this.box = el("div", { class: "stage", tabIndex: 0, role: "group", "aria-label": "Prediction", onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event) },
      this.view, el("div", { class: "stack" }, this.about, this.actions, this.labels, el("p", { class: "soft" }, this.place, " ", this.saves.node), this.note));
    this.box.hidden = true;
    this.empty = el("p", { hidden: true }, "No such predictions.");
    this.node = el("div", { class: "stack" },
      photos && datasets.length ? [
        el("div", { class: "fields" }, field("Add images to", this.target, "With the label of the feedback; without feedback, unlabelled.")),
        el("label", null, this.adding, " Add each image with feedback")] : null,
      photos ? null : el("p", { class: "hint" }, "The images are not kept. Start the server with ", el("code", null, "--prediction-log-photos"), " to see those of new predictions here and to add them to datasets."),
      this.keys, this.messages, this.empty, this.box, this.strip);
    void this.more().then(() => this.show(document.activeElement === document.body || document.activeElement?.tagName === "MAIN"));
  }

  /** Fetches more, if there are any; whether some came. */
  async more() {
    if (this.loading || this.cursor === null) return false;
    this.loading = true;
    const came = await attempt(this.messages, async () => {
      const query = new URLSearchParams({ ...this.query, limit: String(PAGE), ...(this.cursor && { cursor: this.cursor }) });
      const page = await get(`predictions?${query}`, this.signal);
      this.cursor = page.next_cursor;
      this.items.push(...page.items);
    });
    this.loading = false;
    return came;
  }

  current() {
    return this.items[this.at];
  }

  /** The image of a prediction, large, or what stands in its place. @param {Item} item */
  picture(item) {
    if (!item.photo) return el("p", { class: "soft" }, "The image is not kept.");
    const image = this.kept(this.pictures, item, item.file_name ?? "Image of the prediction");
    image.loading = "eager";
    return image;
  }

  /**
   * An image of which the element is kept, so that it is loaded once; the oldest are forgotten.
   * @param {Map<string, HTMLImageElement>} kept @param {Item} item @param {string} alt
   */
  kept(kept, item, alt) {
    const known = kept.get(item.id);
    if (known) return known;
    const image = picture(`predictions/${path(item.id)}/photo`, alt);
    kept.set(item.id, image);
    if (kept.size > 3 * STRIP) kept.delete(/** @type {string} */ (kept.keys().next().value));
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
    fill(this.about, this.describe(item), done ? el("p", { class: "good" }, done) : null);
    fill(this.actions,
      button(`Correct: ${item.label}`, () => this.give(item.label), { class: (item.feedback?.label ?? item.label) === item.label ? "primary" : "", title: "Enter" }),
      item.photo && this.target.options.length ? button("Add to dataset", () => this.add(item, item.feedback?.label ?? null), { title: "Add this image to the dataset" }) : null,
      button("Withdraw", () => this.withdraw(), { title: "Withdraw the feedback (u)", disabled: !item.feedback }),
      button("Delete", () => this.remove(), { class: "danger", title: "Delete the prediction (Delete)" }));
    const classes = this.classesOf(item);
    fill(this.labels,
      el("span", { class: "soft" }, "The image shows"),
      classes.slice(0, KEYED).map((name, at) => button(`${at + 1} ${name}`, () => this.give(name), { class: name !== item.label && name === item.feedback?.label ? "primary" : "", title: `The image shows ${name} (${at + 1})` })),
      classes.length > KEYED ? button("Other…", () => this.search(), { title: "Choose a class (l)" }) : null);
    this.place.textContent = `${count(this.at + 1)} of ${count(this.items.length)}${this.cursor === null ? "" : "+"}`;
    const first = Math.max(0, Math.min(this.at - 2, this.items.length - STRIP));
    const shown = this.items.slice(first, first + STRIP);
    fill(this.strip, shown.some(({ photo }) => photo) ? shown.map((other, offset) => el("li", {
      class: this.done.has(other) ? "done" : "", "aria-current": first + offset === this.at ? "true" : null,
      title: other.label, onclick: () => this.go(first + offset),
    }, other.photo ? this.kept(this.thumbnails, other, "") : null)) : []);
    if (focus) this.box.focus({ preventScroll: true });
    if (this.at + AHEAD > this.items.length && this.cursor !== null) void this.more().then((came) => came && this.arrived());
  }

  /** More items came: a person who was through with the others goes on. */
  arrived() {
    const open = this.done.has(this.items[this.at]) ? this.items.findIndex((item) => !this.done.has(item)) : -1;
    if (open >= 0) this.at = open;
    this.show(false);
  }

  /** @param {Item} item */
  classesOf({ model }) {
    return this.classes.get(model.id) ?? [];
  }

  /** @param {Item} item */
  describe(item) {
    const { file_name, label, probability, probabilities, feedback, model, token, distance } = item;
    const ranked = Object.entries(probabilities ?? {}).sort((a, b) => b[1] - a[1]).slice(0, LISTED);
    return [
      file_name ? el("p", { class: "name", title: file_name }, file_name) : null,
      el("p", null, "Predicted: ", el("b", null, label), ` (${percent(probability)}). `, el("span", { class: "soft" }, doubtOf({ ...item, reason: item.reason ?? undefined, probabilities: {} }))),
      feedback ? el("p", null, "Feedback: ", el("b", { class: feedback.label === label ? "good" : "bad" }, feedback.label), feedback.by ? ` by ${feedback.by}` : "", ", ", time(feedback.at)) : null,
      ranked.length > 2 ? el("p", { class: "soft" }, ranked.map(([name, value]) => `${name} ${percent(value)}`).join(", ")) : null,
      el("p", { class: "soft" }, time(item.created_at), `, model ${model.name}${token ? `, token ${token}` : ""}${distance === null ? "" : `, distance ${distance.toFixed(2)}`}, request ${item.timing_ms.total.toFixed(1)} ms`),
    ];
  }

  /** @param {number} to */
  go(to) {
    this.at = Math.min(Math.max(to, 0), this.items.length - 1);
    fill(this.note);
    this.show();
  }

  /** Sends something about an item, and goes on to the next. @param {Item} item @param {string} text @param {() => Promise<unknown>} work @param {boolean} next whether to go on */
  act(item, text, work, next = true) {
    this.done.set(item, text);
    announce(text);
    const shown = async () => {
      await work();
      this.show(false);
    };
    this.saves.add({ id: item.id, kind: null, work: shown, failed: () => {
      this.done.delete(item);
      fill(this.note);
      this.show(false);
    } });
    const following = this.items.findIndex((other, at) => at > this.at && !this.done.has(other));
    this.go(next && following >= 0 ? following : this.at);
  }

  /** Says which class the image has. @param {string} label */
  give(label) {
    const item = this.current();
    if (!item) return;
    this.act(item, item.label === label ? "Confirmed." : `Labelled as ${label}.`, async () => {
      Object.assign(item, await send("POST", `predictions/${path(item.id)}/feedback`, { label }, true));
    });
    this.last = { item, label };
    if (this.adding.checked) this.add(item, label, false);
  }

  withdraw() {
    const item = this.current();
    if (!item?.feedback) return;
    if (this.last?.item === item) this.last = null;
    this.act(item, "Feedback withdrawn.", async () => {
      Object.assign(item, await send("DELETE", `predictions/${path(item.id)}/feedback`, undefined, true));
      this.done.delete(item);
    }, false);
  }

  /** Adds an image to the dataset that is chosen. @param {Item} item @param {string | null} label @param {boolean} next whether to go on */
  add(item, label, next = true) {
    const dataset = this.target.value;
    if (!item.photo || !dataset) return;
    const text = label === null ? `Added to ${dataset}, unlabelled.` : `Added to ${dataset} as ${label}.`;
    const say = (/** @type {string} */ said) => {
      this.done.set(item, said);
      if (item !== this.current()) fill(this.note, `${item.file_name ?? "The image before"}: ${said}`);
    };
    this.act(item, text, async () => {
      /** @type {import("./types.js").UploadReport} */
      const { added, rejected } = await send("POST", `predictions/${path(item.id)}/image`, { dataset, ...(label !== null && { label }) }, true);
      if (rejected.length > 0) throw new Error(rejected[0].detail);
      if (added === 0) say(`Already in ${dataset}.`);
    }, next);
    say(text);
  }

  /** Adds the image with the last feedback, whichever is shown: never one that nobody has named. */
  addLast() {
    if (this.last) this.add(this.last.item, this.last.label, false);
    else fill(this.note, "Say first what the image shows.");
  }

  async search() {
    const item = this.current();
    if (!item) return;
    const label = await pickClass(this.classesOf(item), "The image shows");
    if (label) this.give(label);
  }

  async remove() {
    const item = this.current();
    if (!item || !(await confirmLoss("Delete this prediction, its feedback and its image from the log?", "Delete"))) return;
    await attempt(this.messages, async () => {
      await send("DELETE", `predictions/${path(item.id)}`);
      this.items = this.items.filter((other) => other !== item);
      if (this.last?.item === item) this.last = null;
      announce(`Deleted. ${plural(this.items.length, "prediction")} left in this list.`);
      this.changed();
      this.go(this.at);
    });
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // A focused button has its own Enter.
    const onButton = event.target instanceof HTMLButtonElement;
    const item = this.current();
    const digit = item && /^[1-9]$/.test(event.key) ? this.classesOf(item)[Number(event.key) - 1] : undefined;
    if (["j", "ArrowRight", "ArrowDown"].includes(event.key)) this.go(this.at + 1);
    else if (["k", "ArrowLeft", "ArrowUp"].includes(event.key)) this.go(this.at - 1);
    else if (event.key === "Enter" && !onButton && item) this.give(item.label);
    else if (event.key === "a") this.addLast();
    else if (event.key === "u") this.withdraw();
    else if (event.key === "l") void this.search();
    else if (event.key === "Delete" || event.key === "Backspace") void this.remove();
    else if (digit) this.give(digit);
    else return;
    event.preventDefault();
  }
}
