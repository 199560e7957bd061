/** Files, folders and archives on their way into a dataset. */

import { Problem } from "./api.js";
import { announce, button, count, droppable, el, field, fill, isAbort, notice, percent, select } from "./dom.js";
import { addTo, dropped, emptyReport, picked, sendAll } from "./files.js";

/** @typedef {import("./types.js").UploadReport} Report */

/** By dataset, newest first: they go on while other pages are looked at. @type {Map<string, Upload[]>} */
const known = new Map();

/** One upload after the other. */
let turn = Promise.resolve();
let underWay = 0;

window.addEventListener("beforeunload", (event) => {
  if (underWay > 0) event.preventDefault();
});

/**
 * Where to drop photos, and what became of each upload.
 *
 * @param {import("./types.js").Dataset} dataset
 * @param {() => void} done called when images were added
 */
export function uploads(dataset, done) {
  const split = select([["auto", "from folders, else 70/15/15"], "train", "validation", "test"], { value: "auto" });
  const label = select([["", "from folders or file names"], ...dataset.classes], { value: "" });
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
      list.prepend(notice("There was no file in that."));
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
    el("p", null, "Drop a folder, photos, or a zip or tar archive here"),
    el("div", { class: "row" },
      picker("Choose a folder", { webkitdirectory: true }),
      picker("Choose photos or an archive", { accept: "image/*,.zip,.tar,.gz,.tgz" })),
    el("p", { class: "hint" }, `Folders tell the class: ${first}/…, ${second}/…, or train/${first}/…; so do names like ${first}.0.jpg. A photo that is there already is not added twice.`),
    el("div", { class: "row" }, field("Split", split), field("Class", label)));
  droppable(zone, (data) => void dropped(data).then(add, (error) => list.prepend(notice(error))));
  return el("div", { class: "stack" }, zone, list);
}

/** One drop or pick on its way. */
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
    /** Of the last try. @type {Report} */
    this.report = emptyReport();
    this.title = files.length === 1 ? files[0].path : `${count(files.length)} files`;
    this.bar = el("progress", { max: 1, value: 0, "aria-label": `Upload of ${this.title}` });
    this.text = el("span", { class: "soft" }, "waiting");
    this.below = el("div", { class: "stack" });
    this.cancel = button("Cancel", () => this.leave.abort());
    this.node = el("div", { class: "panel upload" },
      el("div", { class: "row apart" }, el("b", null, this.title), this.text, this.cancel), this.bar, this.below);
  }

  /** Runs when those before it have. */
  queue() {
    this.leave = new AbortController();
    this.report = emptyReport();
    this.cancel.hidden = false;
    this.bar.hidden = false;
    this.text.textContent = "waiting";
    fill(this.below);
    underWay += 1;
    turn = turn.then(() => this.run()).finally(() => (underWay -= 1));
  }

  async run() {
    try {
      this.report = await sendAll(this.dataset.id, this.files, this.options, (share, report) => {
        this.report = structuredClone(report);
        this.bar.value = share;
        this.text.textContent = share < 1 ? percent(share) : "the server checks them …";
      }, this.leave.signal);
    } catch (error) {
      const cancelled = isAbort(error);
      // An archive that broke off says what was read of it before.
      if (error instanceof Problem && error.members?.added !== undefined) addTo(this.report, error.members);
      fill(this.below, cancelled ? el("p", { class: "soft" }, "Cancelled. What had been added stays.") : notice(error));
      this.below.append(button("Try again", () => this.queue()));
    }
    this.bar.hidden = true;
    this.cancel.hidden = true;
    this.showReport();
    if (this.report.added > 0) this.done();
  }

  /** What became of the files. */
  showReport() {
    const { added, duplicates, rejected, rejected_total: rejections, ignored } = this.report;
    this.text.textContent = `${count(added)} added, ${count(duplicates)} there already, ${count(rejections)} rejected`;
    announce(`${this.title}: ${this.text.textContent}`);
    if (ignored.count > 0) {
      const files = ignored.count === 1 ? "file" : "files";
      const more = ignored.count > 3 ? ", such as" : ":";
      this.below.append(el("p", { class: "soft" }, `${count(ignored.count)} ${files} ignored${more} ${ignored.examples.slice(0, 3).join(", ")}`));
    }
    if (rejections === 0) return;
    const rows = rejected.map(({ file, detail }) => el("tr", null, el("th", { scope: "row" }, file), el("td", null, detail)));
    const more = rejections > rejected.length ? el("p", { class: "soft" }, `… and ${count(rejections - rejected.length)} more`) : null;
    this.below.append(el("details", { open: rejected.length <= 10 }, el("summary", null, "What was rejected, and why"),
      el("div", { class: "scroll" }, el("table", null, el("tbody", null, rows))), more));
  }
}
