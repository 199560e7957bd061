/** Two models on the same test images: the verdict in sentences, the figures, and the images where they differ. */

import { get, path, send } from "./api.js";
import { attempt, button, count, decimal, el, field, fill, isAbort, percent, plural, select } from "./dom.js";
import { picture } from "./picture.js";

/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./types.js").Comparison} Comparison */

/** Images shown per page. */
const SHOWN = 12;

/**
 * A form that compares two models.
 *
 * @param {HTMLElement} place @param {Model[]} models newest first @param {AbortSignal} signal
 */
export function comparePanel(place, models, signal) {
  const serving = models.find((model) => model.in_service);
  const start = models.find((model) => serving && !model.in_service && sameClasses(model, serving)) ?? models[0];
  const first = select(models.map(({ name }) => name), { value: start?.name, onchange: () => offer() });
  const second = select([]);
  const none = el("p", { hidden: true });
  /** Offers what can be compared with the first model. */
  const offer = () => {
    const model = models.find(({ name }) => name === first.value);
    const others = models.filter((other) => model && other.id !== model.id && sameClasses(other, model)).map(({ name }) => name);
    const value = [second.value, serving?.name].find((name) => name && others.includes(name)) ?? others[0];
    fill(second, others.length > 0 ? others.map((name) => el("option", { value: name, selected: name === value }, name)) : el("option", { value: "" }, "none"));
    second.disabled = compare.disabled = others.length === 0;
    none.hidden = others.length > 0;
    none.textContent = `No other model has the classes of ${first.value}.`;
  };
  const result = el("div", { class: "stack", "aria-live": "polite" });
  /** @type {AbortController | null} */
  let running = null;
  const compare = button("Compare", () => void attempt(result, run), { class: "primary" });
  const run = async () => {
    running?.abort();
    const mine = running = new AbortController();
    const url = `models/${path(first.value)}/compare?with=${encodeURIComponent(second.value)}`;
    const cancel = button("Cancel", () => {
      mine.abort();
      fill(result);
      void send("DELETE", url).catch(() => {});
    });
    const progress = el("progress", { max: 1 });
    const waiting = el("p", null, "Evaluating…");
    fill(result, el("div", { class: "row" }, waiting, progress, cancel));
    try {
      for (;;) {
        const answer = await get(url, AbortSignal.any([signal, mine.signal]));
        if (answer.summary) {
          fill(result, ...shown(answer));
          return;
        }
        progress.max = answer.total;
        progress.value = answer.done;
        waiting.textContent = `Evaluating: ${count(answer.done)} of ${plural(answer.total, "prediction")}`;
      }
    } catch (error) {
      if (!isAbort(error)) fill(result);
      throw error;
    }
  };
  fill(place,
    el("h2", null, "Compare two models"),
    el("p", { class: "hint" }, "On the test images of the newer model's job, with a paired test. What a model predicts for them is computed once."),
    el("div", { class: "row end-aligned" }, field("Model", first), field("With", second), compare),
    none, result);
  offer();
}

/** Whether two models have the same classes, in any order. @param {Model} one @param {Model} other */
export function sameClasses(one, other) {
  const names = new Set(one.classes);
  return other.classes.length === names.size && other.classes.every((name) => names.has(name));
}

/** @param {Comparison} comparison @returns {(Node | false)[]} */
function shown(comparison) {
  const { first, second, summary, accuracy_difference: accuracy, log_loss_difference: loss, p_value } = comparison;
  const [verdict, ...others] = summary;
  const number = (/** @type {string} */ text) => el("td", { class: "number" }, text);
  const interval = (/** @type {{ interval: import("./types.js").Interval }} */ of, /** @type {(value: number) => string} */ text) => `${text(of.interval.low)} to ${text(of.interval.high)}`;
  const signed = (/** @type {number} */ value, /** @type {string} */ text) => (Number(text) === 0 ? text : `${value < 0 ? "−" : "+"}${text}`);
  const points = (/** @type {number} */ value) => signed(value, (Math.abs(value) * 100).toFixed(1));
  const losses = (/** @type {number} */ value) => signed(value, Math.abs(value).toFixed(4));
  const table = el("div", { class: "scroll" }, el("table", null,
    el("thead", null, el("tr", null, el("th", { scope: "col" }, ""), [first.name, second.name, "Difference", "95% CI"].map((text) => el("th", { scope: "col", class: "number" }, text)))),
    el("tbody", null,
      el("tr", null, el("th", { scope: "row" }, "Test accuracy"), number(percent(first.accuracy)), number(percent(second.accuracy)), number(`${points(accuracy.value)} points`), number(interval(accuracy, points))),
      el("tr", null, el("th", { scope: "row" }, "Log loss"), number(decimal(first.log_loss)), number(decimal(second.log_loss)), number(losses(loss.value)), number(interval(loss, losses))),
      el("tr", null, el("th", { scope: "row" }, "Only this one correct"), number(count(comparison.only_first)), number(count(comparison.only_second)), number(""), number("")),
      el("tr", null, el("th", { scope: "row" }, "McNemar's exact test"), number(""), number(""), number(`p ${p_value < 0.001 ? "< 0.001" : `= ${p_value.toFixed(3)}`}`), number("")))));
  const images = el("ul", { class: "cards" });
  let at = 0;
  const next = () => {
    for (const one of comparison.differences.slice(at, at + SHOWN)) images.append(card(one, first.name, second.name));
    at += SHOWN;
    more.hidden = at >= comparison.differences.length;
  };
  const more = button("Show more", next);
  next();
  return [
    el("p", null, el("strong", null, verdict)),
    ...others.map((sentence) => el("p", null, sentence)),
    table,
    el("h3", null, comparison.differing === 0 ? "They predict the same class for every image" : `They differ on ${plural(comparison.differing, "image")}`),
    images, more,
  ];
}

/** @param {Comparison["differences"][number]} one @param {string} first @param {string} second */
function card(one, first, second) {
  const name = one.file_name ?? "no longer in the dataset";
  const says = (/** @type {string} */ model, /** @type {{ label: string, probability: number }} */ prediction) => el("p", null, `${model}: `, el("b", null, prediction.label), ` (${percent(prediction.probability)})`);
  return el("li", { class: "panel card" },
    el("div", { class: "view" }, one.file_name === null ? null : picture(`images/${path(one.image_id)}/thumbnail?size=400`, `${name} (true class: ${one.label})`)),
    el("div", { class: "words" }, el("span", { class: "name", title: name }, name), el("p", null, `True: ${one.label}`), says(first, one.first), says(second, one.second)));
}
