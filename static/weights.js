/** Pretrained weights that a recipe builds on, unless they are built in: upload a file or download them. */

import { get, pause, send, upload } from "./api.js";
import { attempt, button, bytes, el, fill, isAbort, notice, percent } from "./dom.js";

/** Uploads by base network; they continue while other pages are open. @type {Map<string, Sending>} */
const known = new Map();

window.addEventListener("beforeunload", (event) => {
  if ([...known.values()].some(({ running }) => running)) event.preventDefault();
});

/** @param {HTMLElement} place @param {string} base @param {AbortSignal} signal */
export async function weights(place, base, signal) {
  const resource = `weights/${base}`;
  const messages = el("div", null);
  /** @type {import("./types.js").Weights} */
  let now = await get(resource, signal);
  if (now.state === "shipped") return;
  const body = el("div", { class: "stack" });
  const watch = async () => {
    while (now.state === "downloading" && !signal.aborted) {
      await pause(1000, signal);
      now = await get(resource, signal);
      show();
    }
  };
  const download = (/** @type {string} */ source) => () => attempt(messages, async () => {
    now = await send("POST", `${resource}/download`, { source });
    show();
    await watch();
  });
  const input = el("input", { type: "file", class: "file", accept: ".h5,.pth,.pt,.safetensors", onchange: () => {
    const file = input.files?.[0];
    if (!file) return;
    known.set(base, new Sending(base, file));
    input.value = "";
    follow();
  } });
  /** Shows an upload that is under way, and afterwards what became of it. */
  const follow = () => {
    show();
    void known.get(base)?.ended.then(() => attempt(messages, async () => {
      if (signal.aborted) return;
      now = await get(resource, signal);
      show();
    }));
  };
  const show = () => {
    const { downloaded_bytes: have, total_bytes: total } = now;
    const sending = known.get(base);
    fill(body,
      now.state === "ready" && el("p", null, el("span", { class: "good" }, "Installed: "), `${now.source} (${now.preprocessing} preprocessing).`),
      now.state === "absent" && el("p", null, "This recipe needs pretrained VGG16 weights, which are not installed. A job downloads the Keras weights automatically, or upload a file."),
      now.state === "downloading" && [el("p", null, `Downloading ${now.source}: ${bytes(have ?? 0)}${total ? `, ${percent((have ?? 0) / total)}` : ""}`), el("progress", { max: total ?? 1, value: have ?? 0, "aria-label": "Download" })],
      now.error && el("p", { class: "bad" }, `The last download failed: ${now.error.detail}`),
      sending?.node,
      now.state !== "downloading" && !sending?.running && el("div", { class: "row" },
        el("label", { class: "button" }, "Upload a file (.h5, .pth, .safetensors)", input),
        button("Download Keras weights", download("keras")), button("Download torchvision weights", download("torchvision"))));
  };
  fill(place, el("section", { class: "stack", "aria-label": "VGG16 weights" }, el("h3", null, "VGG16 weights"), body, messages));
  follow();
  await watch().catch((error) => {
    if (!isAbort(error)) throw error;
  });
}

/** The upload of a file of weights; it ends with an error, or is forgotten. */
class Sending {
  /** @param {string} base @param {File} file */
  constructor(base, file) {
    const leave = new AbortController();
    const text = el("p", null, `Uploading ${file.name}…`);
    const bar = el("progress", { max: 1, value: 0, "aria-label": `Upload of ${file.name}` });
    this.running = true;
    this.node = el("div", { class: "stack" }, el("div", { class: "row apart" }, text, button("Cancel", () => leave.abort())), bar);
    this.ended = upload(`weights/${base}`, file, (fraction) => {
      bar.value = fraction;
      text.textContent = fraction < 1 ? `Uploading ${file.name}: ${percent(fraction)}` : `Checking ${file.name}…`;
    }, leave.signal, "PUT").then(() => void known.delete(base), (error) => {
      if (isAbort(error)) known.delete(base);
      else fill(this.node, notice(error));
    }).finally(() => (this.running = false));
  }
}
