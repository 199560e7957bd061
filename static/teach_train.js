/** The Train button of the Teach page: what is missing, how long it takes, progress, and the outcome. */

import { get, path, Problem, send } from "./api.js";
import { announce, attempt, button, count, duration, el, listed, notice, once, percent, roughly } from "./dom.js";
import { fillFor, followJob, isOver } from "./live.js";

/** @typedef {import("./teach_lesson.js").Lesson} Lesson */
/** @typedef {import("./types.js").Job} Job */
/** @typedef {import("./types.js").Evaluation} Evaluation */

/** Photos of each class that training needs. */
const ENOUGH = 5;
/** With this many photos of each class the model is about as good as it gets. */
const PLENTY = 50;
const SPLITS = ["train", "validation", "test"];

/** What a running job is doing, and how much of the whole each phase ends at. @type {Record<string, [string, number]>} */
const PHASES = {
  downloading: ["Downloading the network", 0.05],
  preparing: ["Reading the photos", 0.2],
  extracting: ["Looking at the photos", 0.6],
  training_head: ["Learning", 0.75],
  training: ["Learning", 0.75],
  validating: ["Learning", 0.75],
  evaluating: ["Checking what it has learned", 0.93],
  saving: ["Saving the model", 0.96],
  comparing: ["Comparing it with the model in service", 1],
};

/** Trains the lesson's dataset. */
export class Trainer {
  /** @param {Lesson} lesson */
  constructor(lesson) {
    this.lesson = lesson;
    /** Newest job of the dataset. @type {Job | null} */
    this.job = null;
    /** Newest job that has a model. @type {Job | null} */
    this.trained = null;
    /** Number of jobs on this dataset that were seen. */
    this.jobs = 0;
    this.start = button("Train", () => void once(this.start, this.messages, () => this.train()), { class: "primary big" });
    this.advice = el("div", { class: "stack", role: "status" });
    this.now = el("div", { class: "stack" });
    this.messages = el("div", { class: "stack" });
    this.node = el("section", { class: "panel", "aria-label": "Training", tabIndex: -1 }, this.start, this.now, this.advice, this.messages);
  }

  /** Finds the jobs of the dataset, and follows the newest one. */
  async watch() {
    const { lesson } = this;
    await attempt(this.messages, async () => {
      /** @type {Job[]} */
      const items = lesson.dataset ? (await get(`jobs?dataset=${path(lesson.dataset.id)}&limit=100`, lesson.signal)).items : [];
      [this.job, this.jobs, this.trained] = [items[0] ?? null, Math.max(items.length, this.jobs), null];
      for (const job of items.filter(({ model_id: model }) => model)) {
        if (!(await this.hasModel(job))) continue;
        this.trained = job;
        break;
      }
      lesson.setModel(this.trained);
      this.update();
      if (this.job && !isOver(this.job)) void this.follow(this.job);
      else await this.conclude();
    });
  }

  /** Whether the model of a job still exists. @param {Job} job */
  async hasModel(job) {
    if (!job.model_id) return false;
    try {
      await get(`models/${path(job.model_id)}`, this.lesson.signal);
      return true;
    } catch (error) {
      if (error instanceof Problem && error.status === 404) return false;
      throw error;
    }
  }

  /** Says what is missing, or how long it will take. */
  update() {
    const { dataset, boxes } = this.lesson;
    const few = boxes.map((box) => ({ name: box.name, images: this.lesson.photosOf(box.name) })).filter(({ images }) => images < ENOUGH);
    const busy = this.job !== null && !isOver(this.job);
    const same = this.trained !== null && this.trained.id === this.job?.id && this.job.dataset_version === dataset?.version;
    this.start.textContent = this.trained ? "Train again" : "Train";
    this.start.disabled = busy || few.length > 0 || same;
    this.start.hidden = busy;
    fillFor(this.advice, [few, busy, same, dataset?.version, this.trained?.id], () => {
      if (busy) return null;
      if (few.length > 0) {
        return [
          el("p", null, few.length > 1 && few.every(({ images }) => images === 0) ? "Add photos to each class."
            : `Add ${listed(few.map(({ name, images }) => `${ENOUGH - images} ${images === 0 ? "" : "more "}to ${name}`), 3)}.`),
          el("p", { class: "hint" }, `At least ${ENOUGH} photos per class. More make the model better, up to about ${PLENTY}.`),
        ];
      }
      if (same) return el("p", { class: "hint" }, "The model is up to date. Add photos where it is wrong or unsure, then train again.");
      const time = el("p", { class: "hint" });
      void this.estimate(time);
      return [this.trained && el("p", null, "The dataset has changed since the last training."), time];
    });
  }

  /** @param {HTMLElement} place */
  async estimate(place) {
    const { dataset } = this.lesson;
    if (!dataset) return;
    const recipe = await this.recipe(`?dataset=${path(dataset.id)}`).catch(() => null);
    const seconds = recipe?.estimate?.seconds;
    if (typeof seconds === "number") place.textContent = `Takes ${roughly(seconds)}.`;
  }

  /** The recommended recipe. @param {string} [query] @returns {Promise<import("./types.js").Recipe>} */
  async recipe(query = "") {
    const { items } = await get(`recipes${query}`, this.lesson.signal);
    return items.find((/** @type {import("./types.js").Recipe} */ { recommended }) => recommended);
  }

  async train() {
    const { lesson } = this;
    const { recipe } = await this.recipe();
    await lesson.change(() => this.fillSplits());
    const dataset = lesson.dataset;
    if (!dataset) return;
    for (let number = this.jobs + 1; ; number += 1) {
      try {
        this.job = /** @type {Job} */ (await send("POST", "jobs", { recipe, dataset: dataset.id, name: `${dataset.name.slice(0, 90)}-v${number}` }));
        this.jobs = number;
        break;
      } catch (error) {
        // A job or model of that name may exist, even of a dataset that was deleted.
        if (!(error instanceof Problem) || error.status !== 409 || number > this.jobs + 1000) throw error;
      }
    }
    announce("Training has started");
    this.update();
    this.node.focus({ preventScroll: true });
    void this.follow(this.job);
  }

  /** Moves single photos so that each class has some in each split. */
  async fillSplits() {
    const { dataset } = this.lesson;
    if (!dataset) return;
    const of = (/** @type {string} */ split, /** @type {string} */ name) => dataset.counts[split]?.[name] ?? 0;
    let moved = false;
    for (const name of dataset.classes) {
      const counts = SPLITS.map((split) => of(split, name));
      for (const [at, split] of SPLITS.entries()) {
        if (counts[at] > 0) continue;
        const largest = counts.indexOf(Math.max(...counts));
        const { items } = await get(`datasets/${path(dataset.id)}/images?label=${encodeURIComponent(name)}&split=${SPLITS[largest]}&limit=1`);
        if (!items[0]) continue;
        await send("PATCH", `datasets/${path(dataset.id, "images", items[0].id)}`, { split });
        counts[at] += 1;
        counts[largest] -= 1;
        moved = true;
      }
    }
    if (moved) await this.lesson.reload();
  }

  /** Shows a job until it has ended, also if the server restarts meanwhile. @param {Job} job */
  async follow(job) {
    const { signal } = this.lesson;
    this.paint(job);
    await attempt(this.messages, async () => {
      try {
        await followJob(job, (now) => this.paint(now), signal);
      } catch (error) {
        if (!(error instanceof Problem) || error.status !== 404) throw error;
        // Deleted elsewhere.
        await this.watch();
        return;
      }
      if (signal.aborted) return;
      await this.conclude();
      this.node.scrollIntoView({ block: "nearest" });
    });
  }

  /** @param {Job} job */
  paint(job) {
    const ended = this.job && isOver(this.job);
    this.job = job;
    if (ended !== isOver(job)) this.update();
    if (isOver(job)) return;
    const at = job.progress;
    const names = Object.keys(PHASES);
    const [said, end] = (at && PHASES[at.phase]) ?? ["Waiting to start", 0.02];
    const begin = Math.max(0, ...names.map((name) => PHASES[name][1]).filter((other) => other < end));
    const steps = at && at.steps > 0 ? at.step / at.steps : 0;
    const amount = at && (at.phase === "preparing" || at.phase === "extracting") ? `: ${count(at.step)} of ${count(at.steps)}` : "";
    fillFor(this.now, "running", () => {
      this.bar = el("progress", { max: 1, "aria-label": "Training" });
      this.words = el("p", null);
      return [this.words, this.bar, el("p", { class: "hint" }, "You can leave this page; training goes on."),
        el("div", null, button("Cancel", () => void attempt(this.messages, () => send("POST", `jobs/${path(job.id)}/cancel`))))];
    });
    if (this.bar) this.bar.value = begin + (end - begin) * steps;
    if (this.words) this.words.textContent = `${said}${amount}${at?.eta_seconds ? `, ${duration(at.eta_seconds)} left` : ""}`;
  }

  /** Shows how the newest job ended. */
  async conclude() {
    const { job, lesson } = this;
    if (!job) {
      fillFor(this.now, "none", () => null);
      return;
    }
    /** @type {Evaluation | null} */
    let evaluation = null;
    if (job.status === "succeeded") {
      evaluation = await get(`jobs/${path(job.id)}/evaluation`, lesson.signal).catch(() => null);
      if (await this.hasModel(job)) lesson.setModel((this.trained = job));
    }
    fillFor(this.now, [job.id, job.status, this.recorded()], () => this.result(job, evaluation));
    this.update();
  }

  /** Whether most photos are of recordings. */
  recorded() {
    const { boxes, dataset } = this.lesson;
    return boxes.reduce((sum, box) => sum + box.recorded, 0) * 2 > (dataset?.images ?? 0);
  }

  /** @param {Job} job @param {Evaluation | null} evaluation */
  result(job, evaluation) {
    if (job.status !== "succeeded") {
      const why = job.error?.detail ?? (job.status === "cancelled" ? "Training was cancelled." : "Training did not finish.");
      return job.error ? notice(why) : el("p", null, why);
    }
    const said = evaluation ? outcome(evaluation) : "The model is ready.";
    announce(said);
    return el("div", { class: "stack" },
      el("p", { class: "outcome" }, said),
      evaluation && el("p", { class: "hint" }, doubt(evaluation, this.recorded())),
      el("div", null, el("a", { href: `#/jobs/${path(job.name)}` }, "See the whole evaluation")));
  }
}

/** How good a model is, in one sentence. @param {Evaluation} evaluation */
export function outcome({ accuracy, count: images, cross_validation: crossed }) {
  const share = (/** @type {number} */ right, /** @type {number} */ of) => (right === of ? `all ${count(of)}` : right === 0 ? `none of the ${count(of)}` : `${count(right)} of the ${count(of)}`);
  if (crossed) {
    const of = share(crossed.correct, crossed.count);
    return `${of[0].toUpperCase()}${of.slice(1)} photos ${crossed.correct === 1 ? "was" : "were"} classified correctly, each by a model trained without it.`;
  }
  return `It was right for ${share(Math.round(accuracy * images), images)} photos that it had not seen.`;
}

/** How sure that figure is. @param {Evaluation} evaluation @param {boolean} recorded whether most photos are of recordings */
function doubt({ accuracy_interval: own, cross_validation: crossed }, recorded) {
  const { low, high } = crossed ? crossed.accuracy_interval : own;
  const measured = crossed ? `Measured by ${crossed.folds}-fold cross-validation. ` : "";
  return measured + (recorded ? "Photos of one recording are almost the same photo, so the accuracy on new photos is probably lower: try it."
    : `The accuracy on other photos like these is probably between ${percent(low)} and ${percent(high)} (95% confidence).`);
}
