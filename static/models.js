/** Models: which one answers and since when, and what to do with the others. */

import { all, get, path, send } from "./api.js";
import { attempt, button, bytes, confirmLoss, count, decimal, el, fill, percent, time, words } from "./dom.js";
import { save } from "./picture.js";

/** @typedef {import("./types.js").Model} Model */
/** @typedef {import("./types.js").CurrentModel} CurrentModel */

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { signal }) {
  const [serving, list] = [el("section", { class: "panel", "aria-label": "In service" }), el("section", { class: "panel", "aria-label": "Models" })];
  const messages = el("div", null);
  fill(place, el("h1", null, "Models"), messages, serving, list);
  const show = async () => {
    /** @type {[Model[], CurrentModel | null]} */
    const [models, current] = await Promise.all([all("models", signal), get("models/current", signal).catch(() => null)]);
    inService(serving, current, choose);
    table(list, models, current?.mode === "pinned", messages, choose, show);
  };
  /** @param {string} model */
  const choose = (model) => void attempt(messages, async () => {
    const { activeElement: pushed } = document;
    const enable = (/** @type {boolean} */ on) => {
      for (const control of place.querySelectorAll("button")) control.disabled = !on;
    };
    enable(false);
    try {
      await send("PUT", "models/current", { model });
      await show();
      const name = pushed?.getAttribute("aria-label");
      /** @type {HTMLElement | null} */ (name ? place.querySelector(`[aria-label="${CSS.escape(name)}"]`) : place.querySelector("button"))?.focus();
    } finally {
      enable(true);
    }
  });
  await show();
}

/** @param {HTMLElement} place @param {CurrentModel | null} current @param {(model: string) => void} choose */
function inService(place, current, choose) {
  if (!current) {
    fill(place, el("h2", null, "In service"), el("p", null, "No model answers. Pin one below, or train one."));
    return;
  }
  const pinned = current.mode === "pinned";
  const why = pinned ? "because it is pinned: a better one does not take its place."
    : current.name === "default" ? "because no job has made a model yet. The first that does takes its place by itself."
      : "because of the models that jobs made it has the highest validation accuracy. A better one takes its place by itself; to have default back, pin it.";
  fill(place,
    el("div", { class: "row apart" }, el("h2", null, `In service: ${current.name}`), pinned && button("Follow the best", () => choose("best"), { title: "The highest validation accuracy among the models that jobs made" })),
    el("p", null, "Answers since ", time(current.since), `, ${why}`));
}

/** @param {HTMLElement} place @param {Model[]} models @param {boolean} pinned whether the one in service is @param {HTMLElement} messages @param {(model: string) => void} choose @param {() => Promise<void>} changed */
function table(place, models, pinned, messages, choose, changed) {
  const head = (/** @type {string} */ text) => el("th", { scope: "col" }, text);
  const number = (/** @type {string} */ text) => el("th", { scope: "col", class: "number" }, text);
  const rows = models.map((model) => {
    const remove = async () => {
      const sure = await confirmLoss(`Delete the model ${model.name}? Its job stays, but it can't be asked any more.`, "Delete");
      if (sure) await attempt(messages, () => send("DELETE", `models/${path(model.id)}`).then(changed));
    };
    const download = () => attempt(messages, () => save(`models/${path(model.id)}/download`, `${model.name}.safetensors`));
    return el("tr", null,
      el("th", { scope: "row" }, model.job_id && model.name !== "default" ? el("a", { href: `#/job/${path(model.job_id)}` }, model.name) : model.name, " ", model.in_service && el("span", { class: "badge serving" }, "in service")),
      el("td", null, words(model.recipe)),
      el("td", { class: "number" }, model.test_accuracy === null ? "–" : percent(model.test_accuracy)),
      el("td", { class: "number" }, percent(model.val_accuracy)),
      el("td", { class: "number" }, decimal(model.val_loss)),
      el("td", { class: "number" }, count(model.parameters)),
      el("td", { class: "number" }, bytes(model.bytes)),
      el("td", null, model.dataset),
      el("td", null, time(model.created_at)),
      el("td", null, el("div", { class: "actions" },
        !(pinned && model.in_service) && button("Pin", () => choose(model.id), { "aria-label": `Pin ${model.name}`, title: "Let it answer until another is chosen" }),
        button("Download", download, { "aria-label": `Download ${model.name}` }),
        !model.in_service && model.name !== "default" && button("Delete", remove, { class: "danger", "aria-label": `Delete ${model.name}` }))));
  });
  fill(place, el("div", { class: "scroll" }, el("table", null,
    el("thead", null, el("tr", null, ["Name", "Recipe"].map(head), ["Test", "Validation", "Validation loss", "Parameters", "Size"].map(number), ["Dataset", "Made", ""].map(head))),
    el("tbody", null, rows))));
}
