/** What an upload would add, judged by the paths of its files: shown before the files are sent. */

import { path, send, upload } from "./api.js";
import { count, el, listed, plural } from "./dom.js";
import { byArchive } from "./files.js";

/** @typedef {import("./types.js").Preview} Preview */
/** @typedef {import("./files.js").Found} Found */
/** @typedef {import("./files.js").Target} Target */

/** A list of more classes scrolls within itself. */
const MANY = 12;

/**
 * Asks the server what it would do; an archive is sent as a whole for that.
 *
 * @param {string} dataset @param {Found[]} files @param {Target} target
 * @param {(fraction: number) => void} progress @param {AbortSignal} signal
 * @returns {Promise<Preview>}
 */
export async function previewOf(dataset, files, { split, labels }, progress, signal) {
  /** @type {Preview[]} */
  const parts = [];
  for (const batch of byArchive(files)) {
    if (batch.archive) {
      const query = new URLSearchParams({ split, labels, dry_run: "true" });
      parts.push(await upload(`datasets/${path(dataset)}/archive?${query}`, batch.files[0].file, progress, signal));
    } else {
      parts.push(await send("POST", `datasets/${path(dataset)}/layout`, { paths: batch.files.map((one) => one.path), labels, ...(split !== "auto" && { split }) }));
    }
  }
  return parts.reduce(together);
}

/** @param {Preview} a @param {Preview} b @returns {Preview} */
function together(a, b) {
  const classes = new Map([...a.classes, ...b.classes].map((one) => [one.name, { ...one, images: 0 }]));
  for (const { name, images } of [...a.classes, ...b.classes]) /** @type {Preview["classes"][0]} */ (classes.get(name)).images += images;
  const splits = { ...a.splits };
  for (const [split, images] of Object.entries(b.splits)) splits[split] = (splits[split] ?? 0) + images;
  return {
    classes: [...classes.values()].sort((one, other) => one.name.localeCompare(other.name)),
    splits,
    by_content: a.by_content + b.by_content,
    not_images: a.not_images + b.not_images,
    rejected: [...a.rejected, ...b.rejected],
    rejected_total: a.rejected_total + b.rejected_total,
    ignored: { count: a.ignored.count + b.ignored.count, examples: [...a.ignored.examples, ...b.ignored.examples] },
  };
}

/** Number of images that an upload would add. @param {Preview} preview */
export const images = ({ classes }) => classes.reduce((sum, one) => sum + one.images, 0);

/** @typedef {Preview["classes"][0]} FoundClass */

/**
 * The classes and images of an upload.
 *
 * @param {Preview} preview
 * @param {((one: FoundClass) => Node | undefined) | null} [nameOf] shows the name of a class; given for a
 *   new dataset, of which each class is new
 */
export function describe(preview, nameOf = null) {
  const { classes, splits, by_content: byContent, not_images: others } = preview;
  const fresh = nameOf ? 0 : classes.filter((one) => one.new).length;
  const where = [...["train", "validation", "test"].filter((split) => splits[split]).map((split) => `${count(splits[split])} ${split}`),
    byContent > 0 && `${count(byContent)} to be split automatically (70/15/15)`].filter(Boolean);
  return el("div", { class: "stack" },
    el("p", null, el("b", null, classes.length === 0 ? "No images found." : `${plural(classes.length, "class")} with ${plural(images(preview), "image")}`), classes.length > 0 && `: ${where.join(", ")}.`,
      fresh > 0 && ` ${fresh === classes.length ? (fresh === 1 ? "The class is" : "All classes are") : fresh === 1 ? "1 class is" : `${count(fresh)} classes are`} new.`),
    classes.length > 0 && el("div", { class: classes.length > MANY ? "scroll tall" : "scroll", tabIndex: classes.length > MANY ? 0 : undefined, role: "group", "aria-label": "Classes found" }, el("table", { class: "found" },
      el("thead", null, el("tr", null, el("th", { scope: "col" }, "Class"), el("th", { scope: "col", class: "number" }, "Images"))),
      el("tbody", null, classes.map((one) => el("tr", null, el("th", { scope: "row" }, nameOf?.(one) ?? [one.name, " ", one.new && el("span", { class: "badge" }, "new")]), el("td", { class: "number" }, count(one.images))))))),
    others > 0 && el("p", { class: "soft" }, `${plural(others, "file")} not named like an image; ${others === 1 ? "it is" : "they are"} added if ${others === 1 ? "it is an image" : "they are images"}.`),
    refused(preview));
}

/** Files that would be rejected or ignored. @param {import("./types.js").UploadReport | Preview} report */
export function refused({ rejected, rejected_total: total, ignored }) {
  const rows = rejected.map(({ file, detail }) => el("tr", null, el("th", { scope: "row" }, file), el("td", { class: "wrap" }, detail)));
  return [
    ignored.count > 0 && el("p", { class: "soft" }, `${plural(ignored.count, "file")} ignored${ignored.count > 3 ? ", such as" : ":"} ${ignored.count > 3 ? listed(ignored.examples.slice(0, 3)) : ignored.examples.slice(0, 3).join(", ")}`),
    total > 0 && el("details", { open: rejected.length <= 10 }, el("summary", null, `Rejected files (${count(total)})`),
      el("div", { class: rejected.length > MANY ? "scroll tall" : "scroll" }, el("table", null, el("tbody", null, rows))),
      total > rejected.length && el("p", { class: "soft" }, `… and ${count(total - rejected.length)} more`)),
  ];
}
