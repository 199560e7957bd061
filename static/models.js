/** Models page: the model in service and the way back to the one before, a table of all models, comparisons, the shadow, aliases, and what changed when. */

import { all, get, path, send } from "./api.js";
import { announce, attempt, button, bytes, confirmLoss, count, decimal, el, fill, percent, time, words } from "./dom.js";
import { comparePanel } from "./compare.js";
import { aliasPanel, historyPanel } from "./model_history.js";
import { save } from "./picture.js";
import { shadowPanel } from "./shadow.js";

/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./types.js").CurrentModel} CurrentModel */
/** @typedef {import("./types.js").HistoryEntry} HistoryEntry */

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { signal }) {
  const [serving, list] = [el("section", { class: "panel", "aria-label": "In service" }), el("section", { class: "panel", "aria-label": "Models" })];
  const [comparison, unseen, aliases, history] = ["Compare two models", "Shadow", "Aliases", "History"].map((label) => el("section", { class: "panel", "aria-label": label }));
  const messages = el("div", null);
  fill(place, el("h1", null, "Models"), messages, serving, list, comparison, unseen, aliases, history);
  /** The names that the form of the comparison has: its result stays while they do. */
  let compared = "";
  const show = async () => {
    /** @type {[Model[], CurrentModel | null, import("./types.js").Shadow | null, { items: import("./types.js").Alias[] }, HistoryEntry | null]} */
    const [models, current, challenger, { items }, last] = await Promise.all([all("models", signal), get("models/current", signal).catch(() => null), get("models/shadow", signal), get("aliases", signal), lastChange(signal)]);
    fill(messages);
    inService(serving, current, last, unpin, rollBack);
    table(list, models, items, current !== null && current.pinned_model === current.name, messages, choose, show);
    aliasPanel(aliases, items, models, show);
    const names = models.map(({ name }) => name).join(" ");
    comparison.hidden = models.length < 2;
    if (names !== compared) comparePanel(comparison, models, signal);
    compared = names;
    await shadowPanel(unseen, challenger, models, show, signal);
    await historyPanel(history, signal);
  };
  /** @param {HistoryEntry} last */
  const rollBack = async ({ from }) => {
    const sure = await confirmLoss(`Put ${from?.name} back in service${from?.pinned ? " and pin it" : ""}? You can take that back in the same way.`, "Roll back");
    if (!sure) return;
    await attempt(messages, async () => {
      await send("POST", "models/rollback");
      await show();
      announce(`${from?.name} is in service`);
    });
  };
  /** @param {CurrentModel} current */
  const unpin = async ({ pinned_model }) => {
    if (await confirmLoss(`Unpin ${pinned_model}? The best model by the promotion rule goes into service.`, "Unpin")) choose("best");
  };
  /** @param {string} model */
  const choose = (model) => void attempt(messages, async () => {
    const { activeElement: clicked } = document;
    const controls = [...place.querySelectorAll("button")].filter(({ disabled }) => !disabled);
    const enable = (/** @type {boolean} */ on) => controls.forEach((control) => (control.disabled = !on));
    enable(false);
    try {
      await send("PUT", "models/current", { model });
      await show();
      const name = clicked?.getAttribute("aria-label");
      /** @type {HTMLElement | null} */ (name ? place.querySelector(`[aria-label="${CSS.escape(name)}"]`) : place.querySelector("button"))?.focus();
    } finally {
      enable(true);
    }
  });
  await show();
}

/** @param {{ name: string }} model */
const link = ({ name }) => `#/models/${path(name)}`;

/** The last change of the model in service. @param {AbortSignal} signal @returns {Promise<HistoryEntry | null>} */
async function lastChange(signal) {
  let cursor = "";
  do {
    /** @type {{ items: HistoryEntry[], next_cursor: string | null }} */
    const page = await get(`models/history?limit=100${cursor && `&cursor=${encodeURIComponent(cursor)}`}`, signal);
    const found = page.items.find(({ alias }) => alias === null);
    if (found) return found;
    cursor = page.next_cursor ?? "";
  } while (cursor);
  return null;
}

/** @param {HTMLElement} place @param {CurrentModel | null} current @param {HistoryEntry | null} last @param {(current: CurrentModel) => void} unpin @param {(last: HistoryEntry) => void} rollBack */
function inService(place, current, last, unpin, rollBack) {
  if (!current) {
    fill(place, el("h2", null, "In service"), el("p", null, "No model is in service. Pin one below or train one."));
    return;
  }
  const pinned = current.mode === "pinned";
  const why = pinned && current.pinned_model !== current.name ? `${current.pinned_model} is pinned, but could not be loaded when the server started, so this model is served. Restore the file of ${current.pinned_model} and restart the server, pin another model, or unpin.`
    : pinned ? "Pinned: a better model will not replace it."
    : `${current.name === "default" ? "This is the built-in model. " : ""}A new model replaces it if it beats guessing and the promotion rule allows it; the job page gives the reason.`;
  fill(place,
    el("div", { class: "row apart" }, el("h2", null, "In service: ", el("a", { href: link(current) }, current.name)), el("div", { class: "actions" }, last?.from && button("Roll back", () => rollBack(last), { title: `Back to ${last.from.name}, which was in service before` }), pinned && button("Unpin", () => unpin(current), { title: "The best model is served, and a better one replaces it automatically" }))),
    el("p", null, "In service since ", time(current.since), `. ${why}`));
}

/** @param {HTMLElement} place @param {Model[]} models @param {import("./types.js").Alias[]} aliases @param {boolean} pinned whether the model in service is pinned @param {HTMLElement} messages @param {(model: string) => void} choose @param {() => Promise<unknown>} changed */
function table(place, models, aliases, pinned, messages, choose, changed) {
  const head = (/** @type {string} */ text) => el("th", { scope: "col" }, text);
  const number = (/** @type {string} */ text) => el("th", { scope: "col", class: "number" }, text);
  const rows = models.map((model) => {
    const remove = async () => {
      const sure = await confirmLoss(`Delete model ${model.name}? Its job is kept, but the model can no longer make predictions.`, "Delete");
      if (sure) await attempt(messages, () => send("DELETE", `models/${path(model.id)}`).then(changed));
    };
    const download = () => attempt(messages, () => save(`models/${path(model.id)}/download`, `${model.name}.safetensors`));
    return el("tr", null,
      el("th", { scope: "row", class: "wrap" }, el("a", { href: link(model) }, model.name), " ", model.in_service && el("span", { class: "badge serving" }, "in service"), aliases.filter((alias) => alias.model_id === model.id).map(({ name }) => [" ", el("span", { class: "badge", title: "Alias" }, name)])),
      el("td", { class: "wrap" }, words(model.recipe)),
      el("td", { class: "number", title: model.classes.slice(0, 50).join(", ") }, count(model.classes.length)),
      el("td", { class: "number" }, model.test_accuracy === null ? "–" : percent(model.test_accuracy)),
      el("td", { class: "number" }, percent(model.val_accuracy)),
      el("td", { class: "number" }, decimal(model.val_loss)),
      el("td", { class: "number" }, !model.answer_above ? "never" : model.answer_above >= 1 ? "always" : decimal(model.answer_above, 3)),
      el("td", { class: "number" }, count(model.parameters)),
      el("td", { class: "number" }, bytes(model.bytes)),
      el("td", { class: "wrap" }, model.name === "default" ? model.dataset : el("a", { href: `#/datasets/${path(model.dataset)}` }, model.dataset)),
      el("td", { class: "wrap" }, time(model.created_at)),
      el("td", null, el("div", { class: "actions" },
        !(pinned && model.in_service) && button("Pin", () => choose(model.id), { "aria-label": `Pin ${model.name}`, title: "Keep this model in service until you choose another" }),
        button("Download", download, { "aria-label": `Download ${model.name}` }),
        !model.in_service && model.name !== "default" && button("Delete", remove, { class: "danger", "aria-label": `Delete ${model.name}` }))));
  });
  fill(place, el("h2", null, "All models"), el("div", { class: "scroll" }, el("table", null,
    el("thead", null, el("tr", null, ["Name", "Recipe"].map(head), ["Classes", "Test accuracy", "Val. accuracy", "Val. loss", "Unsure below", "Parameters", "Size"].map(number), ["Dataset", "Created", ""].map(head))),
    el("tbody", null, rows))));
}
