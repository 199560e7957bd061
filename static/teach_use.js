/** Where a model lives now: its address for programs, its file, and the pages that show it. */

import { hasToken, path } from "./api.js";
import { announce, attempt, button, el } from "./dom.js";
import { save } from "./picture.js";

/** @param {import("./types.js").Job} job that made the model */
export function usage({ name, dataset, model_id: model, service }) {
  const url = new URL(`predict?${new URLSearchParams({ model: name })}`, document.baseURI).href;
  const header = hasToken() ? " -H \"Authorization: Bearer $PAWPRINT_API_TOKEN\"" : "";
  const [imports, headers] = hasToken() ? ["import os, requests", ",\n        headers={\"Authorization\": \"Bearer \" + os.environ[\"PAWPRINT_API_TOKEN\"]}"] : ["import requests", ""];
  const curl = `curl${header} -F image=@photo.jpg "${url}"`;
  const python = `${imports}

with open("photo.jpg", "rb") as photo:
    response = requests.post(
        "${url}", files={"image": photo}${headers})
response.raise_for_status()
prediction = response.json()["predictions"][0]
print(prediction["label"], prediction["probability"], "unsure" if prediction["unsure"] else "")`;
  /** @type {HTMLElement} */
  const links = el("div", { class: "row" },
    el("a", { href: `#/jobs/${path(name)}` }, "Evaluation"),
    el("a", { href: `#/datasets/${path(dataset)}` }, "Dataset"),
    el("a", { href: `#/models/${path(name)}` }, "Model"),
    model && button("Download the model", () => void attempt(links, () => save(`models/${path(model)}/download`, `${name}.safetensors`)), { class: "link" }));
  return [
    el("h2", null, `Use ${name}`),
    el("p", { class: "soft" }, `The model is kept on this server; programs send photos to its address.${service?.decision === "in_service" ? " It also went into service: it answers requests that name no model." : ""}`),
    links,
    el("div", { class: "columns" }, code("curl", curl), code("Python (pip install requests)", python)),
  ];
}

/** A program that is copied by a click. @param {string} title @param {string} text */
function code(title, text) {
  const pre = el("pre", { class: "log code", tabIndex: 0, "aria-label": title }, text);
  const copy = button("Copy", async () => {
    try {
      await navigator.clipboard.writeText(text);
    } catch {
      // Only secure pages have a clipboard.
      window.getSelection()?.selectAllChildren(pre);
      document.execCommand("copy");
    }
    copy.textContent = "Copied";
    announce(`${title} copied`);
    setTimeout(() => (copy.textContent = "Copy"), 2000);
  }, { "aria-label": `Copy ${title}` });
  return el("div", { class: "stack" }, el("div", { class: "row apart" }, el("h3", null, title), copy), pre);
}
