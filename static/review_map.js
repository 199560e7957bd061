/**
 * The map: every image is a point of the colour of its class, on a canvas that zooms and pans. A click
 * opens the image; a lasso relabels those within, which can be undone.
 */

import { concurrently, get, path } from "./api.js";
import { attempt, button, count, el, fill, plural } from "./dom.js";
import { pickClass } from "./classpicker.js";
import { picture } from "./picture.js";
import { imageChange } from "./review_stage.js";

/** @typedef {import("./types.js").ReviewMap} Points */

const MAX_ZOOM = 200;
/** Distance in CSS pixels within which a click means a point. */
const NEAR = 12;
/** Movement in CSS pixels that makes a click a drag. */
const DRAG = 4;
/** Classes that the legend names. */
const NAMED = 24;
/** Classes with a button beside an opened image. */
const BUTTONS = 9;
/** Half the side of a point in CSS pixels, by the number of images. @type {[most: number, radius: number][]} */
const RADII = [[500, 5], [2000, 3], [10_000, 2], [Infinity, 1.2]];

/** @param {import("./review_stage.js").Context} context @returns {import("./review_stage.js").View} */
export function reviewMap(context) {
  return { node: new ReviewMap(context).node, isFinished: () => false };
}

class ReviewMap {
  /** @param {import("./review_stage.js").Context} context */
  constructor({ dataset, url, signal, changed }) {
    this.dataset = dataset;
    this.changed = changed;
    this.signal = signal;
    /** @type {Points} */
    this.points = { classes: [], images: [], x: [], y: [], labels: [], mislabelled: [] };
    /** Zoom, and the place of the map at the canvas's upper left corner. */
    this.zoom = 1;
    this.left = 0;
    this.top = 0;
    /** Labels of the possibly mislabelled images when the map was made, by place. @type {Map<number, number | null>} */
    this.suspects = new Map();
    /** What the images that were relabelled last had before: places and labels. @type {[place: number, label: number][]} */
    this.before = [];
    /** Whether a drag draws a lasso. */
    this.lassoes = false;
    /** @type {[number, number][]} */
    this.lasso = [];
    /** Places of the selected points. @type {number[]} */
    this.selected = [];
    /** Pointers that are down, by id. @type {Map<number, [number, number]>} */
    this.pointers = new Map();
    this.moved = 0;
    this.queued = false;

    this.canvas = el("canvas", { class: "map", tabIndex: 0, role: "img",
      onpointerdown: (/** @type {PointerEvent} */ event) => this.down(event),
      onpointermove: (/** @type {PointerEvent} */ event) => this.move(event),
      onpointerup: (/** @type {PointerEvent} */ event) => this.up(event),
      onpointercancel: (/** @type {PointerEvent} */ event) => this.up(event),
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event) });
    this.canvas.addEventListener("wheel", (event) => {
      event.preventDefault();
      this.zoomAt(Math.exp(-event.deltaY / 300), this.at(event));
    }, { passive: false });
    this.legend = el("ul", { class: "legend" });
    this.messages = el("div", null);
    this.status = el("span", { class: "soft", role: "status" });
    this.label = el("select", { class: "inline", "aria-label": "Class for the selected images", onchange: () => this.enable() });
    this.relabelButton = button("Relabel", () => this.relabelSelected(), { class: "primary" });
    this.undoButton = button("Undo", () => void this.undo(), { title: "Give the images that were relabelled last the labels that they had (u)" });
    this.clearButton = button("Clear selection", () => this.select([]));
    this.lassoButton = button("Lasso", () => this.setLasso(!this.lassoes), { "aria-pressed": "false", title: "Select images by drawing around them (or hold Shift)" });
    this.opened = el("div", { class: "map-opened", hidden: true });
    this.node = el("div", { class: "stack" },
      el("p", { class: "soft" }, "Images that look alike are close together. Circled points are possibly mislabelled."),
      el("div", { class: "row apart" },
        el("div", { class: "row" }, this.lassoButton, button("Zoom in", () => this.zoomAt(1.6)), button("Zoom out", () => this.zoomAt(1 / 1.6)), button("Whole map", () => this.whole())),
        el("div", { class: "row" }, this.status, this.label, this.relabelButton, this.undoButton, this.clearButton)),
      el("p", { class: "hint" }, "Drag to move, scroll or pinch to zoom, click a point to open its image, hold ", el("kbd", null, "Shift"), " and drag to select. Keys: arrows, ", el("kbd", null, "+"), ", ", el("kbd", null, "-"), ", ", el("kbd", null, "0"), ", ", el("kbd", null, "u"), " (undo), ", el("kbd", null, "Escape"), "."),
      el("div", { class: "map-box" }, this.canvas, this.opened), this.messages, this.legend);
    this.select([]);
    new ResizeObserver(() => this.draw()).observe(this.canvas);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    scheme.addEventListener("change", () => {
      this.explain();
      this.draw();
    }, { signal });
    void attempt(this.messages, async () => {
      this.points = await get(`${url}/map`, signal);
      this.suspects = new Map(this.points.mislabelled.map((place) => [place, this.points.labels[place]]));
      this.canvas.setAttribute("aria-label", `Map of ${plural(this.points.images.length, "image")} of ${plural(this.points.classes.length, "class")}, ${count(this.points.mislabelled.length)} possibly mislabelled`);
      fill(this.label, el("option", { value: "" }, "Choose a class"), this.points.classes.map((name) => el("option", { value: name }, name)));
      this.explain();
      this.draw();
    });
  }

  /** Whether an image has the label that is possibly wrong. @param {number} place */
  isSuspect(place) {
    return this.suspects.get(place) === this.points.labels[place];
  }

  /** The colour of a class. @param {number | null} label */
  colour(label) {
    const dark = matchMedia("(prefers-color-scheme: dark)").matches;
    if (label === null) return dark ? "#8a8f99" : "#777a80";
    const hue = (label * 137.5 + 20) % 360;
    return `hsl(${hue} ${dark ? "70% 66%" : "75% 40%"})`;
  }

  explain() {
    const { classes, labels } = this.points;
    const numbers = new Map();
    for (const label of labels) numbers.set(label, (numbers.get(label) ?? 0) + 1);
    const entry = (/** @type {string} */ name, /** @type {number | null} */ label) => {
      const key = el("span", { class: "dot" });
      key.style.background = this.colour(label);
      return el("li", null, key, `${name} (${count(numbers.get(label) ?? 0)})`);
    };
    fill(this.legend, classes.slice(0, NAMED).map((name, label) => entry(name, label)),
      classes.length > NAMED ? el("li", null, `and ${classes.length - NAMED} more`) : null,
      numbers.has(null) ? entry("unlabelled", null) : null);
  }

  /** The length of the map's side on the canvas, in CSS pixels, and its margin. */
  scale() {
    const margin = 16;
    return { margin, width: (this.canvas.clientWidth - 2 * margin) * this.zoom, height: (this.canvas.clientHeight - 2 * margin) * this.zoom };
  }

  /**
   * Where a point is on the canvas.
   *
   * @param {number} place
   * @param {ReturnType<ReviewMap["scale"]>} scale
   * @returns {[number, number]}
   */
  position(place, { margin, width, height }) {
    return [margin + (this.points.x[place] - this.left) * width, margin + (this.points.y[place] - this.top) * height];
  }

  draw() {
    if (this.queued) return;
    this.queued = true;
    requestAnimationFrame(() => {
      this.queued = false;
      this.paint();
    });
  }

  paint() {
    const { canvas } = this;
    const ratio = devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth, canvas.clientHeight];
    if (width === 0) return;
    if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
    if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
    const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const total = this.points.images.length;
    const scale = this.scale();
    const [, least] = RADII.find(([most]) => total <= most) ?? RADII[0];
    const radius = Math.min(6, least * Math.sqrt(Math.max(this.zoom, 1)));
    const colours = new Map();
    const chosen = new Set(this.selected);
    for (let place = 0; place < total; place += 1) {
      const [x, y] = this.position(place, scale);
      if (x < -9 || y < -9 || x > width + 9 || y > height + 9) continue;
      const label = this.points.labels[place];
      if (!colours.has(label)) colours.set(label, this.colour(label));
      pen.fillStyle = colours.get(label);
      // A selection stands out: the other points are pale, and its own have a frame.
      pen.globalAlpha = chosen.size > 0 && !chosen.has(place) ? 0.25 : 1;
      pen.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
    }
    pen.globalAlpha = 1;
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineWidth = 1.5;
    for (const place of this.suspects.keys()) {
      if (!this.isSuspect(place)) continue;
      const [x, y] = this.position(place, scale);
      pen.beginPath();
      pen.arc(x, y, radius + 3.5, 0, 7);
      pen.stroke();
    }
    pen.lineWidth = 2;
    for (const place of chosen) {
      const [x, y] = this.position(place, scale);
      pen.strokeRect(x - radius - 1, y - radius - 1, 2 * radius + 2, 2 * radius + 2);
    }
    if (this.lasso.length > 1) {
      pen.beginPath();
      for (const [x, y] of this.lasso) pen.lineTo(x, y);
      pen.closePath();
      pen.setLineDash([5, 4]);
      pen.stroke();
      pen.setLineDash([]);
    }
  }

  /** @param {{ clientX: number, clientY: number }} event @returns {[number, number]} */
  at(event) {
    const box = this.canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  }

  /** @param {number} factor @param {[number, number]} [fixed] the place on the canvas that stays where it is */
  zoomAt(factor, fixed = [this.canvas.clientWidth / 2, this.canvas.clientHeight / 2]) {
    const before = this.scale();
    const x = this.left + (fixed[0] - before.margin) / before.width;
    const y = this.top + (fixed[1] - before.margin) / before.height;
    this.zoom = Math.min(Math.max(this.zoom * factor, 0.5), MAX_ZOOM);
    const after = this.scale();
    this.left = x - (fixed[0] - after.margin) / after.width;
    this.top = y - (fixed[1] - after.margin) / after.height;
    this.draw();
  }

  whole() {
    [this.zoom, this.left, this.top] = [1, 0, 0];
    this.draw();
  }

  /** @param {number} x @param {number} y in CSS pixels */
  pan(x, y) {
    const { width, height } = this.scale();
    this.left -= x / width;
    this.top -= y / height;
    this.draw();
  }

  /** @param {boolean} on */
  setLasso(on) {
    this.lassoes = on;
    this.lassoButton.setAttribute("aria-pressed", String(on));
    this.canvas.classList.toggle("lassoes", on);
  }

  /** @param {PointerEvent} event */
  down(event) {
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    this.moved = 0;
    this.lasso = this.pointers.size === 1 && (this.lassoes || event.shiftKey) ? [this.at(event)] : [];
  }

  /** @param {PointerEvent} event */
  move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.at(event);
    const others = [...this.pointers.entries()].filter(([id]) => id !== event.pointerId);
    this.pointers.set(event.pointerId, now);
    const [x, y] = [now[0] - before[0], now[1] - before[1]];
    this.moved += Math.hypot(x, y);
    if (others.length > 0) {
      const [, other] = others[0];
      const distance = (/** @type {[number, number]} */ from) => Math.hypot(from[0] - other[0], from[1] - other[1]);
      this.zoomAt(distance(now) / Math.max(distance(before), 1), other);
    } else if (this.lasso.length > 0) {
      this.lasso.push(now);
      this.draw();
    } else this.pan(x, y);
  }

  /** @param {PointerEvent} event */
  up(event) {
    if (!this.pointers.delete(event.pointerId)) return;
    const { lasso } = this;
    this.lasso = [];
    if (lasso.length > 2 && this.moved > DRAG) this.select(this.within(lasso));
    else if (this.moved <= DRAG && event.type === "pointerup") this.click(this.at(event));
    this.draw();
  }

  /** Places of the points within a polygon. @param {[number, number][]} polygon */
  within(polygon) {
    const found = [];
    const scale = this.scale();
    for (let place = 0; place < this.points.images.length; place += 1) {
      const [x, y] = this.position(place, scale);
      let inside = false;
      for (let one = 0, other = polygon.length - 1; one < polygon.length; other = one, one += 1) {
        const [[ax, ay], [bx, by]] = [polygon[one], polygon[other]];
        if (ay > y !== by > y && x < ((bx - ax) * (y - ay)) / (by - ay) + ax) inside = !inside;
      }
      if (inside) found.push(place);
    }
    return found;
  }

  /** @param {[number, number]} at */
  click([x, y]) {
    let [nearest, least] = [-1, NEAR];
    const scale = this.scale();
    for (let place = 0; place < this.points.images.length; place += 1) {
      const [px, py] = this.position(place, scale);
      const distance = Math.hypot(px - x, py - y);
      if (distance < least) [nearest, least] = [place, distance];
    }
    if (nearest >= 0) this.open(nearest);
    else this.opened.hidden = true;
  }

  /** Shows the image of a point beside the map. @param {number} place */
  open(place) {
    const label = this.points.labels[place];
    const name = label === null ? "unlabelled" : this.points.classes[label];
    const wrong = this.isSuspect(place) ? ", possibly mislabelled" : "";
    const others = this.points.classes.filter((_, other) => other !== label);
    fill(this.opened, picture(`images/${path(this.points.images[place])}/thumbnail?size=320`, `Image of class ${name}`),
      el("p", null, `${name}${wrong}`),
      el("div", { class: "actions", role: "group", "aria-label": "Relabel as" },
        others.length <= BUTTONS ? [el("span", { class: "soft" }, label === null ? "Label as" : "Relabel as"), ...others.map((other) => button(other, () => this.relabelOpened(place, other)))]
          : button("Relabel…", () => void pickClass(others, "Relabel as").then((other) => (other ? this.relabelOpened(place, other) : undefined)))),
      el("div", { class: "actions" }, button("Select", () => this.select([place])), button("Close", () => (this.opened.hidden = true))));
    this.opened.hidden = false;
  }

  /** @param {number[]} places */
  select(places) {
    this.selected = places;
    this.enable();
    this.status.textContent = places.length === 0 ? "Nothing selected" : `${plural(places.length, "image")} selected`;
    this.draw();
  }

  /** Enables what can be done now; the rest stays where it is, so that the map does. */
  enable() {
    this.label.disabled = this.clearButton.disabled = this.selected.length === 0;
    this.relabelButton.disabled = this.selected.length === 0 || this.label.value === "";
    this.undoButton.disabled = this.before.length === 0;
  }

  async relabelSelected() {
    const label = this.label.value;
    const to = this.points.classes.indexOf(label);
    const places = this.selected.filter((place) => this.points.labels[place] !== to);
    if (!(await this.relabel(places.map((place) => [place, to])))) return;
    this.select([]);
    this.status.textContent = `${plural(places.length, "image")} labelled as ${label}.`;
  }

  /** @param {number} place @param {string} label */
  async relabelOpened(place, label) {
    if (await this.relabel([[place, this.points.classes.indexOf(label)]])) this.open(place);
  }

  /** Takes the last relabelling back; what fails can be undone again. */
  async undo() {
    if (this.undoButton.disabled) return;
    const undone = this.before;
    await this.relabel(undone);
    this.before = undone.filter(([place, label]) => this.points.labels[place] !== label);
    this.status.textContent = `Undone for ${plural(undone.length - this.before.length, "image")}.`;
    this.enable();
  }

  /** Whether all images at these places have these labels now. @param {[place: number, label: number][]} changes */
  async relabel(changes) {
    /** @type {[place: number, label: number][]} */
    const before = [];
    this.before = [];
    this.enable();
    this.relabelButton.disabled = true;
    const went = await attempt(this.messages, () => concurrently(changes, async ([place, label]) => {
      await imageChange(this.dataset, "PATCH", { label: this.points.classes[label] }).work([this.points.images[place]]);
      const old = this.points.labels[place];
      // An image that had no label can't lose the one that it got.
      if (old !== null) before.push([place, old]);
      this.points.labels[place] = label;
      this.draw();
    }));
    this.before = before;
    this.enable();
    this.explain();
    this.changed();
    return went;
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    const step = 40;
    /** @type {Record<string, () => void>} */
    const keys = {
      ArrowLeft: () => this.pan(step, 0), ArrowRight: () => this.pan(-step, 0), ArrowUp: () => this.pan(0, step), ArrowDown: () => this.pan(0, -step),
      "+": () => this.zoomAt(1.6), "=": () => this.zoomAt(1.6), "-": () => this.zoomAt(1 / 1.6), 0: () => this.whole(), u: () => void this.undo(),
      Escape: () => { this.select([]); this.setLasso(false); this.opened.hidden = true; },
    };
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    keys[event.key]();
    event.preventDefault();
  }
}
