/** Evaluate page: a table of all jobs, and the learning curves of the selected ones. */

import { all, get, path } from "./api.js";
import { lineChart } from "./chart.js";
import { attempt, button, decimal, duration, el, fill, percent, plural, words } from "./dom.js";
import { badge } from "./live.js";

/** @typedef {import("./types.js").Job} Job */
/** @typedef {import("./types.js").Epoch} Epoch */
/** @typedef {{ job: Job, test: number | null }} Row */
/** @typedef {{ name: string, value: (row: Row) => any, show: (row: Row) => any, number?: boolean, rare?: boolean }} Column `rare`: hidden if no job sets it */

/** @type {Column[]} */
const COLUMNS = [
  { name: "Name", value: ({ job }) => job.name, show: ({ job }) => el("a", { href: `#/jobs/${path(job.name)}` }, job.name) },
  { name: "Status", value: ({ job }) => job.status, show: ({ job }) => badge(job) },
  { name: "Recipe", value: ({ job }) => job.recipe, show: ({ job }) => words(job.recipe) },
  { name: "Dataset", value: ({ job }) => job.dataset, show: ({ job }) => el("span", { title: `version ${job.dataset_version}` }, `${job.dataset} ${job.dataset_version.slice(0, 6)}`) },
  { name: "Test accuracy", value: ({ test }) => test, show: ({ test }) => (test === null ? "–" : percent(test)), number: true },
  { name: "Val. accuracy", value: ({ job }) => job.best?.val_accuracy, show: ({ job }) => (job.best ? percent(job.best.val_accuracy) : "–"), number: true },
  { name: "Val. loss", value: ({ job }) => job.best?.val_loss, show: ({ job }) => decimal(job.best?.val_loss), number: true },
  { name: "Best epoch", value: ({ job }) => job.best?.epoch, show: ({ job }) => job.best?.epoch ?? "–", number: true },
  { name: "Epochs", value: ({ job }) => job.params.epochs, show: ({ job }) => job.params.epochs, number: true },
  { name: "Batch size", value: ({ job }) => job.params.batch_size, show: ({ job }) => job.params.batch_size, number: true },
  { name: "Learning rate", value: ({ job }) => job.params.learning_rate, show: ({ job }) => job.params.learning_rate, number: true },
  { name: "LR schedule", value: ({ job }) => (job.params.learning_rate_schedule === "constant" ? null : job.params.learning_rate_schedule), show: ({ job }) => job.params.learning_rate_schedule, rare: true },
  { name: "Patience", value: ({ job }) => job.params.early_stopping_patience, show: ({ job }) => job.params.early_stopping_patience ?? "–", number: true, rare: true },
  { name: "Head", value: ({ job }) => (job.params.head_from ? Infinity : job.params.head_epochs), show: ({ job }) => (job.params.head_from ? "from another job" : job.params.head_epochs ? plural(job.params.head_epochs, "epoch") : "–"), number: true, rare: true },
  { name: "Device", value: ({ job }) => job.device && `${job.device}, ${job.precision}`, show: ({ job }) => (job.device ? `${job.device}, ${job.precision}` : "–") },
  { name: "Seed", value: ({ job }) => job.params.seed, show: ({ job }) => job.params.seed, number: true },
  { name: "Duration", value: ({ job }) => elapsed(job), show: ({ job }) => (elapsed(job) === null ? "–" : duration(/** @type {number} */ (elapsed(job)))), number: true },
];

/** Seconds from start to finish. @param {Job} job */
const elapsed = ({ started_at: from, finished_at: to }) => (from && to ? (Date.parse(to) - Date.parse(from)) / 1000 : null);

/** Rows that are shown at first, and that each "Show more" adds. */
const ROWS = 500;

/** Kept while other pages are open; `chosen` has the number of each selected job, by which its curve looks. */
const state = { by: COLUMNS[4], rising: false, chosen: /** @type {Map<string, number>} */ (new Map()) };

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { signal }) {
  /** @type {[Job[], import("./types.js").Model[]]} */
  const [jobs, models] = await Promise.all([all("jobs", signal), all("models", signal)]);
  const tests = new Map(models.map((model) => [model.id, model.test_accuracy]));
  /** @type {Row[]} */
  const rows = jobs.map((job) => ({ job, test: tests.get(job.model_id ?? "") ?? null }));
  if (rows.length === 0) {
    fill(place, el("h1", null, "Evaluate"), el("div", { class: "empty" }, el("p", null, "No jobs yet. Train a model to see its metrics here and compare jobs."), el("a", { class: "button primary", href: "#/train" }, "Train a model")));
    return;
  }
  const table = el("div", { class: "scroll" });
  const charts = el("section", { class: "panel", "aria-label": "Comparison" });
  let shown = ROWS;
  const more = button(`Show ${ROWS} more`, () => {
    shown += ROWS;
    show();
  });
  const show = () => {
    fill(table, sorted(rows, shown, show, () => void attempt(charts, () => compare(charts, rows, signal))));
    more.hidden = shown >= rows.length;
  };
  fill(place, el("h1", null, "Evaluate"),
    el("p", { class: "soft" }, "Open a job for its confusion matrix, classification report and misclassified images. Select several jobs to compare their learning curves."),
    el("section", { class: "panel", "aria-label": "Jobs" }, table, more), charts);
  show();
  await compare(charts, rows, signal);
}

/** @param {Row[]} rows @param {number} shown number of rows to show @param {() => void} again @param {() => void} chosen */
function sorted(rows, shown, again, chosen) {
  const columns = COLUMNS.filter(({ rare, value }) => !rare || rows.some((row) => (value(row) ?? null) !== null));
  const heads = columns.map((column) => {
    const here = column === state.by;
    const sort = button(column.name, () => {
      state.rising = here ? !state.rising : !column.number;
      state.by = column;
      again();
      /** @type {HTMLElement | null} */ (document.querySelector("th[aria-sort] button"))?.focus();
    });
    return el("th", { scope: "col", class: column.number ? "number" : undefined, "aria-sort": here ? (state.rising ? "ascending" : "descending") : undefined }, sort);
  });
  const ordered = [...rows].sort((a, b) => order(state.by.value(a), state.by.value(b)) * (state.rising ? 1 : -1));
  return el("table", { class: "compare" },
    el("thead", null, el("tr", null, el("th", { scope: "col" }, el("span", { class: "unseen" }, "Compare")), heads)),
    el("tbody", null, ordered.slice(0, shown).map((row) => {
      const { id, name } = row.job;
      const tick = el("input", { type: "checkbox", checked: state.chosen.has(id), "aria-label": `Compare ${name}`, onchange: () => {
        if (tick.checked) state.chosen.set(id, freeNumber());
        else state.chosen.delete(id);
        chosen();
      } });
      return el("tr", null, el("td", null, tick), columns.map((column) => el("td", { class: column.number ? "number" : undefined }, column.show(row))));
    })));
}

/** Ascending; missing values come first. @param {any} a @param {any} b */
function order(a, b) {
  if (a === b) return 0;
  if (a === null || a === undefined) return -1;
  if (b === null || b === undefined) return 1;
  return a < b ? -1 : 1;
}

/** The lowest number that no selected job has, so that the curves of the others keep their look. */
function freeNumber() {
  const taken = new Set(state.chosen.values());
  let number = 0;
  while (taken.has(number)) number += 1;
  return number;
}

let comparison = 0;

/** @param {HTMLElement} place @param {Row[]} rows @param {AbortSignal} signal */
async function compare(place, rows, signal) {
  comparison += 1;
  const mine = comparison;
  const jobs = rows.map(({ job }) => job).filter(({ id }) => state.chosen.has(id));
  place.hidden = jobs.length === 0;
  if (jobs.length === 0) return;
  /** @type {Epoch[][]} */
  const epochs = await Promise.all(jobs.map(async ({ id }) => (await get(`jobs/${path(id)}/metrics`, signal)).epochs));
  if (mine !== comparison) return;
  /** @param {string} title @param {"val_accuracy" | "val_loss" | "train_accuracy" | "train_loss"} key */
  const chart = (title, key) => lineChart({ title, x: "epoch", y: key.endsWith("loss") ? "loss (cross-entropy)" : "accuracy", whole: true,
    series: jobs.map(({ id, name }, index) => ({ name, marker: state.chosen.get(id), points: epochs[index].map((epoch) => [epoch.epoch, epoch[key]]) })) }).node;
  fill(place, el("h2", null, "Learning curves"), el("div", { class: "columns two" },
    chart("Validation accuracy", "val_accuracy"), chart("Validation loss", "val_loss"), chart("Training accuracy", "train_accuracy"), chart("Training loss", "train_loss")));
}
