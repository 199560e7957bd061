/** The shadow: a model that classifies what the model in service does, unseen by clients, and where the two differ. */

import { get, path, send } from "./api.js";
import { sameClasses } from "./compare.js";
import { announce, attempt, button, confirmLoss, count, el, field, fill, percent, plural, select, time } from "./dom.js";

/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./types.js").Shadow} Shadow */
/** @typedef {import("./types.js").ShadowDifference} Difference */

/** Differences per page. */
const SHOWN = 10;
/** Shares of the processor time that the form offers. @type {[string, string][]} */
const SHARES = [["0.1", "10%"], ["0.25", "25%"], ["0.5", "50%"], ["1", "100%"]];

/**
 * What the shadow has done, or a form to set one.
 *
 * @param {HTMLElement} place @param {Shadow | null} current @param {Model[]} models newest first @param {() => Promise<unknown>} changed @param {AbortSignal} signal
 */
export async function shadowPanel(place, current, models, changed, signal) {
  const messages = el("div", null);
  const hint = el("p", { class: "hint" }, "A model that classifies the same images as the model in service, after the response and unseen by clients: try a new model on real requests before you put it in service.");
  const serving = models.find((model) => model.in_service);
  if (!current) {
    const others = models.filter((model) => serving && !model.in_service && sameClasses(model, serving)).map(({ name }) => name);
    if (others.length === 0) {
      fill(place, el("h2", null, "Shadow"), hint, el("p", null, serving ? "No other model has the classes of the model in service." : "No model is in service."));
      return;
    }
    const [model, share] = [select(others), select(SHARES, { value: "0.25" })];
    const start = () => attempt(messages, async () => {
      await send("PUT", "models/shadow", { model: model.value, cpu_fraction: Number(share.value) });
      await changed();
      announce(`${model.value} is the shadow`);
    });
    fill(place, el("h2", null, "Shadow"), hint, el("div", { class: "row end-aligned" }, field("Model", model), field("Processor time", share), button("Start shadow", () => void start())), messages);
    return;
  }
  const end = async () => {
    const sure = await confirmLoss(`End the shadow? Its figures and the list of differences are deleted. The model ${current.model} is kept.`, "End shadow");
    if (sure) await attempt(messages, () => send("DELETE", "models/shadow").then(changed));
  };
  const list = el("tbody", null);
  /** @type {string | null} */
  let cursor = null;
  const next = async () => {
    /** @type {{ items: Difference[], next_cursor: string | null }} */
    const page = await get(`models/shadow/differences?limit=${SHOWN}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`, signal);
    list.append(...page.items.map(row));
    cursor = page.next_cursor;
    more.hidden = !cursor;
  };
  const more = button("Show more", () => void attempt(messages, next));
  await next();
  const paused = current.error ? `It does not run: ${current.error}. End it, and start it again if you have restored the file.` : whyPaused(models.find(({ name }) => name === current.model), serving);
  const head = ["When", "In service", "Its prediction", "Shadow's prediction", "Image (SHA-256)"];
  fill(place,
    el("div", { class: "row apart" },
      el("h2", null, "Shadow: ", el("a", { href: `#/models/${path(current.model)}` }, current.model)),
      el("div", { class: "actions" }, button("Refresh", () => void attempt(messages, changed)), button("End shadow", () => void end(), { class: "danger" }))),
    hint,
    paused && el("p", { class: "advice" }, paused),
    el("p", null, "Since ", time(current.started_at), `, with up to ${Math.round(current.cpu_fraction * 100)}% of the processor time. `, !(paused && current.images === 0) && agreement(current), ` Skipped: ${plural(current.dropped, "request")}${current.failed ? `; failed: ${plural(current.failed, "image")}` : ""}; processor time used: ${current.cpu_seconds.toFixed(1)} s.`),
    list.children.length > 0 && el("div", { class: "scroll" }, el("table", null,
      el("thead", null, el("tr", null, head.map((text) => el("th", { scope: "col" }, text)))),
      list)),
    more, messages);
}

/** Why the shadow gets no requests at present, or nothing. @param {Model | undefined} shadow @param {Model | undefined} serving */
function whyPaused(shadow, serving) {
  if (!shadow || !serving) return "";
  if (shadow.id === serving.id) return "Paused: it is in service itself.";
  return sameClasses(shadow, serving) ? "" : `Paused: ${serving.name}, in service now, has different classes.`;
}

/** @param {Shadow} shadow @returns {Node | string} */
function agreement({ agreement, agreed, images }) {
  if (agreement === null) return "No images yet. From now on it gets a copy of each request to the model in service.";
  return el("strong", null, `Same prediction for ${count(agreed)} of ${plural(images, "image")} (${percent(agreement)}).`);
}

/** @param {Difference} difference */
function row({ at, sha256, model, label, probability, shadow_label, shadow_probability }) {
  const prediction = (/** @type {string} */ name, /** @type {number} */ probability) => el("td", { class: "wrap" }, el("b", null, name), ` (${percent(probability)})`);
  return el("tr", null,
    el("td", { class: "wrap" }, time(at, "medium")),
    el("td", { class: "wrap" }, model),
    prediction(label, probability),
    prediction(shadow_label, shadow_probability),
    el("td", { class: "wrap" }, el("code", { title: sha256 }, sha256.slice(0, 12))));
}
