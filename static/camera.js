/** The camera of this device: one photo in a dialog, or a stream for pages that take many. */

import { button, el, fill, notice } from "./dom.js";

/** Longer side in pixels of a photo from a stream: more than any network takes. */
const SIDE = 400;

/** Tells who has the camera that another has taken it: many phones have one stream at a time. */
let release = () => {};

/**
 * Starts a camera. The error says what the user can do.
 *
 * @param {"environment" | "user"} facing preferred camera of a phone: back or front
 * @param {(reason?: string) => void} ended called when the camera is needed elsewhere, or with the reason when it is gone; closes the stream
 * @returns {Promise<MediaStream>}
 */
export async function openCamera(facing, ended) {
  release();
  release = ended;
  // Undefined if the page was loaded over plain HTTP from another machine.
  if (!navigator.mediaDevices) {
    const port = location.port || "80";
    throw new Error(`Browsers allow camera access only over HTTPS or on localhost. Forward the port to this machine (ssh -L 8080:localhost:${port} ${location.hostname}) and open http://localhost:8080, or put an HTTPS proxy in front of the server. Photos from files work as they are.`);
  }
  try {
    const stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: facing } });
    for (const track of stream.getTracks()) {
      track.addEventListener("ended", () => ended("The camera was disconnected, or access to it was revoked."));
    }
    if (release === ended) return stream;
    // Another has asked for it while the browser asked for permission.
    closeCamera(stream);
    throw new DOMException("taken", "AbortError");
  } catch (error) {
    if (!(error instanceof DOMException) || error.name === "AbortError") throw error;
    const reasons = /** @type {Record<string, string>} */ ({
      NotAllowedError: "Camera access was denied. Allow it for this page in the browser's settings, then try again.",
      NotFoundError: "No camera found. Connect one, or use photos from files.",
      NotReadableError: "Another program is using the camera. Close it, then try again.",
    });
    throw new Error(reasons[error.name] ?? `Can't access the camera: ${error.message}`);
  }
}

/** @param {MediaStream | null | undefined} stream */
export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/** Whether there is a second camera to switch to; known once one is open. */
export async function hasSeveralCameras() {
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices.filter(({ kind }) => kind === "videoinput").length > 1;
}

/** A video element that shows a stream. @param {MediaStream} stream */
export const viewOf = (stream) => el("video", { autoplay: true, playsInline: true, muted: true, srcObject: stream });

/** Shows the camera image until a photo is taken or the dialog is closed. @returns {Promise<File | null>} */
export async function photograph() {
  const dialog = el("dialog", { "aria-label": "Take a photo" });
  document.body.append(dialog);
  dialog.showModal();
  const close = () => dialog.close();
  /** @type {MediaStream | undefined} */
  let stream;
  /** @type {File | null} */
  let taken = null;
  const closed = new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  try {
    fill(dialog, el("p", null, "Waiting for the camera…"), button("Close", close));
    stream = await openCamera("environment", () => close());
    const video = viewOf(stream);
    const take = button("Take photo", () => void still(video).then((file) => {
      taken = file;
      close();
    }), { class: "primary", disabled: true });
    // A video has no size before its first frame.
    video.addEventListener("loadeddata", () => (take.disabled = false));
    fill(dialog, el("div", { class: "stack" }, video, el("div", { class: "row end" }, button("Close", close), take)));
  } catch (error) {
    fill(dialog, el("div", { class: "stack" }, notice(error), button("Close", close)));
  }
  await closed;
  closeCamera(stream);
  dialog.remove();
  return taken;
}

/** Captures the current frame as a JPEG. @param {HTMLVideoElement} video @param {number} [side] length of the longer side in pixels, if it is to be reduced @returns {Promise<File | null>} */
async function still(video, side = Infinity) {
  const { videoWidth, videoHeight } = video;
  const scale = Math.min(1, side / Math.max(videoWidth, videoHeight, 1));
  const canvas = el("canvas", { width: Math.round(videoWidth * scale), height: Math.round(videoHeight * scale) });
  canvas.getContext("2d")?.drawImage(video, 0, 0, canvas.width, canvas.height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return blob && new File([blob], `camera-${Date.now()}.jpg`, { type: "image/jpeg" });
}

/** The current frame of a stream, or null before the first. @param {HTMLVideoElement} video */
export const frame = (video) => (video.videoWidth > 0 ? still(video, SIDE) : Promise.resolve(null));
