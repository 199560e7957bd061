/** Job page: progress, learning curves, log and, at the end, the evaluation. */

import { get, path, Problem, request } from "./api.js";
import { lineChart } from "./chart.js";
import { attempt, button, count, decimal, duration, el, fill, percent, time, words } from "./dom.js";
import { evaluation } from "./evaluation.js";
import { controls, followJob, badge, fillFor, isOver, progress } from "./live.js";
import { find } from "./missing.js";
import { placement } from "./placement.js";
import { service } from "./service.js";

/** @typedef {import("./types.js").Job} Job */
/** @typedef {import("./types.js").Epoch} Epoch */

/** Number of log lines shown. */
const TAIL = 200;

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { parts: [name], signal }) {
  /** @type {Job} */
  let job = await find(place, "jobs", name, signal);
  if (!job) return;
  const url = `jobs/${path(job.id)}`;
  const [head, curvesPlace, evaluationPlace, log] = [el("section", { class: "panel", "aria-label": "Status" }), el("section", { class: "panel", "aria-label": "Learning curves" }), el("div", { class: "page" }), logTail(url, signal)];
  const messages = el("div", null);
  const drawn = curves(curvesPlace);
  const about = el("section", { class: "panel" });
  fill(place, head, messages, curvesPlace, evaluationPlace, about, log.node);

  const [title, now, servicePlace] = [el("div", { class: "stack" }), el("div", { class: "stack" }), el("div", { class: "stack" })];
  fill(head, title, now, servicePlace);
  const showHead = () => {
    fillFor(title, [job.status, job.device, job.precision, JSON.stringify(job.placement)], () => [
      el("div", { class: "row apart" }, el("div", { class: "row" }, el("h1", null, job.name), badge(job)), controls(job, messages, (changed) => {
        if (!changed) location.hash = "#/train";
        else if (isOver(job) && !isOver(changed)) void start(changed);
      })),
      el("p", { class: "soft" }, `${words(job.recipe)} on `, el("a", { href: `#/datasets/${path(job.dataset)}` }, job.dataset), `, ${job.device ?? "device not assigned"}${job.precision ? `, ${job.precision}` : ""}`),
      placement(job),
      job.error && el("div", { class: "notice", role: "alert" }, el("p", null, `${job.error.detail} (${job.error.code})`)),
    ]);
    fillFor(about, [job.started_at, job.finished_at], () => facts(job));
    fill(now,
      progress(job),
      job.best && el("p", null, `Best epoch: ${job.best.epoch} (val. accuracy `, el("b", null, percent(job.best.val_accuracy)), `, val. loss ${decimal(job.best.val_loss)})`),
      job.attempts > 1 && el("p", { class: "soft" }, `Training attempts: ${job.attempts}`));
  };
  /** @type {Map<number, Epoch>} */
  const epochs = new Map();
  const loadEpochs = async () => {
    const { epochs: known } = await get(`${url}/metrics`, signal);
    epochs.clear();
    for (const epoch of known) epochs.set(epoch.epoch, epoch);
    drawn.show(known, job);
  };
  let due = false;
  /** At most once per frame, because a new stream first repeats all earlier events. */
  const paint = () => {
    if (due) return;
    due = true;
    requestAnimationFrame(() => {
      due = false;
      showHead();
      drawn.show([...epochs.values()].sort((a, b) => a.epoch - b.epoch), job);
    });
  };
  const showResult = async () => {
    await service(servicePlace, job, signal);
    if (job.status !== "succeeded") return;
    try {
      await evaluation(evaluationPlace, await get(`${url}/evaluation`, signal), job, signal);
    } catch (error) {
      if (!(error instanceof Problem) || error.code !== "no_evaluation") throw error;
    }
  };
  /** @param {Job} from */
  const start = (from) => attempt(messages, async () => {
    job = from;
    showHead();
    await Promise.all([loadEpochs(), log.load()]);
    if (isOver(job)) return showResult();
    await followJob(job, (now, kind, data) => {
      job = now;
      if (kind === "epoch") epochs.set(data.epoch, data);
      if (kind !== "progress") void attempt(messages, () => log.load());
      paint();
    }, signal);
    if (signal.aborted) return;
    await Promise.all([loadEpochs(), log.load()]);
    showHead();
    await showResult();
  });
  await start(job);
}

/** Accuracy and loss charts (training as points, validation as a line) and a table of the metrics. @param {HTMLElement} place */
function curves(place) {
  /** @param {Epoch[]} epochs @param {Job | null} job @param {"accuracy" | "loss"} what @returns {import("./chart.js").Lines} */
  const lines = (epochs, job, what) => ({
    title: what === "accuracy" ? "Accuracy" : "Loss",
    x: "epoch",
    y: what === "accuracy" ? "accuracy" : "loss (cross-entropy)",
    whole: true,
    xRange: [1, Math.max(job?.params.epochs ?? 1, epochs.at(-1)?.epoch ?? 1, 2)],
    mark: mark(epochs),
    series: [
      { name: "training", dots: true, colour: 1, points: epochs.map((epoch) => [epoch.epoch, epoch[`train_${what}`]]) },
      { name: "validation", colour: 0, points: epochs.map((epoch) => [epoch.epoch, epoch[`val_${what}`]]) },
    ],
  });
  const [accuracy, loss] = [lineChart(lines([], null, "accuracy")), lineChart(lines([], null, "loss"))];
  /** @type {Epoch[]} */
  let known = [];
  const summary = el("summary", null, "Metrics per epoch");
  // Thousands of rows are made only for who looks at them.
  const list = () => fill(table, summary, table.open ? numbers(known) : null);
  /** @type {HTMLDetailsElement} */
  const table = el("details", { ontoggle: () => list() });
  const figures = el("div", { class: "stack" }, el("div", { class: "columns" }, accuracy.node, loss.node), table);
  const empty = el("p", { class: "soft" }, "Curves appear after the first epoch.");
  return {
    /** @param {Epoch[]} epochs @param {Job} job */
    show: (epochs, job) => {
      place.hidden = epochs.length === 0 && isOver(job);
      fill(place, el("h2", null, "Learning curves"), epochs.length === 0 ? empty : figures);
      accuracy.update(lines(epochs, job, "accuracy"));
      loss.update(lines(epochs, job, "loss"));
      known = epochs;
      list();
    },
  };
}

/** @param {Epoch[]} epochs */
function mark(epochs) {
  if (epochs.length === 0) return null;
  const best = epochs.reduce((least, epoch) => (epoch.val_loss < least.val_loss ? epoch : least));
  return { x: best.epoch, text: `best epoch: ${best.epoch}` };
}

/** @param {Epoch[]} epochs */
function numbers(epochs) {
  const heads = ["Epoch", "Train loss", "Train accuracy", "Val. loss", "Val. accuracy", "Learning rate", "Time", "Images/s"];
  return el("div", { class: "scroll" }, el("table", null,
    el("thead", null, el("tr", null, heads.map((text) => el("th", { scope: "col", class: "number" }, text)))),
    el("tbody", null, epochs.map((epoch) => el("tr", null,
      [epoch.epoch, decimal(epoch.train_loss), decimal(epoch.train_accuracy), decimal(epoch.val_loss), decimal(epoch.val_accuracy),
        String(Number(epoch.learning_rate.toPrecision(3))), duration(epoch.seconds), count(Math.round(epoch.images_per_second))].map((cell) => el("td", { class: "number" }, cell)))))));
}

/** @param {Job} job */
function facts(job) {
  const params = Object.entries(job.params).filter(([, value]) => value !== null);
  /** @type {[string, any][]} */
  const rows = [...params.map(([key, value]) => /** @type {[string, any]} */ ([words(key), String(value)])), ["dataset version", job.dataset_version], ["submitted", time(job.created_at)], ["started", time(job.started_at)], ["finished", time(job.finished_at)]];
  return [el("h2", null, "Training parameters"), el("dl", { class: "facts" }, rows.map(([key, value]) => [el("dt", null, key), el("dd", null, value)]))];
}

/** The last lines of the trainer's log. @param {string} url @param {AbortSignal} signal */
function logTail(url, signal) {
  const text = el("pre", { class: "log", tabIndex: 0, "aria-label": "Log" });
  /** @type {HTMLElement} */
  const node = el("section", { class: "panel" }, el("div", { class: "row apart" }, el("h2", null, "Log"), button("Refresh", () => void attempt(node, load))), text);
  /** Whether the log is being read, and whether to read it once more afterwards. */
  let [reading, again] = [false, false];
  const load = async () => {
    again = true;
    if (reading) return;
    reading = true;
    try {
      while (again) {
        again = false;
        await read();
      }
    } finally {
      reading = false;
    }
  };
  const read = async () => {
    const lines = (await (await request(`${url}/log`, { signal })).text()).trimEnd().split("\n");
    const atEnd = text.scrollHeight - text.scrollTop - text.clientHeight < 30;
    text.textContent = (lines.length > TAIL ? `… ${lines.length - TAIL} earlier lines\n` : "") + lines.slice(-TAIL).join("\n");
    if (atEnd) text.scrollTop = text.scrollHeight;
  };
  return { node, load };
}
