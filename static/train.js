/** Train page: a form for a new job, and the list of jobs. */

import { all, get, path, pause, send } from "./api.js";
import { attempt, button, el, field, fill, once, select, time, words } from "./dom.js";
import { controls, fillFor, progress, Speed, statusLine } from "./live.js";
import { weights } from "./weights.js";

/** @typedef {import("./types.js").Job} Job */
/** @typedef {import("./types.js").Recipe} Recipe */

/** Input of the form, kept while other pages are open. */
const draft = { dataset: "", recipe: "augmented_cnn", name: "", params: /** @type {Record<string, string>} */ ({}) };

/** @type {Record<string, { name: string, hint: string, options?: string[], min?: number, max?: number, step?: string }>} */
const PARAMS = {
  epochs: { name: "Epochs", hint: "Passes over the training images.", min: 1, max: 10000 },
  batch_size: { name: "Batch size", hint: "Images per optimizer step.", min: 1, max: 1024 },
  learning_rate: { name: "Learning rate", hint: "Learning rate of RMSprop. If it is too high, the loss diverges or becomes NaN.", step: "any", min: 0 },
  learning_rate_schedule: { name: "Learning rate schedule", hint: "cosine decays it to almost zero by the last epoch.", options: ["constant", "cosine"] },
  early_stopping_patience: { name: "Early stopping patience", hint: "Stop after this many epochs without a lower validation loss. Leave empty to disable.", min: 1, max: 10000 },
  seed: { name: "Seed", hint: "Random seed. On the same CPU setup, the same seed reproduces a run.", min: 0 },
  precision: { name: "Precision", hint: "auto uses bf16 if the device supports it natively, otherwise fp32.", options: ["auto", "fp32", "bf16"] },
  device: { name: "Device", hint: "auto uses an NVIDIA GPU if available, otherwise the CPU.", options: ["auto", "cpu", "cuda"] },
  head_epochs: { name: "Head epochs", hint: "Epochs for training the head before fine-tuning.", min: 1, max: 10000 },
};

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { query, signal }) {
  const jobs = el("section", { class: "panel", "aria-label": "Jobs" });
  const form = el("section", { class: "panel" });
  fill(place, el("h1", null, "Train"), form, jobs);
  draft.dataset = query.get("dataset") ?? draft.dataset;
  const queue = new Queue(jobs, signal);
  void attempt(jobs, () => queue.watch());
  await compose(form, () => queue.show(), signal);
}

/** @param {HTMLElement} place @param {() => Promise<void>} started @param {AbortSignal} signal */
async function compose(place, started, signal) {
  /** @type {[import("./types.js").Dataset[], { items: Recipe[] }, Job[]]} */
  const [datasets, { items: recipes }, heads] = await Promise.all([all("datasets", signal), get("recipes", signal), all("jobs?recipe=vgg16_features&status=succeeded", signal)]);
  if (datasets.length === 0) {
    fill(place, el("h2", null, "New job"), el("div", { class: "empty" }, el("p", null, "No datasets yet. Create one with two classes first; a few hundred images per class are a good start."), el("a", { class: "button primary", href: "#/datasets" }, "Create a dataset")));
    return;
  }
  if (!datasets.some(({ name }) => name === draft.dataset)) draft.dataset = datasets[0].name;
  const dataset = select(datasets.map(({ name }) => name), { value: draft.dataset, onchange: () => {
    draft.dataset = dataset.value;
    show();
  } });
  const name = el("input", { value: draft.name, placeholder: "generated if left empty", autocomplete: "off", oninput: () => (draft.name = name.value) });
  const params = el("div", { class: "fields" });
  const more = el("div", null);
  /** @type {Record<string, () => unknown>} */
  let read = {};
  /** Aborted when another recipe is selected. */
  let other = new AbortController();
  const show = () => {
    const recipe = /** @type {Recipe} */ (recipes.find((one) => one.recipe === draft.recipe));
    const ofDataset = heads.filter((job) => job.dataset === draft.dataset);
    read = fields(params, recipe, ofDataset);
    fill(more);
    other.abort();
    other = new AbortController();
    const shown = AbortSignal.any([signal, other.signal]);
    if (recipe.recipe.startsWith("vgg16")) void attempt(more, () => weights(more, shown));
  };
  const choices = el("fieldset", { class: "choices" }, el("legend", null, "Recipe"), recipes.map(({ recipe, summary }) => el("label", { class: "choice" },
    el("input", { type: "radio", name: "recipe", value: recipe, checked: recipe === draft.recipe, onchange: () => {
      draft.recipe = recipe;
      show();
    } }), el("b", null, recipe), el("p", null, summary))));
  const submit = button("Start training", () => {}, { type: "submit", class: "primary" });
  /** Removes the error of an earlier input. */
  const outdate = () => form.querySelector(":scope > .notice")?.remove();
  const form = el("form", { class: "stack", oninput: outdate, onsubmit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    await once(submit, form, async () => {
      const given = Object.entries(read).map(([key, value]) => [key, value()]).filter(([, value]) => value !== undefined);
      await send("POST", "jobs", { recipe: draft.recipe, dataset: draft.dataset, name: draft.name.trim() || undefined, params: Object.fromEntries(given) });
      draft.name = name.value = "";
      await started();
    });
  } },
    el("div", { class: "fields" }, field("Dataset", dataset), field("Name", name, "Name of the job and its model.")),
    choices, params, more,
    el("div", null, submit));
  fill(place, el("h2", null, "New job"), form);
  show();
}

/**
 * Inputs for the recipe's parameters, filled with its defaults. Unchanged defaults are not sent.
 *
 * @param {HTMLElement} place @param {Recipe} recipe @param {Job[]} heads
 * @returns {Record<string, () => unknown>}
 */
function fields(place, { recipe, params }, heads) {
  /** @type {Record<string, () => unknown>} */
  const read = {};
  fill(place);
  for (const [key, { name, hint, options, ...limits }] of Object.entries(PARAMS)) {
    if (key === "head_epochs" && recipe !== "vgg16_finetune") continue;
    const standard = params[key] === null || params[key] === undefined ? "" : String(params[key]);
    const typed = draft.params[`${recipe}.${key}`] ?? standard;
    const keep = () => (draft.params[`${recipe}.${key}`] = control.value);
    const control = options
      ? select(options, { value: typed, onchange: keep })
      : el("input", { type: "number", step: "1", ...stringly(limits), value: typed, required: standard !== "", oninput: keep });
    read[key] = () => (control.value === standard || control.value === "" || control.disabled ? undefined : options ? control.value : Number(control.value));
    place.append(field(name, control, standard ? `${hint} Default: ${standard}.` : hint));
  }
  if (recipe === "vgg16_finetune") {
    const head = select([["", "Train a new head"], ...heads.map(({ name }) => /** @type {[string, string]} */ ([name, name]))], { onchange: () => {
      const epochs = /** @type {HTMLInputElement} */ (place.querySelector(`#${CSS.escape(headEpochs)}`));
      epochs.disabled = head.value !== "";
    } });
    const headEpochs = /** @type {HTMLElement} */ (place.lastElementChild?.querySelector("input")).id;
    read.head_from = () => head.value || undefined;
    place.append(field("Head", head, "Train a new head, or start from a vgg16_features job on the same dataset version."));
  }
  return read;
}

/** @param {Record<string, any>} limits */
const stringly = (limits) => Object.fromEntries(Object.entries(limits).map(([key, value]) => [key, String(value)]));

/** Polling interval in milliseconds. */
const POLL = 1500;

/**
 * The list of jobs, newest first. It is polled, because one event stream per job would use up the
 * few connections that a browser opens to a server.
 */
class Queue {
  /** @param {HTMLElement} place @param {AbortSignal} signal */
  constructor(place, signal) {
    this.signal = signal;
    this.messages = el("div", null);
    this.list = el("div", { class: "stack" });
    this.more = el("p", { class: "hint", hidden: true }, "Showing the 50 newest jobs. ", el("a", { href: "#/evaluate" }, "Compare all jobs"), ".");
    this.none = el("p", { class: "soft", hidden: true }, "No jobs yet. Training runs in the background; you can close this page.");
    /** @type {Map<string, { node: HTMLElement, paint: (job: Job) => void }>} */
    this.rows = new Map();
    fill(place, el("h2", null, "Jobs"), this.messages, this.none, this.list, this.more);
  }

  async watch() {
    await this.show();
    while (!this.signal.aborted) {
      await pause(POLL, this.signal);
      // An unreachable server is reported at the top of the page.
      await this.show().catch(() => {});
    }
  }

  async show() {
    const { items, next_cursor: more } = await get("jobs?limit=50", this.signal);
    const before = this.rows;
    this.rows = new Map(items.map((/** @type {Job} */ job) => [job.id, before.get(job.id) ?? this.row(job)]));
    // Insert only new rows; a row that is moved would lose the focus.
    for (const [id, { node }] of before) if (!this.rows.has(id)) node.remove();
    /** @type {Element | null} */
    let next = this.list.firstElementChild;
    for (const { node } of this.rows.values()) {
      if (node === next) next = node.nextElementSibling;
      else this.list.insertBefore(node, next);
    }
    for (const job of items) this.rows.get(job.id)?.paint(job);
    this.none.hidden = items.length > 0;
    this.more.hidden = !more;
  }

  /** @param {Job} job */
  row(job) {
    const [status, actions, rest] = [el("span", null), el("div", null), el("div", { class: "stack" })];
    const node = el("article", { class: "stack job", "aria-label": job.name },
      el("div", { class: "row apart" }, el("h3", null, el("a", { href: `#/job/${path(job.name)}` }, job.name)), status, actions),
      el("p", { class: "soft" }, `${words(job.recipe)} on ${job.dataset}, `, time(job.created_at)),
      rest);
    const speed = new Speed();
    const paint = (/** @type {Job} */ now) => {
      fillFor(status, [now.status, now.best], () => statusLine(now));
      fillFor(actions, now.status, () => controls(now, this.messages, () => void attempt(this.messages, () => this.show())));
      fill(rest, progress(speed.in(now)), now.error && el("p", { class: "bad" }, now.error.detail));
    };
    return { node, paint };
  }
}
