/** Train page: a form for a new job (dataset, recipe, and folded away the parameters), and the list of jobs. */

import { Problem, all, get, path, pause, send } from "./api.js";
import { attempt, button, el, field, fill, namedClasses, once, roughly, select, time, words } from "./dom.js";
import { dryRun, refusal, shown as measured } from "./dryrun.js";
import { controls, fillFor, progress, Speed, statusLine } from "./live.js";
import { splitOffer } from "./split.js";
import { weights } from "./weights.js";

/** @typedef {import("./types.js").Job} Job */
/** @typedef {import("./types.js").Parameter} Parameter */
/** @typedef {import("./types.js").Recipe} Recipe */

/** Input of the form, kept while other pages are open. */
const draft = { dataset: "", recipe: "", name: "", advanced: false, params: /** @type {Record<string, string>} */ ({}) };

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
  /** @type {[import("./types.js").Dataset[], { items: Recipe[] }]} */
  const [datasets, { items: recipes }] = await Promise.all([all("datasets", signal), get("recipes", signal)]);
  draft.recipe ||= (recipes.find(({ recommended }) => recommended) ?? recipes[0]).recipe;
  if (datasets.length === 0) {
    fill(place, el("h2", null, "New job"), el("div", { class: "empty" }, el("p", null, "No datasets yet. Create one with at least two classes first; some twenty images per class are a good start."), el("a", { class: "button primary", href: "#/datasets" }, "Create a dataset")));
    return;
  }
  if (!datasets.some(({ name }) => name === draft.dataset)) draft.dataset = datasets[0].name;
  const dataset = select(datasets.map(({ name }) => name), { value: draft.dataset, onchange: () => {
    draft.dataset = dataset.value;
    offer();
    show();
    void estimate();
  } });
  const gaps = el("div", { class: "stack advice" });
  const classes = el("span", null);
  const offer = () => {
    const at = datasets.findIndex(({ name }) => name === draft.dataset);
    const { id, classes: names } = datasets[at];
    classes.textContent = names.length === 0 ? "No classes yet" : names.length === 2 ? `Classes: ${namedClasses(names)}` : namedClasses(names);
    splitOffer(gaps, datasets[at], async () => {
      datasets[at] = await get(`datasets/${path(id)}`, signal);
      offer();
    });
  };
  const name = el("input", { value: draft.name, placeholder: "generated if left empty", autocomplete: "off", oninput: () => (draft.name = name.value) });
  const params = el("div", { class: "fields" });
  const advanced = el("details", { open: draft.advanced, class: "advanced", ontoggle: () => (draft.advanced = advanced.open) }, el("summary", null, "Advanced"), params);
  // A browser can't show what is wrong with a control that is folded away.
  advanced.addEventListener("invalid", () => (advanced.open = true), true);
  const summary = el("p", { class: "soft" });
  const more = el("div", null);
  /** @type {Record<string, () => unknown>} */
  let read = {};
  /** Aborted when another recipe is selected. */
  let other = new AbortController();
  const show = () => {
    const recipe = /** @type {Recipe} */ (recipes.find((one) => one.recipe === draft.recipe));
    read = fields(params, recipe, []);
    summary.textContent = recipe.summary;
    // Where it doesn't say when to take it, the summary is in its place.
    summary.hidden = !recipe.use_when;
    fill(more);
    other.abort();
    other = new AbortController();
    const shown = AbortSignal.any([signal, other.signal]);
    const { base } = recipe;
    if (base) void attempt(more, () => weights(more, base, shown));
    if (!recipe.parameters.some(({ kind }) => kind === "job")) return;
    void attempt(params, async () => {
      const heads = new URLSearchParams({ status: "succeeded", dataset: draft.dataset, recipe: `${base}_features` });
      read = fields(params, recipe, await all(`jobs?${heads}`, shown));
    });
  };
  const times = new Map(recipes.map(({ recipe }) => [recipe, el("p", { class: "hint", hidden: true })]));
  const choices = el("fieldset", { class: "choices" }, el("legend", null, "Recipe"), recipes.map(({ recipe, summary, use_when: when, recommended }) => el("label", { class: "choice" },
    el("input", { type: "radio", name: "recipe", value: recipe, checked: recipe === draft.recipe, onchange: () => {
      draft.recipe = recipe;
      show();
    } }), el("span", { class: "row" }, el("b", null, recipe), recommended && el("span", { class: "badge serving" }, "recommended")), el("p", null, when ?? summary), times.get(recipe))));
  /** Shows how long each recipe would take on the selected dataset. */
  const estimate = () => attempt(messages, async () => {
    const { dataset: of } = draft;
    /** @type {{ items: Recipe[] }} */
    const { items } = await get(`recipes?${new URLSearchParams({ dataset: of })}`, signal);
    if (of !== draft.dataset) return;
    for (const { recipe, estimate: known } of items) {
      const line = times.get(recipe);
      if (!line) continue;
      line.hidden = !known;
      line.textContent = known ? sentence(`${roughly(known.seconds)} on this server`) : "";
      line.title = known?.basis === "jobs" ? "From earlier jobs on this server" : "Estimated from the number of images; no such job has run on this server yet";
    }
  });
  const messages = el("div", null);
  const submit = button("Start training", () => {}, { type: "submit", class: "primary" });
  const needs = el("div", null);
  /** What the server would train. */
  const job = () => {
    const given = Object.entries(read).map(([key, value]) => [key, value()]).filter(([, value]) => value !== undefined);
    return { recipe: draft.recipe, dataset: draft.dataset, name: draft.name.trim() || undefined, params: Object.fromEntries(given) };
  };
  /** @param {HTMLButtonElement} control @param {boolean} force although it does not fit */
  const start = (control, force) => once(control, form, async () => {
    try {
      await send("POST", "jobs", force ? { ...job(), force } : job());
    } catch (error) {
      if (!(error instanceof Problem && error.code === "does_not_fit")) throw error;
      fill(needs);
      anyway.hidden = false;
      throw new Error(refusal(error.members));
    }
    draft.name = name.value = "";
    fill(needs);
    anyway.hidden = true;
    await started();
  });
  const anyway = button("Start anyway", () => void (form.reportValidity() && start(anyway, true)), { hidden: true, title: "Starts the job although it does not fit" });
  /** Aborted when the form changes: the measurement is of another job then. */
  let outdated = new AbortController();
  const measure = button("Check time and memory", () => void (form.reportValidity() && once(measure, form, async () => {
    fill(needs, el("p", { class: "hint", role: "status" }, "Training a few steps to measure them; this takes up to half a minute."));
    const shown = AbortSignal.any([signal, outdated.signal]);
    try {
      const estimate = await dryRun(job(), shown);
      fill(needs, measured(estimate));
      anyway.hidden = estimate.fits;
    } catch (error) {
      fill(needs);
      throw error;
    }
  })), { title: "Trains a few steps on the server and says how long the job would take, what it needs, and whether it fits" });
  /** Removes the error and the measurement of an earlier input. */
  const outdate = () => {
    form.querySelector(":scope > .notice")?.remove();
    outdated.abort();
    outdated = new AbortController();
    fill(needs);
    anyway.hidden = true;
  };
  const form = el("form", { class: "stack", oninput: outdate, onsubmit: async (/** @type {Event} */ event) => {
    event.preventDefault();
    await start(submit, false);
  } },
    el("div", { class: "fields" }, field("Dataset", dataset, classes)),
    gaps, choices, summary, more, messages,
    el("div", { class: "fields" }, field("Name", name, "Name of the job and its model.")),
    advanced,
    needs,
    el("div", { class: "row" }, submit, measure, anyway));
  fill(place, el("h2", null, "New job"), form);
  offer();
  show();
  await estimate();
}

/** With a capital letter. @param {string} text */
const sentence = (text) => text[0].toUpperCase() + text.slice(1);

/**
 * Inputs for the recipe's parameters, filled with its defaults. Unchanged defaults are not sent.
 *
 * @param {HTMLElement} place @param {Recipe} recipe @param {Job[]} heads
 * @returns {Record<string, () => unknown>}
 */
function fields(place, { recipe, parameters }, heads) {
  /** @type {Record<string, HTMLInputElement | HTMLSelectElement>} */
  const inputs = {};
  /** @type {Record<string, () => unknown>} */
  const read = {};
  const exclude = () => {
    for (const { name, excluded_by: other } of parameters) if (other) inputs[name].disabled = inputs[other].value !== "";
  };
  fill(place);
  for (const parameter of parameters) {
    const { name, title, description, kind } = parameter;
    const standard = parameter.default === null ? "" : String(parameter.default);
    const kept = `${recipe}.${name}`;
    const control = controlOf(parameter, draft.params[kept] ?? standard, heads);
    control.addEventListener("input", () => {
      draft.params[kept] = control.value;
      exclude();
    });
    inputs[name] = control;
    read[name] = () => {
      if (control.value === standard || control.value === "" || control.disabled) return undefined;
      return kind === "integer" || kind === "number" ? Number(control.value) : control.value;
    };
    place.append(field(title, control, standard ? `${description}. Default: ${standard}.` : `${description}.`));
  }
  exclude();
  return read;
}

/** @param {Parameter} parameter @param {string} value @param {Job[]} heads */
function controlOf({ kind, default: standard, choices, minimum, exclusive_minimum: above, maximum }, value, heads) {
  if (kind === "choice") return select(choices ?? [], { value });
  if (kind === "job") return select([["", "Train a new head"], ...heads.map(({ name }) => /** @type {[string, string]} */ ([name, name]))], { value });
  const limits = { min: String(minimum ?? above), max: String(maximum) };
  return el("input", { type: "number", step: kind === "integer" ? "1" : "any", ...limits, value, required: standard !== null });
}

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
      el("div", { class: "row apart" }, el("h3", null, el("a", { href: `#/jobs/${path(job.name)}` }, job.name)), status, actions),
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
