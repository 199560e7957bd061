/** Uploads of files, folders and archives to a dataset: first shown as a preview, then confirmed. */

import { path, Problem, send } from "./api.js";
import { announce, ask, button, count, droppable, el, field, fill, isAbort, notice, percent, plural, select } from "./dom.js";
import { addTo, dropped, emptyReport, isArchive, picked, sendAll } from "./files.js";
import { describe, images, previewOf, refused } from "./preview.js";

/** @typedef {import("./types.js").UploadReport} Report */

/** Uploads by dataset, newest first; they continue while other pages are open. @type {Map<string, Upload[]>} */
const known = new Map();

/** Uploads run one after the other. */
let turn = Promise.resolve();
let unfinished = 0;

window.addEventListener("beforeunload", (event) => {
  if (unfinished > 0) event.preventDefault();
});

/**
 * A drop zone for images, and the progress and result of each upload.
 *
 * @param {import("./types.js").Dataset} dataset
 * @param {() => void} done called after images were added
 */
export function uploads(dataset, done) {
  const split = select([["auto", "Auto: from folders, else 70/15/15"], "train", "validation", "test"], { value: "auto" });
  const label = el("select", null);
  const list = el("div", { class: "stack" });
  const mine = known.get(dataset.id) ?? [];
  known.set(dataset.id, mine);
  for (const upload of mine) {
    upload.done = done;
    list.append(upload.node);
  }
  /** @param {import("./files.js").Found[]} found */
  const add = async (found) => {
    if (found.length === 0) {
      list.prepend(notice("No files found."));
      return;
    }
    const [kind, ...name] = label.value.split(":");
    const target = { split: split.value, labels: ["names", "none"].includes(kind) ? kind : "folders", label: name.join(":") };
    if (kind === "new") {
      const input = el("input", { type: "text", required: true, maxLength: 100, autocomplete: "off" });
      const given = await ask(`New class of ${found.length === 1 ? found[0].path : plural(found.length, "file")}`, input, "Continue");
      if (!given) return;
      target.label = given;
    }
    const upload = new Upload(dataset, found, target, done);
    mine.unshift(upload);
    list.prepend(upload.node);
    void upload.check();
  };
  /** @param {string} text @param {Record<string, any>} properties */
  const picker = (text, properties) => {
    const input = el("input", { type: "file", class: "file", multiple: true, ...properties, onchange: () => {
      void add(picked(input.files));
      input.value = "";
    } });
    return el("label", { class: "button" }, text, input);
  };

  const hint = el("p", { class: "hint" });
  /** @param {import("./types.js").Dataset} now */
  const update = (now) => {
    const chosen = label.value || "folders";
    const automatic = /** @type {[string, string][]} */ ([["folders", "Auto: from folder or file names"], ["names", "From file names (rose_1.jpg)"], ["none", "None: to be labelled later"]]);
    const fresh = now.open ? [["new", "New class…"]] : [];
    fill(label, [...automatic, ...fresh, ...now.classes.map((name) => [`class:${name}`, name])].map(([value, text]) => el("option", { value, selected: value === chosen }, text)));
    const [first, second] = now.classes.length > 1 ? now.classes : ["rose", "tulip"];
    fill(hint, `The class comes from the folder (${first}/…, ${second}/… or train/${first}/…) or the file name (${first}.0.jpg). Duplicates are skipped.`);
  };
  update(dataset);
  const zone = el("section", { class: "drop", "aria-label": "Add images" },
    el("p", null, "Drop a folder, images, or a zip or tar archive here"),
    el("div", { class: "row" },
      picker("Choose a folder", { webkitdirectory: true }),
      picker("Choose images or an archive", { accept: "image/*,.zip,.tar,.gz,.tgz" })),
    hint,
    el("div", { class: "row" }, field("Split", split), field("Class", label)));
  droppable(zone, (data) => void dropped(data).then(add, (error) => list.prepend(notice(error))));
  return { node: el("div", { class: "stack" }, zone, list), update };
}

/**
 * Uploads the files of a new dataset. If the user cancels it, the dataset is deleted.
 *
 * @param {import("./types.js").Dataset} dataset
 * @param {import("./files.js").Found[]} files
 * @param {import("./files.js").Target} target
 * @param {(() => Promise<void>) | null} finish called after all files were uploaded
 */
export function uploadNew(dataset, files, target, finish) {
  const upload = new Upload(dataset, files, target, () => {});
  upload.fresh = true;
  upload.finish = finish;
  upload.cancel.title = "Stop and delete the new dataset";
  known.set(dataset.id, [upload]);
  upload.queue();
}

/** The state of an upload to the dataset that is under way in this tab, and a promise of its end. @param {string} dataset its id */
export function uploadTo(dataset) {
  const upload = known.get(dataset)?.find(({ ended }) => ended);
  return upload?.ended ? { badge: upload.badge, ended: upload.ended } : null;
}

/** One upload: the files of one drop or one file dialog. */
class Upload {
  /**
   * @param {import("./types.js").Dataset} dataset
   * @param {import("./files.js").Found[]} files
   * @param {import("./files.js").Target} options
   * @param {() => void} done
   */
  constructor(dataset, files, options, done) {
    this.dataset = dataset;
    this.files = files;
    this.options = options;
    this.done = done;
    /** Whether the dataset was created for this upload, which has not succeeded yet. */
    this.fresh = false;
    /** @type {(() => Promise<void>) | null} */
    this.finish = null;
    /** Settled when the upload is over; null while it is not confirmed. @type {Promise<void> | null} */
    this.ended = null;
    this.leave = new AbortController();
    /** Report of the last attempt. @type {Report} */
    this.report = emptyReport();
    this.title = files.length === 1 ? files[0].path : plural(files.length, "file");
    this.bar = el("progress", { max: 1, value: 0, "aria-label": `Upload of ${this.title}` });
    this.text = el("span", { class: "soft" }, "Queued");
    /** Shows the state on the page of all datasets. */
    this.badge = el("span", { class: "badge running" });
    this.below = el("div", { class: "stack" });
    this.cancel = button("Cancel", () => this.leave.abort());
    this.node = el("div", { class: "panel upload" },
      el("div", { class: "row apart" }, el("b", null, this.title), this.text, this.cancel), this.bar, this.below);
  }

  /** @param {string} text the state in a word or two */
  say(text) {
    this.text.textContent = text;
    this.badge.textContent = `Upload: ${text[0].toLowerCase()}${text.slice(1)}`;
  }

  /** Shows what would be added, and waits for the user to confirm. Files of one class, or of none, need no preview. */
  async check() {
    if (this.options.labels === "none" || (this.options.label && !this.files.some((found) => isArchive(found.path)))) {
      this.queue();
      return;
    }
    this.leave = new AbortController();
    this.say("Checking…");
    fill(this.below);
    this.bar.hidden = this.cancel.hidden = false;
    try {
      const preview = await previewOf(this.dataset.id, this.files, this.options, (fraction) => {
        this.bar.value = fraction;
        this.say(fraction < 1 ? `Checking: ${percent(fraction)}` : "Checking…");
      }, this.leave.signal);
      const found = images(preview) + preview.not_images;
      const what = plural(found, preview.not_images > 0 ? "file" : "image");
      const send = button(found === 0 ? "Nothing to upload" : `Upload ${what}`, () => this.queue(), { class: "primary", disabled: found === 0 });
      this.say("Not uploaded yet");
      fill(this.below, describe(preview), el("div", { class: "row" }, send, button("Cancel", () => this.node.remove())));
      announce(`${this.title}: ${plural(preview.classes.length, "class")}, ${what}`);
      if (found > 0) send.focus({ preventScroll: true });
    } catch (error) {
      if (isAbort(error)) this.node.remove();
      else fill(this.below, notice(error), button("Try again", () => void this.check()));
    }
    this.bar.hidden = this.cancel.hidden = true;
  }

  /** Runs after all earlier uploads. */
  queue() {
    this.leave = new AbortController();
    this.report = emptyReport();
    this.cancel.hidden = false;
    this.bar.hidden = false;
    this.bar.value = 0;
    this.say("Queued");
    fill(this.below, el("p", { class: "hint" }, "Keep this tab open until the upload is complete; you can use other pages meanwhile."));
    unfinished += 1;
    this.ended = turn = turn.then(() => this.run()).finally(() => {
      unfinished -= 1;
      this.ended = null;
    });
  }

  async run() {
    try {
      this.report = await sendAll(this.dataset.id, this.files, this.options, (fraction, report) => {
        this.report = structuredClone(report);
        this.bar.value = fraction;
        this.say(fraction < 1 ? percent(fraction) : "Processing…");
      }, this.leave.signal);
      this.fresh = false;
      fill(this.below);
      await this.complete();
    } catch (error) {
      const cancelled = isAbort(error);
      if (cancelled && this.fresh && known.get(this.dataset.id)?.length === 1) {
        await this.discard();
        return;
      }
      // The error of a truncated archive includes a report of the images read before it.
      if (error instanceof Problem && error.members?.added !== undefined) addTo(this.report, error.members);
      fill(this.below, cancelled ? el("p", { class: "soft" }, "Cancelled. Images already added are kept.") : notice(error));
      this.below.append(button("Try again", () => this.queue()));
    }
    this.bar.hidden = true;
    this.cancel.hidden = true;
    this.showReport();
    if (this.report.added > 0) this.done();
  }

  /** What is left to do after all files were uploaded; the user can also do it on the page. */
  async complete() {
    this.cancel.hidden = true;
    await this.finish?.().catch((error) => this.below.append(notice(error)));
    this.finish = null;
  }

  /** Deletes the dataset, which has nothing but a part of this upload. */
  async discard() {
    this.bar.hidden = this.cancel.hidden = true;
    this.say("Deleting…");
    try {
      await send("DELETE", `datasets/${path(this.dataset.id)}`);
      known.delete(this.dataset.id);
      announce(`${this.dataset.name} deleted`);
      if (this.node.isConnected) location.hash = "#/datasets";
    } catch (error) {
      this.say("Cancelled");
      fill(this.below, notice(error));
    }
  }

  /** Shows how many files were added, skipped and rejected, and why. */
  showReport() {
    const { added, duplicates, rejected_total: rejections } = this.report;
    const summary = `${count(added)} added, ${plural(duplicates, "duplicate")}, ${count(rejections)} rejected`;
    this.say(summary);
    announce(`${this.title}: ${summary}`);
    this.below.append(el("div", { class: "stack" }, refused(this.report)));
  }
}
