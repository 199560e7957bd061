/** Records bursts of photos with the camera: while a button is held, or after a countdown. */

import { closeCamera, frame, hasSeveralCameras, openCamera, viewOf } from "./camera.js";
import { announce, button, el, fill, notice, plural } from "./dom.js";

/** Milliseconds from photo to photo. */
const INTERVAL = 100;
/** Seconds of the countdown, and of the recording after it. */
const COUNTDOWN = 3;
const RECORDING = 3;

/** Ends the recorder that is open: there is one camera. */
let closeOther = () => {};

/**
 * Opens the camera in `place`.
 *
 * @param {HTMLElement} place
 * @param {(files: File[]) => void} done receives the photos of a burst when it ends
 * @param {(file: File) => void} taken receives each photo at once
 * @returns {() => void} ends it
 */
export function recorder(place, done, taken) {
  closeOther();
  /** @type {MediaStream | null} */
  let stream = null;
  /** @type {"environment" | "user"} */
  let facing = "environment";
  let closed = false;
  /** Photos of the current burst; null while none is recorded. @type {File[] | null} */
  let burst = null;
  let timer = 0;
  const close = () => {
    stop();
    closed = true;
    window.clearTimeout(timer);
    closeCamera(stream);
    fill(place);
  };
  closeOther = close;
  const start = (/** @type {HTMLVideoElement} */ video) => {
    if (burst || closed) return;
    /** @type {File[]} */
    const files = [];
    burst = files;
    const next = async () => {
      const at = performance.now();
      const file = await frame(video);
      if (burst !== files) return;
      if (file) {
        files.push(file);
        taken(file);
      }
      timer = window.setTimeout(() => void next(), Math.max(0, INTERVAL - (performance.now() - at)));
    };
    void next();
  };
  const stop = () => {
    const files = burst;
    burst = null;
    window.clearTimeout(timer);
    if (files?.length) {
      announce(`${plural(files.length, "photo")} taken`);
      done(files);
    }
  };
  const show = async () => {
    fill(place, el("p", { class: "soft" }, "Waiting for the camera…"));
    try {
      closeCamera(stream);
      stream = await openCamera(facing);
      if (closed) return closeCamera(stream);
      const video = viewOf(stream);
      const countdown = el("span", { class: "countdown", "aria-live": "assertive" });
      const hold = button("Hold to record", () => {}, { class: "primary hold" });
      hold.addEventListener("pointerdown", (event) => {
        hold.setPointerCapture(event.pointerId);
        start(video);
      });
      for (const kind of ["pointerup", "pointercancel", "lostpointercapture", "blur"]) hold.addEventListener(kind, stop);
      // A long press on a phone would open a menu.
      hold.addEventListener("contextmenu", (event) => event.preventDefault());
      hold.addEventListener("keydown", (event) => {
        if (event.key === " " || event.key === "Enter") {
          event.preventDefault();
          start(video);
        }
      });
      hold.addEventListener("keyup", stop);
      const timed = button(`Record in ${COUNTDOWN} s`, () => {
        timed.disabled = true;
        const tick = (/** @type {number} */ left) => {
          if (closed) return;
          countdown.textContent = left > 0 ? String(left) : "";
          if (left > 0) {
            window.setTimeout(tick, 1000, left - 1);
            return;
          }
          start(video);
          window.setTimeout(() => {
            stop();
            timed.disabled = false;
          }, RECORDING * 1000);
        };
        tick(COUNTDOWN);
      }, { title: `Counts down, then takes ${(RECORDING * 1000) / INTERVAL} photos: both hands are free` });
      const other = button("Switch camera", () => {
        stop();
        facing = facing === "environment" ? "user" : "environment";
        void show();
      }, { hidden: true });
      void hasSeveralCameras().then((several) => (other.hidden = !several), () => {});
      fill(place, el("div", { class: "stack recorder" },
        el("div", { class: "screen" }, video, countdown),
        el("div", { class: "row" }, hold, timed, other, button("Close camera", close))));
      hold.focus({ preventScroll: true });
    } catch (error) {
      fill(place, notice(error));
    }
  };
  void show();
  return close;
}
