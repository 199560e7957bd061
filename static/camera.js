/** A photo from the camera of this machine. */

import { button, el, fill, notice } from "./dom.js";

/** Shows what the camera sees until a photo is taken. @returns {Promise<File | null>} */
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
    // Absent where the page came over plain HTTP from another machine.
    if (!navigator.mediaDevices) throw new Error("This browser gives the camera to pages over HTTPS or from this machine only. A photo from a file works everywhere.");
    fill(dialog, el("p", null, "Waiting for the camera …"), button("Close", close));
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    const video = el("video", { autoplay: true, playsInline: true, muted: true, srcObject: stream });
    const take = button("Take it", () => void still(video).then((file) => {
      taken = file;
      close();
    }), { class: "primary", disabled: true });
    // Before its first frame a video has no size.
    video.addEventListener("loadeddata", () => (take.disabled = false));
    fill(dialog, el("div", { class: "stack" }, video, el("div", { class: "row end" }, button("Close", close), take)));
  } catch (error) {
    const text = error instanceof DOMException ? `The camera can't be used: ${error.message}` : error;
    fill(dialog, el("div", { class: "stack" }, notice(text), button("Close", close)));
  }
  await closed;
  for (const track of stream?.getTracks() ?? []) track.stop();
  dialog.remove();
  return taken;
}

/** @param {HTMLVideoElement} video @returns {Promise<File | null>} */
async function still(video) {
  const canvas = el("canvas", { width: video.videoWidth, height: video.videoHeight });
  canvas.getContext("2d")?.drawImage(video, 0, 0);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.92));
  return blob && new File([blob], "camera.jpg", { type: "image/jpeg" });
}
