/** Models page: the model in service, and a table of all models. */

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
    const { activeElement: clicked } = document;
    const enable = (/** @type {boolean} */ on) => {
      for (const control of place.querySelectorAll("button")) control.disabled = !on;
    };
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

/** @param {HTMLElement} place @param {CurrentModel | null} current @param {(model: string) => void} choose */
function inService(place, current, choose) {
  if (!current) {
    fill(place, el("h2", null, "In service"), el("p", null, "No model is in service. Pin one below or train one."));
    return;
  }
  const pinned = current.mode === "pinned";
  const why = pinned ? "Pinned: a better model will not replace it."
    : `${current.name === "default" ? "This is the built-in model. " : ""}A new model replaces it unless it is less accurate on the images of its job or can't be told from guessing; the job page gives the reason.`;
  fill(place,
    el("div", { class: "row apart" }, el("h2", null, "In service: ", el("a", { href: link(current) }, current.name)), pinned && button("Use best model", () => choose("best"), { title: "Unpin. The best model is served, and a better one replaces it automatically" })),
    el("p", null, "In service since ", time(current.since), `. ${why}`));
}

/** @param {HTMLElement} place @param {Model[]} models @param {boolean} pinned whether the model in service is pinned @param {HTMLElement} messages @param {(model: string) => void} choose @param {() => Promise<unknown>} changed */
function table(place, models, pinned, messages, choose, changed) {
  const head = (/** @type {string} */ text) => el("th", { scope: "col" }, text);
  const number = (/** @type {string} */ text) => el("th", { scope: "col", class: "number" }, text);
  const rows = models.map((model) => {
    const remove = async () => {
      const sure = await confirmLoss(`Delete model ${model.name}? Its job is kept, but the model can no longer make predictions.`, "Delete");
      if (sure) await attempt(messages, () => send("DELETE", `models/${path(model.id)}`).then(changed));
    };
    const download = () => attempt(messages, () => save(`models/${path(model.id)}/download`, `${model.name}.safetensors`));
    return el("tr", null,
      el("th", { scope: "row", class: "wrap" }, el("a", { href: link(model) }, model.name), " ", model.in_service && el("span", { class: "badge serving" }, "in service")),
      el("td", { class: "wrap" }, words(model.recipe)),
      el("td", { class: "number", title: model.classes.slice(0, 50).join(", ") }, count(model.classes.length)),
      el("td", { class: "number" }, model.test_accuracy === null ? "–" : percent(model.test_accuracy)),
      el("td", { class: "number" }, percent(model.val_accuracy)),
      el("td", { class: "number" }, decimal(model.val_loss)),
      el("td", { class: "number" }, model.answer_above ? decimal(model.answer_above, 3) : "never"),
      el("td", { class: "number" }, count(model.parameters)),
      el("td", { class: "number" }, bytes(model.bytes)),
      el("td", { class: "wrap" }, model.name === "default" ? model.dataset : el("a", { href: `#/datasets/${path(model.dataset)}` }, model.dataset)),
      el("td", { class: "wrap" }, time(model.created_at)),
      el("td", null, el("div", { class: "actions" },
        !(pinned && model.in_service) && button("Pin", () => choose(model.id), { "aria-label": `Pin ${model.name}`, title: "Keep this model in service until you choose another" }),
        button("Download", download, { "aria-label": `Download ${model.name}` }),
        !model.in_service && model.name !== "default" && button("Delete", remove, { class: "danger", "aria-label": `Delete ${model.name}` }))));
  });
  fill(place, el("div", { class: "scroll" }, el("table", null,
    el("thead", null, el("tr", null, ["Name", "Recipe"].map(head), ["Classes", "Test accuracy", "Val. accuracy", "Val. loss", "Unsure below", "Parameters", "Size"].map(number), ["Dataset", "Created", ""].map(head))),
    el("tbody", null, rows))));
}
