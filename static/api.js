/**
 * Client of the server's API: JSON, uploads with progress, server-sent events. Holds the API token
 * and tracks whether the server is reachable.
 */

/** An error response; the message is the problem's `detail`. */
export class Problem extends Error {
  /** @param {number} status @param {string} code @param {string} detail @param {number} [retryAfter] seconds @param {any} [members] additional members of the problem */
  constructor(status, code, detail, retryAfter, members) {
    super(detail);
    this.name = "Problem";
    this.status = status;
    this.code = code;
    this.retryAfter = retryAfter;
    this.members = members;
  }
}

/** Dispatches `lost` and `restored`. */
export const connection = new EventTarget();
let reachable = true;

function lost() {
  if (!reachable) return;
  reachable = false;
  connection.dispatchEvent(new Event("lost"));
  void waitUntilReachable();
}

/** Polls until the server responds again. */
async function waitUntilReachable() {
  while (!reachable) {
    await pause(1000);
    try {
      reachable = (await fetch("healthz", { cache: "no-store", signal: AbortSignal.timeout(5000) })).ok;
    } catch {
      // Still unreachable.
    }
  }
  connection.dispatchEvent(new Event("restored"));
}

const TOKEN = "pawprint-token";
const INVALID = "Invalid API token. Try again.";
/** @type {Promise<void> | null} */
let asking = null;
/** @type {(problem: string) => Promise<string>} */
let askForToken = () => Promise.reject(new Error("no handler for the API token prompt"));

/** Sets the function that prompts for a token when the server requires one; it gets what is wrong with the present one, or "". @param {(problem: string) => Promise<string>} ask */
export function onTokenWanted(ask) {
  askForToken = ask;
}

/** Whether requests carry a token. If so, the browser's own requests, as for `<img>`, are rejected. */
export const hasToken = () => sessionStorage.getItem(TOKEN) !== null;

/** @returns {Record<string, string>} */
function authorization() {
  const token = sessionStorage.getItem(TOKEN);
  return token === null ? {} : { Authorization: `Bearer ${token}` };
}

/** Stores the token for this tab only. Concurrent requests share one prompt. @param {string} problem with the present one */
async function obtainToken(problem) {
  asking ??= askForToken(problem)
    .then((token) => sessionStorage.setItem(TOKEN, token))
    .finally(() => (asking = null));
  return asking;
}

/**
 * @typedef {{ method?: string, body?: BodyInit | null, headers?: Record<string, string>, signal?: AbortSignal, keepalive?: boolean }} Options `keepalive`: sent even if the page is being closed
 */

/**
 * Sends a request. Error responses are thrown as a {@link Problem}.
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
      // Another request may have obtained a token in the meantime.
      if (used === sessionStorage.getItem(TOKEN)) await obtainToken(used === null ? "" : INVALID);
      continue;
    }
    const problem = problemOf(response.status, await response.text(), response.headers.get("Retry-After"));
    // Without the scope to read, no page works.
    if (problem.code === "forbidden" && (options.method ?? "GET") === "GET") {
      if (used === sessionStorage.getItem(TOKEN)) await obtainToken(`${problem.message[0].toUpperCase()}${problem.message.slice(1)}. Enter another one.`);
      continue;
    }
    throw problem;
  }
}

const unreachable = () => new Problem(0, "unreachable", "Can't reach the server. Nothing was lost; try again when it is back online.");

/** @param {number} status @param {string} text @param {string | null} retryAfter */
function problemOf(status, text, retryAfter) {
  try {
    const { code, detail, title, ...members } = JSON.parse(text);
    return new Problem(status, code ?? "unknown", detail ?? title ?? `The server returned status ${status}.`, Number(retryAfter ?? 0), members);
  } catch {
    return new Problem(status, "unknown", `The server returned status ${status}: ${text.slice(0, 200)}`);
  }
}

/** @param {string} path @param {AbortSignal} [signal] @returns {Promise<any>} */
export async function get(path, signal) {
  return (await request(path, { signal })).json();
}

/**
 * Sends JSON and parses the response body, if there is one.
 *
 * @param {string} method
 * @param {string} path
 * @param {unknown} [body]
 * @param {boolean} [keepalive] whether it is sent even if the page is being closed
 * @returns {Promise<any>}
 */
export async function send(method, path, body, keepalive = false) {
  const json = body === undefined ? {} : { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } };
  const response = await request(path, { method, keepalive, ...json });
  const text = await response.text();
  return text ? JSON.parse(text) : null;
}

/** Fetches all items of a paginated list. @param {string} path @param {AbortSignal} [signal] @returns {Promise<any[]>} */
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

/** Requests at the same time of {@link concurrently}. */
const AT_ONCE = 6;

/**
 * Calls `work` for each item, a few at the same time. If some fail, the first error is thrown at the end.
 *
 * @template T
 * @param {T[]} items
 * @param {(item: T) => Promise<unknown>} work
 */
export async function concurrently(items, work) {
  const queue = [...items];
  const workers = Array.from({ length: AT_ONCE }, async () => {
    while (queue.length > 0) await work(/** @type {T} */ (queue.shift()));
  });
  const failed = (await Promise.allSettled(workers)).find(({ status }) => status === "rejected");
  if (failed) throw /** @type {PromiseRejectedResult} */ (failed).reason;
}

/** Like {@link request}, but retries while the server's queue is full (429). @param {string} path @param {Options} options */
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
 * Uploads a file or a form and reports progress.
 *
 * @param {string} path
 * @param {Blob | FormData} body
 * @param {(fraction: number) => void} progress from 0 to 1
 * @param {AbortSignal} signal
 * @param {string} [method]
 * @returns {Promise<any>}
 */
export async function upload(path, body, progress, signal, method = "POST") {
  for (;;) {
    const { status, text, retryAfter } = await transfer(method, path, body, progress, signal);
    if (status === 401) await obtainToken(hasToken() ? INVALID : "");
    else if (status === 429) await pause(Math.max(Number(retryAfter ?? 1), 1) * 1000, signal);
    else if (status >= 200 && status < 300) return text ? JSON.parse(text) : null;
    else throw problemOf(status, text, retryAfter);
  }
}

/**
 * @param {string} method @param {string} path @param {Blob | FormData} body
 * @param {(fraction: number) => void} progress @param {AbortSignal} signal
 * @returns {Promise<{ status: number, text: string, retryAfter: string | null }>}
 */
function transfer(method, path, body, progress, signal) {
  return new Promise((resolve, reject) => {
    // fetch has no upload progress.
    const xhr = new XMLHttpRequest();
    const abort = () => xhr.abort();
    signal.addEventListener("abort", abort, { once: true });
    xhr.open(method, path);
    for (const [name, value] of Object.entries(authorization())) xhr.setRequestHeader(name, value);
    if (body instanceof Blob) xhr.setRequestHeader("Content-Type", "application/octet-stream");
    xhr.upload.onprogress = ({ loaded, total }) => progress(total ? loaded / total : 1);
    xhr.onload = () => resolve({ status: xhr.status, text: xhr.responseText, retryAfter: xhr.getResponseHeader("Retry-After") });
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

/** Milliseconds without data before a stream counts as broken; the server sends a comment every 15 seconds. */
const SILENCE = 40_000;

/**
 * Follows the server-sent events of `path`. If the stream breaks (server restart, sleep), it
 * reconnects and continues after the last event seen. Whenever a stream ends, `isOver` decides
 * whether to stop.
 *
 * Uses fetch instead of EventSource, because EventSource can't send a token.
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
      // Retry after network and server errors. Client errors and bugs in the page are not temporary.
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

/** Parses one event. @param {string} block the lines of the event */
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

/** A URL path from ids or names. @param {...string} parts */
export const path = (...parts) => parts.map(encodeURIComponent).join("/");
