/**
 * A heat map of a large square matrix on a canvas that shows the visible part of a scrolled area, with
 * zoom, and a cursor for pointer and keyboard.
 */

import { button, el, fill, percent, plural } from "./dom.js";

/** Pixels of a cell at each zoom level. */
const SIZES = [1, 2, 3, 4, 5, 6, 8, 10, 12, 15, 18, 22, 26];
/** Cells of at least so many pixels have names beside them, and numbers in them. */
const NAMED = 10;
const NUMBERED = 18;
/** Pixels of the names. */
const MARGIN = 118;
const HEIGHT = 620;
const COLOURS = ["--heat-ground", "--heat-right", "--heat-wrong", "--panel", "--ink", "--soft"];

export class HeatMap {
  /**
   * @param {string[]} labels @param {number[][]} matrix rows: true class @param {number[]} order indices of the classes
   * @param {(label: string, predicted: string) => void} open called for a cell with errors that is clicked
   */
  constructor(labels, matrix, order, open) {
    this.labels = labels;
    this.matrix = matrix;
    this.totals = matrix.map((row) => row.reduce((sum, one) => sum + one, 0));
    this.classes = order;
    this.open = open;
    this.size = 0;
    /** Row and column under the cursor. @type {[number, number] | null} */
    this.at = null;
    this.due = false;
    this.canvas = el("canvas", { "aria-hidden": "true" });
    this.space = el("div", { class: "space" });
    this.tip = el("div", { class: "tip", hidden: true });
    this.status = el("p", { class: "unseen", role: "status" });
    this.area = el("div", {
      class: "heat-area", tabIndex: 0, role: "application", "aria-label": `Confusion matrix of ${labels.length} classes; arrow keys move between cells`,
      onscroll: () => this.draw(),
      onpointermove: (/** @type {PointerEvent} */ event) => this.point(event),
      onpointerleave: () => this.move(null),
      onclick: (/** @type {PointerEvent} */ event) => {
        this.point(event);
        this.enter();
      },
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.key(event),
    }, this.canvas, this.space);
    this.node = el("div", { class: "heat" }, this.area, this.tip, this.status);
    this.out = button("−", () => this.step(-1), { "aria-label": "Zoom out", title: "Zoom out" });
    this.in = button("+", () => this.step(1), { "aria-label": "Zoom in", title: "Zoom in" });
    this.zoom = el("div", { class: "actions" }, this.out, this.in, button("Fit", () => this.resize(this.fitting()), { title: "Show the whole matrix" }));
    new ResizeObserver(() => {
      if (this.area.clientWidth > 0) this.resize(this.size || this.fitting());
    }).observe(this.node);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => (this.node.isConnected ? this.draw() : scheme.removeEventListener("change", redraw));
    scheme.addEventListener("change", redraw);
  }

  /** Rearranges the classes. @param {number[]} classes */
  order(classes) {
    this.classes = classes;
    this.move(null);
    this.draw();
  }

  /** The largest size at which the whole matrix is visible. */
  fitting() {
    const fits = SIZES.filter((size) => this.margin(size) + size * this.classes.length <= Math.min(this.node.clientWidth, HEIGHT));
    return fits.at(-1) ?? SIZES[0];
  }

  /** @param {number} by */
  step(by) {
    const next = SIZES[Math.min(Math.max(SIZES.indexOf(this.size) + by, 0), SIZES.length - 1)];
    const { area, size, at } = this;
    // The first cell in view stays the first.
    const [x, y] = [area.scrollLeft / size, area.scrollTop / size];
    this.resize(next);
    area.scrollTo(x * next, y * next);
    if (at) this.reveal(at);
    this.move(at);
  }

  /** @param {number} size */
  margin(size) {
    return size >= NAMED ? MARGIN : 0;
  }

  /** @param {number} size pixels of a cell */
  resize(size) {
    this.size = size;
    const { area, canvas, space } = this;
    const whole = this.margin(size) + size * this.classes.length + 1;
    const style = (/** @type {HTMLElement} */ node, /** @type {Record<string, number>} */ of) => {
      for (const [name, value] of Object.entries(of)) node.style.setProperty(name, `${value}px`);
    };
    // Without an own size the canvas must not hold the area open.
    style(canvas, { width: 0, height: 0 });
    style(area, { height: Math.min(whole + 16, HEIGHT) });
    style(space, { width: whole, height: whole });
    const [width, height] = [Math.min(area.clientWidth, whole), Math.min(area.clientHeight, whole)];
    style(canvas, { width, height, "margin-bottom": -height });
    [canvas.width, canvas.height] = [width * devicePixelRatio, height * devicePixelRatio].map(Math.round);
    this.out.disabled = size === SIZES[0];
    this.in.disabled = size === SIZES.at(-1);
    this.draw();
  }

  /** Draws once per frame. */
  draw() {
    if (this.due) return;
    this.due = true;
    requestAnimationFrame(() => {
      this.due = false;
      this.paint();
    });
  }

  paint() {
    const context = this.canvas.getContext("2d");
    if (!context || this.size === 0) return;
    const { area, size, classes, matrix, totals } = this;
    // Only a property that is a colour gives the value of `light-dark()`.
    const colours = new Map(COLOURS.map((name) => {
      this.canvas.style.color = `var(${name})`;
      return [name, getComputedStyle(this.canvas).color];
    }));
    const colour = (/** @type {string} */ name) => colours.get(name) ?? "";
    const [width, height] = [this.canvas.width / devicePixelRatio, this.canvas.height / devicePixelRatio];
    const margin = this.margin(size);
    const [left, top] = [area.scrollLeft, area.scrollTop];
    const first = (/** @type {number} */ scrolled) => Math.floor(scrolled / size);
    const last = (/** @type {number} */ scrolled, /** @type {number} */ seen) => Math.min(classes.length - 1, Math.floor((scrolled + seen - margin) / size));
    const [x, y] = [(/** @type {number} */ column) => margin + column * size - left, (/** @type {number} */ row) => margin + row * size - top];
    context.setTransform(devicePixelRatio, 0, 0, devicePixelRatio, 0, 0);
    context.clearRect(0, 0, width, height);
    context.save();
    context.beginPath();
    context.rect(margin, margin, width, height);
    context.clip();
    context.fillStyle = colour("--heat-ground");
    context.fillRect(x(0), y(0), size * classes.length, size * classes.length);
    context.font = "11px system-ui, sans-serif";
    context.textAlign = "center";
    context.textBaseline = "middle";
    for (let row = first(top); row <= last(top, height); row += 1) {
      for (let column = first(left); column <= last(left, width); column += 1) {
        const value = matrix[classes[row]][classes[column]];
        if (value === 0) continue;
        const share = value / (totals[classes[row]] || 1);
        const depth = 0.25 + 0.75 * Math.sqrt(share);
        const fill = colour(row === column ? "--heat-right" : "--heat-wrong");
        context.globalAlpha = depth;
        context.fillStyle = fill;
        const gap = size > 4 ? 1 : 0;
        context.fillRect(x(column), y(row), size - gap, size - gap);
        if (size < NUMBERED) continue;
        context.globalAlpha = 1;
        context.fillStyle = readable(mixed(fill, colour("--heat-ground"), depth), [colour("--panel"), colour("--ink")]);
        context.fillText(value > 99 ? "99+" : String(value), x(column) + size / 2, y(row) + size / 2, size - 2);
      }
    }
    context.globalAlpha = 1;
    if (this.at) {
      const [row, column] = this.at;
      context.strokeStyle = colour("--ink");
      context.lineWidth = 2;
      context.strokeRect(x(column) - 1, y(row) - 1, size + 1, size + 1);
    }
    context.restore();
    if (margin === 0) return;
    const names = (/** @type {number} */ from, /** @type {number} */ to, /** @type {(name: string, index: number) => void} */ write) => {
      for (let index = from; index <= to; index += 1) write(shortened(context, this.labels[classes[index]], MARGIN - 10), index);
    };
    context.fillStyle = colour("--soft");
    context.font = `${Math.min(size, 12)}px system-ui, sans-serif`;
    context.save();
    context.beginPath();
    context.rect(0, margin, margin, height);
    context.clip();
    context.textAlign = "right";
    names(first(top), last(top, height), (name, row) => context.fillText(name, margin - 6, y(row) + size / 2));
    context.restore();
    context.beginPath();
    context.rect(margin, 0, width, margin);
    context.clip();
    context.textAlign = "left";
    names(first(left), last(left, width), (name, column) => {
      context.save();
      context.translate(x(column) + size / 2, margin - 6);
      context.rotate(-Math.PI / 2);
      context.fillText(name, 0, 0);
      context.restore();
    });
  }

  /** @param {PointerEvent} event */
  point(event) {
    const { left, top } = this.area.getBoundingClientRect();
    const [x, y] = [event.clientX - left, event.clientY - top];
    const margin = this.margin(this.size);
    const [row, column] = [Math.floor((y - margin + this.area.scrollTop) / this.size), Math.floor((x - margin + this.area.scrollLeft) / this.size)];
    const inside = x >= margin && y >= margin && row < this.classes.length && column < this.classes.length;
    this.move(inside ? [row, column] : null);
  }

  /** @param {KeyboardEvent} event */
  key(event) {
    /** @type {Record<string, [number, number]>} */
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (event.key === "Enter" || event.key === " ") this.enter();
    else if (event.key === "+" || event.key === "-") this.step(event.key === "+" ? 1 : -1);
    else if (step && !event.ctrlKey && !event.metaKey && !event.altKey) {
      const clamp = (/** @type {number} */ value) => Math.min(Math.max(value, 0), this.classes.length - 1);
      const [row, column] = this.at ?? [-step[0], -step[1]];
      const to = /** @type {[number, number]} */ ([clamp(row + step[0]), clamp(column + step[1])]);
      this.reveal(to);
      this.move(to);
      this.status.textContent = this.describe(to);
    } else return;
    event.preventDefault();
  }

  /** Scrolls to a cell. @param {[number, number]} cell */
  reveal([row, column]) {
    const { area, size } = this;
    const margin = this.margin(size);
    const scrolled = (/** @type {number} */ index, /** @type {number} */ from, /** @type {number} */ seen) =>
      Math.min(Math.max(from, (index + 1) * size + margin - seen), index * size);
    area.scrollTo(scrolled(column, area.scrollLeft, area.clientWidth), scrolled(row, area.scrollTop, area.clientHeight));
  }

  /** @param {[number, number] | null} cell */
  move(cell) {
    this.at = cell;
    this.tip.hidden = !cell;
    this.draw();
    if (!cell) return;
    fill(this.tip, this.describe(cell));
    const [row, column] = cell;
    const margin = this.margin(this.size);
    const x = margin + (column + 1) * this.size - this.area.scrollLeft + 8;
    const y = margin + (row + 1) * this.size - this.area.scrollTop + 8;
    this.tip.style.left = `${Math.max(Math.min(x, this.node.clientWidth - this.tip.offsetWidth), 0)}px`;
    this.tip.style.top = `${y}px`;
  }

  /** @param {[number, number]} cell */
  describe([row, column]) {
    const [truth, predicted] = [this.classes[row], this.classes[column]];
    const value = this.matrix[truth][predicted];
    const share = this.totals[truth] ? ` (${percent(value / this.totals[truth])})` : "";
    return truth === predicted
      ? `${this.labels[truth]}: ${plural(value, "image")} classified correctly${share}`
      : `${this.labels[truth]} classified as ${this.labels[predicted]}: ${plural(value, "image")}${share}`;
  }

  enter() {
    if (!this.at) return;
    const [truth, predicted] = this.at.map((index) => this.classes[index]);
    if (truth !== predicted && this.matrix[truth][predicted] > 0) this.open(this.labels[truth], this.labels[predicted]);
  }
}

/** A name that fits into so many pixels. @param {CanvasRenderingContext2D} context @param {string} name @param {number} width */
function shortened(context, name, width) {
  if (context.measureText(name).width <= width) return name;
  let length = name.length;
  while (length > 1 && context.measureText(`${name.slice(0, length)}…`).width > width) length -= 1;
  return `${name.slice(0, length)}…`;
}

/** The channels of a colour, 0 to 1. @param {string} colour as in `rgb(1, 2, 3)` */
const channels = (colour) => (colour.match(/[\d.]+/g) ?? []).slice(0, 3).map((value) => Number(value) / 255);

/** @param {string} above @param {string} below @param {number} depth opacity of the upper one */
function mixed(above, below, depth) {
  const ground = channels(below);
  return channels(above).map((value, index) => value * depth + ground[index] * (1 - depth));
}

/** The colour with the highest contrast to a background. @param {number[]} background @param {string[]} colours */
function readable(background, colours) {
  const contrast = (/** @type {string} */ colour) => {
    const [low, high] = [luminance(background), luminance(channels(colour))].sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  };
  return colours.reduce((best, colour) => (contrast(colour) > contrast(best) ? colour : best));
}

/** Relative luminance, as in WCAG. @param {number[]} channels */
function luminance(channels) {
  const [red, green, blue] = channels.map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
