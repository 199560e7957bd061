/** Review page: what a dataset hides. Its lists are tabs; each is a module of its own. */

import { get, path, pause, send } from "./api.js";
import { attempt, button, count, el, fill, plural, time } from "./dom.js";
import { lineChart } from "./chart.js";
import { duplicateList } from "./review_duplicates.js";
import { reviewMap } from "./review_map.js";
import { stage } from "./review_stage.js";
import { find } from "./missing.js";

/** @typedef {import("./types.js").ReviewState} ReviewState */
/** @typedef {import("./types.js").Dataset} Dataset */

const POLL = 1000;
const IDLE_POLL = 5000;
/** After the last decision, the counts are fetched again. */
const SETTLED = 1000;

/** Names of the phases of a review. @type {Record<string, string>} */
const PHASES = { features: "Computing features", comparing: "Comparing images", labels: "Checking labels", labelling: "Measuring what labels teach", map: "Drawing the map" };

/** @type {[string, string][]} */
const LISTS = [["mislabelled", "Possibly mislabelled"], ["duplicates", "Near-duplicates"], ["outliers", "Unlike the rest"], ["unlabelled", "What to label next"], ["map", "Map"]];

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { parts: [name], query, signal }) {
  /** @type {Dataset} */
  const dataset = await find(place, "datasets", name, signal);
  if (!dataset) return;
  const url = `datasets/${path(dataset.id)}/review`;
  const progress = el("section", { class: "panel", "aria-label": "Progress" });
  const body = el("section", { class: "panel", "aria-label": "List", id: "review-list", role: "tabpanel", tabIndex: -1 });
  const messages = el("div", null);
  let chosen = query.get("list") ?? "mislabelled";
  if (!LISTS.some(([list]) => list === chosen)) chosen = "mislabelled";
  /** @type {ReviewState | null} */
  let state = null;
  /** Ends the requests of the list that is open. */
  let leaving = new AbortController();
  signal.addEventListener("abort", () => leaving.abort());
  /** The list that is open. @type {import("./review_stage.js").View | null} */
  let view = null;
  /** Whether there is a newer result than the one that is shown. */
  let newer = false;
  let timer = 0;
  /** Tabs and header follow what was decided. */
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(() => void get(url, signal).then(update, () => {}), SETTLED);
  };

  const tabs = LISTS.map(([list, title]) => button(title, () => choose(list, true), { role: "tab", id: `tab-${list}`, "aria-controls": "review-list" }));
  const bar = el("div", { class: "tabs", role: "tablist", "aria-label": "Lists", onkeydown: (/** @type {KeyboardEvent} */ event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    const at = (LISTS.findIndex(([list]) => list === chosen) + step + LISTS.length) % LISTS.length;
    choose(LISTS[at][0]);
    tabs[at].focus();
    event.preventDefault();
  } }, tabs);

  const choose = (/** @type {string} */ list, focus = false) => {
    chosen = list;
    history.replaceState(null, "", `#/review/${path(dataset.name)}?list=${list}`);
    show(focus);
    reveal();
  };
  /** On a narrow page, the tabs scroll. */
  const reveal = () => tabs[LISTS.findIndex(([list]) => list === chosen)].scrollIntoView({ block: "nearest", inline: "nearest" });
  const mark = () => {
    const result = state?.result;
    /** @type {Record<string, number | undefined>} */
    const numbers = { mislabelled: result?.mislabelled, duplicates: result?.duplicates, outliers: result?.outliers, unlabelled: result?.unlabelled };
    for (const [at, [list, title]] of LISTS.entries()) {
      const number = numbers[list];
      fill(tabs[at], title, number === undefined ? null : el("span", { class: "soft" }, ` ${count(number)}`));
      tabs[at].setAttribute("aria-selected", String(list === chosen));
      tabs[at].tabIndex = list === chosen ? 0 : -1;
    }
  };
  const show = (focus = false) => {
    leaving.abort();
    leaving = new AbortController();
    mark();
    body.setAttribute("aria-labelledby", `tab-${chosen}`);
    view = null;
    newer = false;
    fill(messages);
    if (!state?.result) {
      fill(body, el("p", { class: "soft" }, "Nothing to show yet: the dataset has not been reviewed."));
      return;
    }
    const context = { dataset, url, signal: leaving.signal, result: state.result, changed, focus };
    if (chosen === "map") view = reviewMap(context);
    else view = chosen === "duplicates" ? duplicateList(context) : stage(chosen, context);
    fill(body, view.node, chosen === "unlabelled" ? curve(context.result) : null);
  };

  const describe = (/** @type {ReviewState} */ now) => {
    const result = now.result;
    /** @type {Record<string, string>} */
    const words = {
      too_few_images: "A review needs at least 20 images.",
      waiting: "The review begins when the dataset has not changed for 5 seconds and no job is running on the server's machine.",
      running: now.progress ? `${PHASES[now.progress.phase]}: ${count(now.progress.done)} of ${count(now.progress.total)}` : "The review is starting.",
      complete: "The review is complete.",
      cancelled: "The review was cancelled.",
      failed: `The review failed: ${now.error?.detail ?? "see the server log"}`,
    };
    const act = (/** @type {string} */ text, /** @type {string} */ method) => button(text, () => attempt(messages, async () => update(await send(method, url))));
    fill(progress,
      el("div", { class: "row apart" },
        el("p", { role: "status" }, words[now.status]),
        now.status === "running" || now.status === "waiting" ? act("Cancel review", "DELETE") : null,
        now.status === "cancelled" || now.status === "failed" ? act("Resume review", "POST") : null),
      now.progress ? el("progress", { max: Math.max(now.progress.total, 1), value: now.progress.done, "aria-label": "Progress" }) : null,
      result ? el("p", { class: "soft" },
        result.out_of_date ? "Out of date: the dataset has changed since this result. " : null,
        `${plural(result.labelled, "labelled image")}${result.unlabelled ? `, ${count(result.unlabelled)} unlabelled` : ""}, reviewed `, time(result.computed_at),
        `. ${suspicion(result)}. ${plural(result.duplicates_across_splits, "group")} of near-duplicates ${result.duplicates_across_splits === 1 ? "is" : "are"} in more than one split.`,
        result.unreadable ? ` ${plural(result.unreadable, "image")} can't be read.` : null) : null);
  };
  const update = (/** @type {ReviewState} */ now) => {
    const before = state;
    state = now;
    describe(now);
    if (!before?.result || !now.result) {
      show();
      return;
    }
    mark();
    view?.update?.(now.result);
    // What a person is working on stays: a newer result is offered until then.
    if (before.result.computed_at !== now.result.computed_at) {
      newer = true;
      fill(messages, el("p", { class: "note" }, "There is a newer result. ", button("Show it", show)));
    }
    if (newer && view?.isFinished()) show();
  };

  fill(place,
    el("div", { class: "row apart" }, el("h1", null, `Review of ${dataset.name}`), el("a", { class: "button", href: `#/datasets/${path(dataset.name)}` }, "Dataset")),
    progress, bar, messages, body);
  update(await get(url, signal));
  reveal();
  void (async () => {
    while (!signal.aborted) {
      try {
        await pause(/** @type {ReviewState | null} */ (state)?.status === "running" ? POLL : IDLE_POLL, signal);
        update(await get(url, signal));
      } catch {
        // The page shows that the server can't be reached; the next round tries again.
      }
    }
  })();
}

/** How many images may be mislabelled. @param {import("./types.js").ReviewSummary} result */
function suspicion({ mislabelled, estimated_wrong }) {
  if (mislabelled === 0) return "No image looks mislabelled";
  // The estimate does not follow the decisions.
  const wrong = Math.min(estimated_wrong, mislabelled);
  const labels = wrong === 0 ? "no label is" : mislabelled === 1 ? "its label is" : wrong === 1 ? "the label of about 1 of them is" : `the labels of about ${count(wrong)} of them are`;
  return `${plural(mislabelled, "image")} ${mislabelled === 1 ? "looks" : "look"} mislabelled; ${labels} estimated to be wrong`;
}

/** What choosing the images to label gains. @param {import("./types.js").ReviewSummary} result */
function curve({ curve: found }) {
  if (!found) return el("p", { class: "hint" }, "How accuracy grows with labels is measured on datasets of at least 100 training and 20 test images.");
  const points = (/** @type {number[]} */ values) => values.map((value, at) => /** @type {[number, number]} */ ([found.labels[at], value]));
  // Earlier versions did not say what they measured on.
  const [accuracy, images] = found.tested
    ? [`${found.tested.split} accuracy`, plural(found.tested.images, `${found.tested.split} image`)]
    : ["accuracy", "images that are not learned from"];
  const chart = lineChart({
    title: `${accuracy[0].toUpperCase()}${accuracy.slice(1)} by number of labels: chosen in this order, or at random`,
    x: "labelled training images", y: accuracy,
    series: [{ name: "chosen in this order", points: points(found.chosen) }, { name: "at random", points: points(found.random), dashed: true, colour: 1 }],
  });
  return el("div", { class: "stack" }, chart.node, el("p", { class: "hint" }, `Measured on ${images} by hiding the labels of the training images; mean of three random starts.`));
}
