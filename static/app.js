/**
 * Routes to the page in the URL, prompts for the API token and shows when the server is unreachable.
 *
 * A page is a module with `open(place, address)`: it fills `place` and stops its requests when
 * `address.signal` is aborted.
 */

import { connection, get, onTokenWanted } from "./api.js";
import { attempt, button, el, field, fill } from "./dom.js";

/**
 * @typedef {{ parts: string[], query: URLSearchParams, signal: AbortSignal }} Address
 * @typedef {{ open: (place: HTMLElement, address: Address) => Promise<void> | void }} Page
 */

/** `one` is the page of a single item, whose name follows in the address. @type {Record<string, { title: string, load: () => Promise<Page>, one?: () => Promise<Page> }>} */
const PAGES = {
  teach: { title: "Teach", load: () => import("./teach.js"), one: () => import("./teach.js") },
  predict: { title: "Predict", load: () => import("./predict.js") },
  datasets: { title: "Datasets", load: () => import("./datasets.js"), one: () => import("./dataset.js") },
  review: { title: "Review", load: () => import("./datasets.js"), one: () => import("./review.js") },
  train: { title: "Train", load: () => import("./train.js") },
  jobs: { title: "Jobs", load: () => import("./evaluate.js"), one: () => import("./job.js") },
  evaluate: { title: "Evaluate", load: () => import("./evaluate.js") },
  predictions: { title: "Predictions", load: () => import("./predictions.js") },
  models: { title: "Models", load: () => import("./models.js"), one: () => import("./model.js") },
};

/** Addresses that another has replaced, as they may be bookmarked. @type {[RegExp, string][]} */
const FORMER = [[/^#\/dataset\//, "#/datasets/"], [/^#\/job\//, "#/jobs/"], [/^#\/models\?model=/, "#/models/"], [/^#\/jobs\/?$/, "#/evaluate"]];

/** Navigation entry that is highlighted for a page without one; for a job, the page it was opened from. @type {Record<string, string>} */
const UNDER = { jobs: "train", review: "datasets" };

const main = /** @type {HTMLElement} */ (document.querySelector("main"));
let leaving = new AbortController();
/** Whether the current page loaded without errors. */
let loaded = true;

/** Opens the page of `location.hash`: `#/page/name?query`. @param {boolean} moved whether the user navigated there; moves the focus too */
async function route(moved) {
  leaving.abort();
  leaving = new AbortController();
  const { signal } = leaving;
  for (const [former, now] of FORMER) {
    if (former.test(location.hash)) history.replaceState(null, "", location.hash.replace(former, now));
  }
  const [pathname, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
  const [name, ...rest] = pathname.split("/");
  const known = name === "" ? await home() : name;
  if (signal.aborted) return;
  const page = Object.hasOwn(PAGES, known) ? PAGES[known] : null;
  // A name that was typed may have an unescaped slash.
  const item = decoded(rest.join("/"));
  const load = item ? page?.one : page?.load;
  if (known === "train" || known === "evaluate") UNDER.jobs = known;
  document.title = `${(load ? item || page?.title : "") || "Page not found"} · Pawprint`;
  for (const link of document.querySelectorAll("nav a")) {
    const here = link.getAttribute("href") === `#/${UNDER[known] ?? known}`;
    if (here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  const place = el("div", { class: page ? `page ${known}` : "page" });
  fill(main, place);
  if (moved) main.focus({ preventScroll: true });
  const opened = await attempt(main, async () => {
    const { open } = await (load ?? (() => import("./missing.js")))();
    if (!signal.aborted) await open(place, { parts: item ? [item] : [], query: new URLSearchParams(query), signal });
  });
  if (!signal.aborted) loaded = opened;
}

/** The page of `#/`: Teach while there is no model of one's own. */
async function home() {
  try {
    /** @type {{ items: { name: string }[] }} */
    const { items } = await get("models?limit=2");
    return items.some(({ name }) => name !== "default") ? "predict" : "teach";
  } catch {
    return "predict";
  }
}

/** Decodes a part of the URL; the user may have typed an invalid one. @param {string} part */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

window.addEventListener("hashchange", () => void route(true));
document.querySelector(".skip")?.addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
// Without this, a file dropped outside a drop zone would replace this page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());

const state = /** @type {HTMLElement} */ (document.querySelector(".connection"));
connection.addEventListener("lost", () => {
  state.textContent = "Can't reach the server. Retrying every second; your input is kept.";
});
connection.addEventListener("restored", () => {
  state.textContent = "";
  if (!loaded) void route(false);
});

onTokenWanted((problem) => new Promise((resolve) => {
  const input = el("input", { type: "password", autocomplete: "off", required: true, autofocus: true, pattern: "[!-~]+", title: "Printable ASCII characters without spaces" });
  let answered = false;
  // Nothing works without a token, so the dialog can't be dismissed.
  const dialog = el("dialog", { class: "ask", "aria-label": "API token", onclose: () => answered || dialog.showModal() });
  const form = el("form", { onsubmit: (/** @type {Event} */ event) => {
    event.preventDefault();
    answered = true;
    dialog.close();
    dialog.remove();
    resolve(input.value);
  } },
    field(problem || "API token required", input,
      "From whoever runs the server; it needs the scopes predict, read and write for all pages. Stored for this browser tab only."),
    el("div", { class: "row end" }, button("Continue", () => {}, { type: "submit", class: "primary" })));
  dialog.append(form);
  document.body.append(dialog);
  dialog.showModal();
}));

void route(false);
