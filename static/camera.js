/** Takes a photo with the camera of this device. */

import { button, el, fill, notice } from "./dom.js";

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
    // Undefined if the page was loaded over plain HTTP from another machine.
    if (!navigator.mediaDevices) throw new Error("Browsers allow camera access only over HTTPS or on localhost. Choose an image file instead.");
    fill(dialog, el("p", null, "Waiting for the camera…"), button("Close", close));
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    const video = el("video", { autoplay: true, playsInline: true, muted: true, srcObject: stream });
    const take = button("Take photo", () => void still(video).then((file) => {
      taken = file;
      close();
    }), { class: "primary", disabled: true });
    // A video has no size before its first frame.
    video.addEventListener("loadeddata", () => (take.disabled = false));
    fill(dialog, el("div", { class: "stack" }, video, el("div", { class: "row end" }, button("Close", close), take)));
  } catch (error) {
    const text = error instanceof DOMException ? `Can't access the camera: ${error.message}` : error;
    fill(dialog, el("div", { class: "stack" }, notice(text), button("Close", close)));
  }
  await closed;
  for (const track of stream?.getTracks() ?? []) track.stop();
  dialog.remove();
  return taken;
}

/** Captures the current frame as a JPEG. @param {HTMLVideoElement} video @returns {Promise<File | null>} */
async function still(video) {
  const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return blob && new File([blob], "camera.jpg", { type: "image/jpeg" });
}
