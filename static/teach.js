/**
 * Teach page: boxes of photos become a model. What is shown is the server's: a dataset, its jobs and
 * models, so that it is found again on return, in another tab, and after a restart of the server.
 */

import { all, path } from "./api.js";
import { el, fill, plural, select } from "./dom.js";
import { fillFor } from "./live.js";
import { find } from "./missing.js";
import { Lesson } from "./teach_lesson.js";

/** @typedef {import("./types.js").Dataset} Dataset */

/** Key of the name of the dataset that was opened last. */
const LAST = "pawprint-teach";
/** What fits the page; larger datasets have pages of their own. */
const [MAX_CLASSES, MAX_PHOTOS] = [20, 5000];

/** Datasets that were opened in this tab, by id: their uploads continue while other pages are open. @type {Map<string, Lesson>} */
const lessons = new Map();
/** The one that has no photos yet. @type {Lesson | null} */
let unsaved = null;
/** What a new dataset's page is to show; its dataset may exist before the page is open. @type {Lesson | null} */
let next = null;

window.addEventListener("beforeunload", (event) => {
  if ([...lessons.values(), unsaved].some((lesson) => lesson?.hasUnsent())) event.preventDefault();
});

/** @param {Dataset} dataset */
const fits = ({ classes, images }) => classes.length <= MAX_CLASSES && images <= MAX_PHOTOS;

/** @param {Dataset | null} dataset */
function begin(dataset) {
  const lesson = new Lesson(dataset, (before, now) => {
    if (before) lessons.delete(before.id);
    if (now) lessons.set(now.id, lesson);
    if (!now) unsaved = lesson;
    else if (unsaved === lesson) unsaved = null;
  }, (found) => {
    next = unsaved ?? begin(null);
    void next.addFolders(found);
    location.hash = "#/teach?new";
  });
  if (dataset) lessons.set(dataset.id, lesson);
  else unsaved = lesson;
  return lesson;
}

/** @param {HTMLElement} place @param {import("./app.js").Address} address */
export async function open(place, { parts: [name], query, signal }) {
  const begun = name ? null : next ?? unsaved;
  next = null;
  /** @type {Dataset[]} */
  const datasets = await all("datasets", signal);
  const last = localStorage.getItem(LAST);
  /** @type {Dataset | null} */
  let dataset = null;
  if (name) {
    dataset = await find(place, "datasets", name, signal);
    if (!dataset) return;
  } else if (!query.has("new") && !begun?.hasUnsent()) {
    dataset = datasets.find((one) => one.name === last) ?? datasets.filter((one) => one.open && fits(one)).at(-1) ?? null;
  }
  const body = el("div", { class: "page" });
  const chosen = select([], { "aria-label": "Dataset", onchange: () => {
    location.hash = chosen.value ? `#/teach/${path(chosen.value)}` : "#/teach?new";
  } });
  /** @param {Dataset | null} now */
  const list = (now) => {
    const known = now && !datasets.some(({ id }) => id === now.id) ? [...datasets, now] : datasets;
    fillFor(chosen, [known.length, now?.id], () => [["", "New…"], ...known.map((one) => [one.name, one.name])].map(([value, text]) => el("option", { value, selected: value === (now?.name ?? "") }, text)));
  };
  list(dataset);
  fill(place,
    el("div", { class: "row apart" }, el("h1", null, "Teach"), el("div", { class: "row" }, el("span", { class: "soft" }, "Dataset"), el("div", null, chosen))),
    el("p", { class: "soft" }, "Show it photos of two or more kinds of things, and it learns to tell them apart. Each kind is a class."),
    body);
  if (dataset && !fits(dataset)) {
    fill(body, el("p", null, `${dataset.name} has ${plural(dataset.classes.length, "class")} and ${plural(dataset.images, "photo")}, too many for this page. Use `,
      el("a", { href: `#/datasets/${path(dataset.name)}` }, "the page of the dataset"), " and ", el("a", { href: `#/train?dataset=${path(dataset.name)}` }, "Train"), "."));
    return;
  }
  const lesson = (dataset ? lessons.get(dataset.id) : begun) ?? begin(dataset);
  await lesson.attach(body, signal, (now) => {
    list(now);
    if (now) localStorage.setItem(LAST, now.name);
    history.replaceState(null, "", now ? `#/teach/${path(now.name)}` : "#/teach?new");
  });
}
