/** Page of a model: whether it is in service, its facts, and when it is unsure. */

import { get, path, send } from "./api.js";
import { attempt, button, bytes, confirmLoss, count, decimal, el, fill, namedClasses, percent, plural, time, words } from "./dom.js";
import { find } from "./missing.js";
import { save } from "./picture.js";
import { serviceOf } from "./service.js";
import { unsure } from "./unsure.js";

/** @typedef {import("./types.js").Model} Model */

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { parts: [name], signal }) {
  /** @type {Model | null} */
  const model = await find(place, "models", name, signal);
  if (!model) return;
  const [head, about, doubts] = [el("section", { class: "panel", "aria-label": "Status" }), el("section", { class: "panel" }, el("h2", null, "About this model"), facts(model)),
    el("section", { class: "panel", "aria-label": "When is it unsure?" })];
  const messages = el("div", null);
  fill(place, head, messages, about, doubts);
  const state = el("div", { class: "stack" });
  const badge = el("span", { class: "badge serving" }, "in service");
  const builtIn = model.name === "default";
  const remove = button("Delete", async () => {
    const sure = await confirmLoss(`Delete model ${model.name}? Its job is kept, but the model can no longer make predictions.`, "Delete");
    if (!sure) return;
    await attempt(messages, async () => {
      await send("DELETE", `models/${path(model.id)}`);
      location.hash = "#/models";
    });
  }, { class: "danger" });
  const download = button("Download", () => void attempt(messages, () => save(`models/${path(model.id)}/download`, `${model.name}.safetensors`)), { title: "The model in one file, which also works without a server" });
  const report = button("Report", () => void attempt(messages, () => save(`models/${path(model.id)}/report`, `${model.name}.html`)), { title: "What there is to know of this model, on one page that needs nothing else" });
  const show = async () => {
    const current = await get("models/current", signal).catch(() => null);
    if (signal.aborted) return;
    const serves = current?.id === model.id;
    badge.hidden = !serves;
    remove.hidden = serves || builtIn;
    serviceOf(state, model, current, show);
  };
  fill(head,
    el("div", { class: "row apart" }, el("div", { class: "row" }, el("h1", null, model.name), badge), el("div", { class: "actions" }, report, download, remove)),
    el("p", { class: "soft" }, `${builtIn ? "The built-in model. " : ""}It distinguishes ${namedClasses(model.classes)}.`),
    state);
  await show();
  await attempt(messages, () => unsure(doubts, model, signal));
}

/** @param {Model} model */
function facts(model) {
  const made = model.name !== "default";
  /** @type {[string, any][]} */
  const rows = [
    ["Recipe", words(model.recipe)],
    ["Classes", model.classes.length > 4 ? el("details", null, el("summary", null, plural(model.classes.length, "class")), el("div", { class: "tall" }, model.classes.join(", "))) : model.classes.join(", ")],
    ["Dataset", made ? el("a", { href: `#/datasets/${path(model.dataset)}` }, model.dataset) : model.dataset],
    ["Job", made && model.job_id ? el("a", { href: `#/jobs/${path(model.job_id)}` }, "evaluation and learning curves") : null],
    ["Test accuracy", model.test_accuracy === null ? null : percent(model.test_accuracy)],
    ["Validation accuracy", percent(model.val_accuracy)],
    ["Validation loss", decimal(model.val_loss)],
    ["Parameters", count(model.parameters)],
    ["Size", bytes(model.bytes)],
    ["Created", time(model.created_at)],
  ];
  return el("dl", { class: "facts" }, rows.filter(([, value]) => value !== null).map(([key, value]) => [el("dt", null, key), el("dd", null, value)]));
}
