/** Uploads of files, folders and archives to a dataset. */

import { Problem } from "./api.js";
import { announce, button, count, droppable, el, field, fill, isAbort, notice, percent, plural, select } from "./dom.js";
import { addTo, dropped, emptyReport, picked, sendAll } from "./files.js";

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
  const label = select([["", "Auto: from folder or file names"], ...dataset.classes], { value: "" });
  const list = el("div", { class: "stack" });
  const mine = known.get(dataset.id) ?? [];
  known.set(dataset.id, mine);
  for (const upload of mine) {
    upload.done = done;
    list.append(upload.node);
  }
  /** @param {import("./files.js").Found[]} found */
  const add = (found) => {
    if (found.length === 0) {
      list.prepend(notice("No files found."));
      return;
    }
    const upload = new Upload(dataset, found, { split: split.value, label: label.value }, done);
    mine.unshift(upload);
    list.prepend(upload.node);
    upload.queue();
  };
  /** @param {string} text @param {Record<string, any>} properties */
  const picker = (text, properties) => {
    const input = el("input", { type: "file", class: "file", multiple: true, ...properties, onchange: () => {
      add(picked(input.files));
      input.value = "";
    } });
    return el("label", { class: "button" }, text, input);
  };

  const [first, second] = dataset.classes;
  const zone = el("section", { class: "drop", "aria-label": "Add images" },
    el("p", null, "Drop a folder, images, or a zip or tar archive here"),
    el("div", { class: "row" },
      picker("Choose a folder", { webkitdirectory: true }),
      picker("Choose images or an archive", { accept: "image/*,.zip,.tar,.gz,.tgz" })),
    el("p", { class: "hint" }, `The class comes from the folder (${first}/…, ${second}/… or train/${first}/…) or the file name (${first}.0.jpg). Duplicates are skipped.`),
    el("div", { class: "row" }, field("Split", split), field("Class", label)));
  droppable(zone, (data) => void dropped(data).then(add, (error) => list.prepend(notice(error))));
  return el("div", { class: "stack" }, zone, list);
}

/** One upload: the files of one drop or one file dialog. */
class Upload {
  /**
   * @param {import("./types.js").Dataset} dataset
   * @param {import("./files.js").Found[]} files
   * @param {{ split: string, label: string }} options
   * @param {() => void} done
   */
  constructor(dataset, files, options, done) {
    this.dataset = dataset;
    this.files = files;
    this.options = options;
    this.done = done;
    this.leave = new AbortController();
    /** Report of the last attempt. @type {Report} */
    this.report = emptyReport();
    this.title = files.length === 1 ? files[0].path : plural(files.length, "file");
    this.bar = el("progress", { max: 1, value: 0, "aria-label": `Upload of ${this.title}` });
    this.text = el("span", { class: "soft" }, "Queued");
    this.below = el("div", { class: "stack" });
    this.cancel = button("Cancel", () => this.leave.abort());
    this.node = el("div", { class: "panel upload" },
      el("div", { class: "row apart" }, el("b", null, this.title), this.text, this.cancel), this.bar, this.below);
  }

  /** Runs after all earlier uploads. */
  queue() {
    this.leave = new AbortController();
    this.report = emptyReport();
    this.cancel.hidden = false;
    this.bar.hidden = false;
    this.text.textContent = "Queued";
    fill(this.below);
    unfinished += 1;
    turn = turn.then(() => this.run()).finally(() => (unfinished -= 1));
  }

  async run() {
    try {
      this.report = await sendAll(this.dataset.id, this.files, this.options, (fraction, report) => {
        this.report = structuredClone(report);
        this.bar.value = fraction;
        this.text.textContent = fraction < 1 ? percent(fraction) : "Processing…";
      }, this.leave.signal);
    } catch (error) {
      const cancelled = isAbort(error);
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

  /** Shows how many files were added, skipped and rejected, and why. */
  showReport() {
    const { added, duplicates, rejected, rejected_total: rejections, ignored } = this.report;
    this.text.textContent = `${count(added)} added, ${plural(duplicates, "duplicate")}, ${count(rejections)} rejected`;
    announce(`${this.title}: ${this.text.textContent}`);
    if (ignored.count > 0) {
      const more = ignored.count > 3 ? ", such as" : ":";
      this.below.append(el("p", { class: "soft" }, `${plural(ignored.count, "file")} ignored${more} ${ignored.examples.slice(0, 3).join(", ")}`));
    }
    if (rejections === 0) return;
    const rows = rejected.map(({ file, detail }) => el("tr", null, el("th", { scope: "row" }, file), el("td", null, detail)));
    const more = rejections > rejected.length ? el("p", { class: "soft" }, `… and ${count(rejections - rejected.length)} more`) : null;
    this.below.append(el("details", { open: rejected.length <= 10 }, el("summary", null, "Rejected files"),
      el("div", { class: "scroll" }, el("table", null, el("tbody", null, rows))), more));
  }
}
