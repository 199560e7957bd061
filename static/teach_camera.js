/** Records bursts of photos with the camera: while a button is held, or after a countdown. */

import { closeCamera, frame, hasSeveralCameras, openCamera, viewOf } from "./camera.js";
import { announce, button, el, fill, isAbort, notice, plural } from "./dom.js";

/** Milliseconds from photo to photo. */
const INTERVAL = 100;
/** Seconds of the countdown, and of the recording after it. */
const [COUNTDOWN, RECORDING] = [3, 3];

/**
 * Opens the camera in `place`. `taken` receives each photo at once, `done` those of a burst when it ends.
 *
 * @param {HTMLElement} place
 * @param {{ taken: (file: File) => void, done: (files: File[]) => void, closed: () => void }} events
 * @returns {() => void} closes it
 */
export function recorder(place, { taken, done, closed }) {
  /** @type {MediaStream | null} */
  let stream = null;
  /** @type {"environment" | "user"} */
  let facing = "environment";
  let open = true;
  /** @typedef {{ files: File[], over: boolean, waiting: boolean }} Burst `waiting`: for its next photo */
  /** The burst that is recorded; null while none is. @type {Burst | null} */
  let burst = null;
  /** Timers of the next photo, and of the countdown. */
  let [next, counter] = [0, 0];
  /** Makes the countdown available again. */
  let ready = () => {};

  /** @param {Burst} one */
  const finish = ({ files }) => {
    announce(files.length > 0 ? `${plural(files.length, "photo")} taken` : "No photo was taken. Hold the button a little longer.");
    if (files.length > 0) done(files);
  };
  const stop = () => {
    const ending = burst;
    if (!ending) return;
    burst = null;
    ending.over = true;
    window.clearTimeout(next);
    window.clearTimeout(counter);
    ready();
    // A photo that is being taken belongs to the burst.
    if (!ending.waiting) finish(ending);
  };
  /** @param {string} [reason] why the camera is gone */
  const close = (reason) => {
    open = false;
    stop();
    window.clearTimeout(counter);
    closeCamera(stream);
    fill(place, reason && notice(reason));
  };
  /** @param {HTMLVideoElement} video */
  const start = (video) => {
    if (burst || !open) return;
    /** @type {Burst} */
    const mine = { files: [], over: false, waiting: false };
    burst = mine;
    const take = async () => {
      const at = performance.now();
      mine.waiting = true;
      const file = await frame(video);
      mine.waiting = false;
      if (file) {
        mine.files.push(file);
        taken(file);
      }
      if (mine.over) finish(mine);
      else next = window.setTimeout(() => void take(), Math.max(0, INTERVAL - (performance.now() - at)));
    };
    void take();
  };

  const show = async () => {
    stop();
    window.clearTimeout(counter);
    closeCamera(stream);
    fill(place, el("p", { class: "soft" }, "Waiting for the camera…"));
    try {
      stream = await openCamera(facing, close);
    } catch (error) {
      if (isAbort(error) || !open) return;
      fill(place, notice(error));
      return;
    }
    const video = viewOf(stream);
    const hold = holdButton(() => start(video), stop);
    const left = el("span", { class: "countdown", "aria-live": "assertive" });
    const timed = button(`Record in ${COUNTDOWN} s`, () => {
      timed.disabled = true;
      ready = () => (timed.disabled = false);
      const tick = (/** @type {number} */ seconds) => {
        left.textContent = seconds > 0 ? String(seconds) : "";
        if (seconds === 0) start(video);
        counter = window.setTimeout(seconds > 0 ? () => tick(seconds - 1) : stop, (seconds > 0 ? 1 : RECORDING) * 1000);
      };
      tick(COUNTDOWN);
    }, { title: `Counts down, then takes ${(RECORDING * 1000) / INTERVAL} photos: both hands are free` });
    const other = button("Switch camera", () => {
      facing = facing === "environment" ? "user" : "environment";
      void show();
    }, { hidden: true });
    void hasSeveralCameras().then((several) => (other.hidden = !several), () => {});
    const end = button("Close camera", () => {
      close();
      closed();
    });
    fill(place, el("div", { class: "stack recorder" },
      el("div", { class: "screen" }, video, left),
      el("div", { class: "row" }, hold, timed, other, end)));
    hold.focus({ preventScroll: true });
  };
  void show();
  return close;
}

/** A button that does something while it is held, by pointer or key. @param {() => void} start @param {() => void} stop */
function holdButton(start, stop) {
  const hold = button("Hold to record", () => {}, { class: "primary hold" });
  hold.addEventListener("pointerdown", (event) => {
    hold.setPointerCapture(event.pointerId);
    start();
  });
  for (const kind of ["pointerup", "pointercancel", "lostpointercapture", "blur", "keyup"]) hold.addEventListener(kind, stop);
  // A long press on a phone would open a menu.
  hold.addEventListener("contextmenu", (event) => event.preventDefault());
  hold.addEventListener("keydown", (event) => {
    if (event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    start();
  });
  return hold;
}
