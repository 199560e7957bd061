/**
 * The server, as the pages ask it: JSON, uploads with progress, server-sent events. Knows the token
 * and whether the server can be reached.
 */

/** An answer that is not a success: the problem's `detail` is the message. */
export class Problem extends Error {
  /** @param {number} status @param {string} code @param {string} detail @param {number} [retryAfter] seconds @param {any} [members] what else it says */
  constructor(status, code, detail, retryAfter, members) {
    super(detail);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.members = members;
  }
}

/** Fires `lost` and `restored`. */
export const connection = new EventTarget();
let reachable = true;

function lost() {
  if (!reachable) return;
  reachable = false;
  connection.dispatchEvent(new Event("lost"));
  void waitUntilReachable();
}

/** Asks until the server answers again. */
async function waitUntilReachable() {
  while (!reachable) {
    await pause(1000);
    try {
      reachable = (await fetch("healthz", { cache: "no-store", signal: AbortSignal.timeout(5000) })).ok;
    } catch {
      // Not yet.
    }
  }
  connection.dispatchEvent(new Event("restored"));
}

const TOKEN = "pawprint-token";
/** @type {Promise<void> | null} */
let asking = null;
/** @type {(wrong: boolean) => Promise<string>} */
let askForToken = () => Promise.reject(new Error("nobody to ask for a token"));

/** Who to ask for a token when the server wants one. @param {(wrong: boolean) => Promise<string>} ask */
export function onTokenWanted(ask) {
  askForToken = ask;
}

/** Whether requests carry a token: what the browser itself requests, as images, then can't. */
export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;

/** @returns {Record<string, string>} */
function authorization() {
  const token = sessionStorage.getItem(TOKEN);
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

/** The token is kept for this tab only. All requests that need it wait for one question. */
async function obtainToken() {
  asking ??= askForToken(hasToken())
    .then((token) => sessionStorage.setItem(TOKEN, token))
    .finally(() => (asking = null));
  return asking;
}

/**
 * @typedef {{ method?: string, body?: BodyInit | null, headers?: Record<string, string>, signal?: AbortSignal }} Options
 */

/**
 * A request. Answers that are no success become a {@link Problem}.
 *
 * @param {string} path without a leading slash
 * @param {Options} [options]
 * @returns {Promise<Response>}
 */
export async function request(path, options = {}) {
  for (;;) {
    const used = sessionStorage.getItem(TOKEN);
    /** @type {Response} */
    let response;
    try {
      response = await fetch(path, { ...options, headers: { ...options.headers, ...authorization() } });
    } catch (error) {
      if (options.signal?.aborted) throw error;
      lost();
      throw unreachable();
    }
    if (response.ok) return response;
    if (response.status === 401) {
      // Another request may have asked for it meanwhile.
      if (used === sessionStorage.getItem(TOKEN)) await obtainToken();
      continue;
    }
    throw await problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
  }
}

const unreachable = () => new Problem(0, "unreachable", "The server can't be reached. Nothing was lost here: try again when it is back.");

/** @param {number} status @param {string} text @param {string | null} retryAfter */
function problemOf(status, text, retryAfter) {
  try {
    const { code, detail, title, ...members } = JSON.parse(text);
    return new Problem(status, code ?? "unknown", detail ?? title ?? `The server answered ${status}.`, Number(retryAfter ?? 0), members);
  } catch {
    return new Problem(status, "unknown", `The server answered ${status}: ${text.slice(0, 200)}`);
  }
}

/** @param {string} path @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function get(path, signal) {
  return (await request(path, { signal })).json();
}

/**
 * Sends JSON and reads the answer, if it has a body.
 *
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @returns {Promise<any>}
 */
export async function send(method, path, body) {
  const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await request(path, { method, ...json });
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/** Every item of a list, over all of its pages. @param {string} path @param {AbortSignal} [signal] @returns {Promise<any[]>} */
export async function all(path, signal) {
  const items = [];
  let cursor = "";
  do {
    const url = `${path}${path.includes("?") ? "&" : "?"}limit=500${cursor && `&cursor=${encodeURIComponent(cursor)}`}`;
    const page = await get(url, signal);
    items.push(...page.items);
    cursor = page.next_cursor ?? "";
  } while (cursor);
  return items;
}

/** Like {@link request}, again and again while the server says that its queue is full. @param {string} path @param {Options} options */
export async function requestWithRetry(path, options) {
  for (;;) {
    try {
      return await request(path, options);
    } catch (error) {
      if (!(error instanceof Problem) || error.status !== 429) throw error;
      await pause(Math.max(error.retryAfter ?? 1, 0.2) * 1000, options.signal);
    }
  }
}

/**
 * Sends a file or a form, and tells how far it is.
 *
 * @param {string} path
 * @param {Blob | FormData} body
 * @param {(share: number) => void} progress from 0 to 1
 * @param {AbortSignal} signal
 * @param {string} [method]
 * @returns {Promise<any>}
 */
export async function upload(path, body, progress, signal, method = "POST") {
  for (;;) {
    const { status, text } = await transfer(method, path, body, progress, signal);
    if (status === 401) await obtainToken();
    else if (status >= 200 && status < 300) return text ? JSON.parse(text) : null;
    else throw problemOf(status, text, null);
  }
}

/**
 * @param {string} method @param {string} path @param {Blob | FormData} body
 * @param {(share: number) => void} progress @param {AbortSignal} signal
 * @returns {Promise<{ status: number, text: string }>}
 */
function transfer(method, path, body, progress, signal) {
  return new Promise((resolve, reject) => {
    // fetch tells nothing of how much has been sent.
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    signal.addEventListener("abort", abort, { once: true });
    xhr.open(method, path);
    for (const [name, value] of Object.entries(authorization())) xhr.setRequestHeader(name, value);
    if (body instanceof Blob) xhr.setRequestHeader("Content-Type", "application/octet-stream");
    xhr.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 1);
    xhr.onload = () => resolve({ status: xhr.status, text: xhr.responseText });
    xhr.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    xhr.onerror = () => {
      lost();
      reject(unreachable());
    };
    xhr.onloadend = () => signal.removeEventListener("abort", abort);
    xhr.send(body);
    if (signal.aborted) xhr.abort();
  });
}

/** Waits. @param {number} milliseconds @param {AbortSignal | null} [signal] @returns {Promise<void>} */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    const leave = () => {
      clearTimeout(timer);
      reject(new DOMException("left", "AbortError"));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", leave);
      resolve();
    }, milliseconds);
    signal?.addEventListener("abort", leave, { once: true });
  });
}

/** Longer than the server is ever silent: it sends a comment every 15 seconds. */
const SILENCE = 40_000;

/**
 * The server-sent events of `path`, again from the last one seen whenever the stream breaks: the
 * server was restarted, or this machine slept. Ends when `isOver` says so, asked after each end of
 * a stream.
 *
 * A stream of fetch and not an EventSource, because that can't carry a token.
 *
 * @param {string} path
 * @param {(kind: string, data: any) => void} take
 * @param {() => Promise<boolean>} isOver
 * @param {AbortSignal} signal
 */
export async function follow(path, take, isOver, signal) {
  let last = "";
  for (let wait = 500; ; wait = Math.min(wait * 2, 10_000)) {
    const attempt = new AbortController();
    const leave = () => attempt.abort();
    signal.addEventListener("abort", leave, { once: true });
    try {
      const headers = /** @type {Record<string, string>} */ (last ? { "Last-Event-ID": last } : {});
      const response = await request(path, { headers, signal: attempt.signal });
      for await (const { id, kind, data } of events(response, attempt)) {
        last = id || last;
        wait = 500;
        take(kind, JSON.parse(data));
      }
      if (await isOver()) return;
    } catch (error) {
      if (signal.aborted) return;
      // What broke off comes again; what was refused, or a fault of the page itself, does not heal.
      const broke = error instanceof Problem ? error.status === 0 || error.status >= 500 : error instanceof DOMException || error instanceof TypeError;
      if (!broke) throw error;
    } finally {
      attempt.abort();
      signal.removeEventListener("abort", leave);
    }
    await pause(wait, signal).catch(() => {});
    if (signal.aborted) return;
  }
}

/** @param {Response} response @param {AbortController} attempt */
async function* events(response, attempt) {
  const reader = /** @type {ReadableStream<Uint8Array>} */ (response.body).getReader();
  const decoder = new TextDecoder();
  let text = "";
  for (;;) {
    const timer = setTimeout(() => attempt.abort(), SILENCE);
    const { value, done } = await reader.read().finally(() => clearTimeout(timer));
    if (done) return;
    text += decoder.decode(value, { stream: true });
    const blocks = text.split("\n\n");
    text = blocks.pop() ?? "";
    yield* blocks.map(eventOf).filter((event) => event.data !== "");
  }
}

/** @param {string} block the lines of one event */
function eventOf(block) {
  const event = { id: "", kind: "message", data: "" };
  for (const line of block.split("\n")) {
    const [name, ...rest] = line.split(":");
    const value = rest.join(":").replace(/^ /, "");
    if (name === "id") event.id = value;
    else if (name === "event") event.kind = value;
    else if (name === "data") event.data += value;
  }
  return event;
}

/** The URL of a thing that is named by id or by name. @param {...string} parts */
export const path = (...parts) => parts.map(encodeURIComponent).join("/");
