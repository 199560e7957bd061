/** Aliases of models, and what changed when, with the way back. */

import { get, path, send } from "./api.js";
import { announce, attempt, button, confirmLoss, el, field, fill, select, time } from "./dom.js";

/** @typedef {import("./types.js").Alias} Alias */
/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./types.js").HistoryEntry} HistoryEntry */

/** Changes per page. */
const SHOWN = 10;

/**
 * The aliases, with a form to set one.
 *
 * @param {HTMLElement} place @param {Alias[]} aliases @param {Model[]} models @param {() => Promise<unknown>} changed
 */
export function aliasPanel(place, aliases, models, changed) {
  const messages = el("div", null);
  const name = el("input", { type: "text", required: true, maxLength: 100, pattern: "[A-Za-z0-9][A-Za-z0-9._\\-]*", placeholder: "champion", autocomplete: "off" });
  const model = select(models.map(({ name }) => name), { value: models.find((model) => model.in_service)?.name });
  const set = (/** @type {string} */ alias, /** @type {string} */ to) => attempt(messages, async () => {
    await send("PUT", `aliases/${path(alias)}`, { model: to });
    await changed();
    announce(`${alias} is now ${to}`);
  });
  const remove = async (/** @type {Alias} */ alias) => {
    const sure = await confirmLoss(`Remove alias ${alias.name}? Requests that name it fail from now on. The model ${alias.model} is kept.`, "Remove");
    if (sure) await attempt(messages, () => send("DELETE", `aliases/${path(alias.name)}`).then(changed));
  };
  const rows = aliases.map((alias) => el("tr", null,
    el("th", { scope: "row", class: "wrap" }, alias.name),
    el("td", { class: "wrap" }, el("a", { href: `#/models/${path(alias.model)}` }, alias.model)),
    el("td", { class: "wrap" }, time(alias.updated_at)),
    el("td", null, el("div", { class: "actions" }, button("Remove", () => void remove(alias), { class: "danger", "aria-label": `Remove alias ${alias.name}` })))));
  fill(place,
    el("h2", null, "Aliases"),
    el("p", { class: "hint" }, "A name that you can move from one model to another. Clients use it as a model's name, as in /predict?model=champion; each request gets the model that it points to at that time."),
    aliases.length > 0 && el("div", { class: "scroll" }, el("table", null,
      el("thead", null, el("tr", null, ["Alias", "Model", "Updated", ""].map((text) => el("th", { scope: "col" }, text)))),
      el("tbody", null, rows))),
    el("form", { class: "row end-aligned", onsubmit: (/** @type {Event} */ event) => {
      event.preventDefault();
      void set(name.value.trim(), model.value);
    } }, field("Alias", name), field("Model", model), button("Set", () => {}, { type: "submit" })),
    messages);
}

/**
 * The changes of the model in service and of the aliases, newest first.
 *
 * @param {HTMLElement} place @param {AbortSignal} signal
 */
export async function historyPanel(place, signal) {
  const list = el("tbody", null);
  const messages = el("div", null);
  /** @type {string | null} */
  let cursor = null;
  const more = button("Show more", () => void attempt(messages, next));
  const next = async () => {
    /** @type {{ items: HistoryEntry[], next_cursor: string | null }} */
    const page = await get(`models/history?limit=${SHOWN}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ""}`, signal);
    list.append(...page.items.map(row));
    cursor = page.next_cursor;
    more.hidden = !cursor;
  };
  await next();
  fill(place,
    el("h2", null, "History"),
    el("div", { class: "scroll" }, el("table", null,
      el("thead", null, el("tr", null, ["When", "Change", "From", "To", "By"].map((text) => el("th", { scope: "col" }, text)))),
      list)),
    more, messages);
}

/** @type {Record<HistoryEntry["event"], string>} */
const EVENTS = { selected: "Selected", pinned: "Pinned", unpinned: "Unpinned", rolled_back: "Rolled back", alias_set: "Alias set", alias_removed: "Alias removed" };

/** @param {HistoryEntry} entry */
function row({ at, event, alias, from, to, by }) {
  const model = (/** @type {HistoryEntry["from"]} */ target) => (target ? [target.name, target.pinned && " (pinned)"] : "–");
  return el("tr", null,
    el("td", { class: "wrap" }, time(at, "medium")),
    el("td", { class: "wrap" }, EVENTS[event] ?? event, alias && `: ${alias}`),
    el("td", { class: "wrap" }, model(from)),
    el("td", { class: "wrap" }, model(to)),
    el("td", { class: "wrap" }, who(by)));
}

/** @param {HistoryEntry["by"]} by */
function who(by) {
  if (by.kind === "job") return ["job ", el("a", { href: `#/jobs/${path(by.id ?? "")}` }, by.name)];
  if (by.kind === "token") return `token ${by.name}`;
  return by.kind;
}
