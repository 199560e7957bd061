/** Changes that are sent in the background, one request after another, while the user goes on. */

import { Problem } from "./api.js";
import { count, el, isAbort, notice } from "./dom.js";

/**
 * @typedef {{ id: string, kind: string | null, work: (ids: string[]) => Promise<unknown>, failed: () => void }} Save a change of the
 *   image or prediction `id`; those of the same `kind` that wait are sent by one call of `work`
 */

/** Ids in a request: its body must not exceed the browser's limit for requests that outlive the page, 64 KiB. */
const MOST = 500;

/** Queues that are not empty. @type {Set<Saves>} */
const unsaved = new Set();

window.addEventListener("beforeunload", (event) => {
  if (unsaved.size > 0) event.preventDefault();
});
window.addEventListener("pagehide", () => {
  for (const saves of unsaved) saves.flush();
});

export class Saves {
  /** @param {Element} messages where errors are shown @param {() => void} settled called when everything is saved, and after an error */
  constructor(messages, settled) {
    this.messages = messages;
    this.settled = settled;
    /** @type {Save[]} */
    this.waiting = [];
    /** Changes in the request under way. */
    this.sending = 0;
    this.node = el("span", null);
  }

  get idle() {
    return this.waiting.length + this.sending === 0;
  }

  /** @param {Save} save */
  add(save) {
    this.waiting.push(save);
    unsaved.add(this);
    if (this.sending === 0) void this.run();
    else this.show();
  }

  show() {
    this.node.textContent = this.idle ? "" : `Saving ${count(this.waiting.length + this.sending)}…`;
  }

  async run() {
    while (this.waiting.length > 0) {
      const batch = this.take();
      this.sending = batch.length;
      this.show();
      const went = await this.send(batch);
      this.sending = 0;
      if (!went) this.settled();
    }
    unsaved.delete(this);
    this.show();
    this.settled();
  }

  /** Takes the first change that waits and those of its kind, but none before an earlier change of the same image. */
  take() {
    const first = this.waiting[0];
    /** @type {Set<string>} */
    const earlier = new Set();
    /** @type {Save[]} */
    const batch = [];
    this.waiting = this.waiting.filter((save) => {
      const joins = save === first || (save.kind !== null && save.kind === first.kind && batch.length < MOST && !earlier.has(save.id));
      if (joins) batch.push(save);
      else earlier.add(save.id);
      return !joins;
    });
    return batch;
  }

  /** @param {Save[]} batch @returns {Promise<boolean>} */
  async send(batch) {
    for (const old of this.messages.querySelectorAll(":scope > .notice")) old.remove();
    try {
      await batch[0].work(batch.map(({ id }) => id));
      return true;
    } catch (error) {
      if (error instanceof Problem && error.status === 404 && batch.length > 1) {
        // One of the images is gone: the others are saved one by one.
        this.waiting.unshift(...batch.map((save) => ({ ...save, kind: null })));
        return true;
      }
      for (const { failed } of batch) failed();
      if (!isAbort(error)) this.messages.append(notice(error));
      return false;
    }
  }

  /** Sends everything that waits at once: the page is being closed. */
  flush() {
    while (this.waiting.length > 0) void this.send(this.take());
  }
}
