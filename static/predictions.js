/** Predictions page: what models answered, feedback on it, and drift. Needs the log of predictions. */

import { all, get, path } from "./api.js";
import { attempt, count, el, field, fill, percent, select } from "./dom.js";
import { driftPanel } from "./predictions_drift.js";
import { predictionStage } from "./predictions_stage.js";

/** @typedef {import("./types.js").PredictionSummary} Summary */
/** @typedef {import("./types.js").LoggedModelSummary} Logged */

/** The lists, by what the address names them. @type {[key: string, title: string, query: Record<string, string>][]} */
const LISTS = [
  ["unsure", "Unsure, without feedback", { unsure: "true", with_feedback: "false" }],
  ["contradicted", "Contradicted by feedback", { contradicted: "true" }],
  ["feedback", "With feedback", { with_feedback: "true" }],
  ["all", "All", {}],
];

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { query, signal }) {
  /** @type {Summary} */
  const summary = await get("predictions/summary", signal);
  fill(place, el("h1", null, "Predictions"));
  if (!summary.log.enabled) place.append(off());
  if (summary.models.length === 0) {
    if (summary.log.enabled) place.append(el("section", { class: "panel" }, el("p", null, "No predictions yet. They appear here as soon as images are predicted: ", el("a", { href: "#/predict" }, "predict one"), ".")));
    return;
  }
  /** @type {import("./types.js").Dataset[]} */
  const datasets = await all("datasets", signal);
  const list = el("section", { class: "panel", "aria-label": "List" });
  const figures = el("section", { class: "panel", "aria-label": "Feedback" });
  const showFigures = async () => table(figures, await get("predictions/summary", signal));
  table(figures, summary);
  place.append(list, figures, ...(summary.log.enabled ? [driftPanel(summary.models, signal)] : []));

  /** @param {string} name */
  const known = (name) => LISTS.some(([key]) => key === name);
  let chosen = known(query.get("list") ?? "") ? /** @type {string} */ (query.get("list")) : "unsure";
  let model = summary.models.some(({ id }) => id === query.get("model")) ? /** @type {string} */ (query.get("model")) : "";
  /** Ends the requests of the list that is open. */
  let leaving = new AbortController();
  signal.addEventListener("abort", () => leaving.abort());
  const body = el("div", null);
  const open = () => {
    leaving.abort();
    leaving = new AbortController();
    const now = new URLSearchParams({ list: chosen, ...(model && { model }) });
    history.replaceState(null, "", `#/predictions?${now}`);
    const asked = LISTS.find(([key]) => key === chosen)?.[2] ?? {};
    fill(body, predictionStage({
      query: { ...asked, ...(model && { model }) },
      models: summary.models, datasets, photos: summary.log.photos, signal: leaving.signal,
      changed: () => void attempt(figures, showFigures),
    }));
  };
  const names = summary.models.map(({ name }) => name);
  fill(list, el("h2", null, "Predictions"),
    el("div", { class: "fields" },
      field("Show", select(LISTS.map(([key, title]) => /** @type {[string, string]} */ ([key, title])), { value: chosen, onchange: (/** @type {Event} */ event) => {
        chosen = /** @type {HTMLSelectElement} */ (event.target).value;
        open();
      } })),
      field("Model", select([["", "All models"], ...summary.models.map(({ id, name }) => /** @type {[string, string]} */ ([id, names.indexOf(name) === names.lastIndexOf(name) ? name : `${name} (${id.slice(0, 8)})`]))], { value: model, onchange: (/** @type {Event} */ event) => {
        model = /** @type {HTMLSelectElement} */ (event.target).value;
        open();
      } }))),
    body);
  open();
}

/** What to do where nothing is logged. */
function off() {
  return el("section", { class: "panel", "aria-label": "Log" },
    el("p", null, "This server does not log predictions. Restart it with one of these to see here what its models answer, correct it, and notice drift:"),
    el("pre", { class: "log" }, "pawprint serve --prediction-log                            # labels, probabilities, time\npawprint serve --prediction-log --prediction-log-photos    # and the images"),
    el("p", { class: "hint" }, "By default the last 100,000 predictions of 30 days are kept."));
}

/** @param {HTMLElement} place @param {Summary} summary */
function table(place, { models, log }) {
  const head = (/** @type {string} */ text, number = true) => el("th", { scope: "col", class: number ? "number" : "" }, text);
  const accuracy = (/** @type {import("./types.js").FeedbackAccuracy} */ { count: all, accuracy: share, interval }) =>
    el("td", { class: "number", title: all ? `95% CI ${percent(interval.low)}–${percent(interval.high)}` : "" }, share === null ? "–" : [percent(share), el("span", { class: "soft" }, ` (${percent(interval.low)}–${percent(interval.high)})`)]);
  fill(place, el("h2", null, "Feedback"),
    el("p", { class: "soft" }, `${log.photos ? "Predictions and their images" : "Predictions, without their images,"} are kept for ${count(log.days)} days, the newest ${count(log.max)} at most. `,
      "People check unsure answers first, so the accuracy over all answers is probably higher than the one shown."),
    el("div", { class: "scroll" }, el("table", null,
      el("thead", null, el("tr", null, head("Model", false), head("Predictions"), head("Unsure"), head("With feedback"), head("Accuracy (95% CI)"), head("Accuracy when sure (95% CI)"))),
      el("tbody", null, models.map((/** @type {Logged} */ model) => el("tr", null,
        el("th", { scope: "row", class: "wrap" }, el("a", { href: `#/models/${path(model.id)}` }, model.name)),
        el("td", { class: "number" }, count(model.predictions)),
        el("td", { class: "number" }, percent(model.unsure / model.predictions)),
        el("td", { class: "number" }, count(model.feedback.count)),
        accuracy(model.feedback),
        accuracy(model.sure_feedback)))))));
}
