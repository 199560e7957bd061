/** Reads dropped or chosen files and folders, and uploads them. */

import { path, upload } from "./api.js";

/** @typedef {{ file: File, path: string }} Found a file with its path, starting at the dropped folder */

/** Limits of one request: small enough for the user to see progress. */
const FILES = 64;
const BYTES = 32e6;
/** Block size of a tar archive. */
const BLOCK = 512;

/** @param {string} name */
export const isArchive = (name) => /\.(zip|tar|tar\.gz|tgz)$/i.test(name);

/** @param {FileList | null} list @returns {Found[]} */
export function picked(list) {
  return Array.from(list ?? [], (file) => ({ file, path: file.webkitRelativePath || file.name }));
}

/** All files of a drop, including those in folders. @param {DataTransfer} data @returns {Promise<Found[]>} */
export async function dropped(data) {
  // The items are only valid during the event, so get all entries before the first await.
  const entries = Array.from(data.items, (item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  return (await Promise.all(entries.map(walk))).flat();
}

/** @param {FileSystemEntry} entry @returns {Promise<Found[]>} */
async function walk(entry) {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject));
    return [{ file, path: entry.fullPath.replace(/^\//, "") }];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const found = [];
  for (;;) {
    // A reader returns about a hundred entries per call.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return found;
    for (const child of entries) found.push(...(await walk(child)));
  }
}

/**
 * Where files go: a split or `auto`; what names their classes, `folders` or `names`; or the class of all
 * files that are not in archives, if `label` is not empty.
 *
 * @typedef {{ split: string, labels: string, label: string }} Target
 */

/**
 * Uploads files to a dataset: each archive in its own request, all other files in one request, as a
 * tar archive, because the meaning of a folder depends on all other folders. If the user selects a
 * class for all files, they are sent in batches.
 *
 * @param {string} dataset
 * @param {Found[]} files
 * @param {Target} target
 * @param {(fraction: number, report: import("./types.js").UploadReport) => void} progress
 * @param {AbortSignal} signal
 */
export async function sendAll(dataset, files, { split, labels, label }, progress, signal) {
  const total = emptyReport();
  const all = files.reduce((sum, { file }) => sum + file.size, 0) || 1;
  let sent = 0;
  for (const { files: batch, archive } of label ? batches(files) : byArchive(files)) {
    const size = batch.reduce((sum, { file }) => sum + file.size, 0);
    const query = new URLSearchParams({ split, ...(label && !archive ? { label } : { labels }) });
    const url = `datasets/${path(dataset)}/${archive || !label ? "archive" : "images"}?${query}`;
    const body = archive ? batch[0].file : label ? form(batch) : tar(batch);
    const report = await upload(url, body, (fraction) => progress((sent + fraction * size) / all, total), signal).catch(async (error) => {
      throw (await unreadable(batch)) ?? error;
    });
    addTo(total, report);
    sent += size;
    progress(sent / all, total);
  }
  return total;
}

/** An error that names a file that can't be read; a browser reports it as a failed connection. @param {Found[]} batch */
async function unreadable(batch) {
  for (const { file, path: name } of batch) {
    try {
      await file.stream().pipeTo(new WritableStream());
    } catch {
      return new Error(`${name} can't be read. It may have been changed, moved or deleted after it was chosen.`);
    }
  }
  return null;
}

/** @returns {import("./types.js").UploadReport} */
export function emptyReport() {
  return { added: 0, duplicates: 0, rejected: [], rejected_total: 0, ignored: { count: 0, examples: [] } };
}

/** @param {import("./types.js").UploadReport} total @param {import("./types.js").UploadReport} report */
export function addTo(total, report) {
  total.added += report.added;
  total.duplicates += report.duplicates;
  total.rejected.push(...report.rejected);
  total.rejected_total += report.rejected_total;
  total.ignored.count += report.ignored.count;
  total.ignored.examples.push(...report.ignored.examples);
}

/** @typedef {{ files: Found[], archive: boolean }} Batch an archive is alone in its batch */

/** One batch per archive, and one for all other files. @param {Found[]} files @returns {Batch[]} */
export function byArchive(files) {
  const others = files.filter((found) => !isArchive(found.path));
  const archives = files.filter((found) => isArchive(found.path));
  return [...(others.length > 0 ? [{ files: others, archive: false }] : []), ...archives.map((found) => ({ files: [found], archive: true }))];
}

/** @param {Found[]} files @returns {Batch[]} */
function batches(files) {
  return byArchive(files).flatMap((batch) => (batch.archive ? [batch] : inParts(batch.files)));
}

/** @param {Found[]} files none of them an archive @returns {Batch[]} */
function inParts(files) {
  /** @type {Batch[]} */
  const parts = [];
  let size = Infinity;
  for (const found of files) {
    const full = (parts.at(-1)?.files.length ?? FILES) === FILES || size + found.file.size > BYTES;
    if (full) {
      parts.push({ files: [], archive: false });
      size = 0;
    }
    parts.at(-1)?.files.push(found);
    size += found.file.size;
  }
  return parts;
}

/** @param {Found[]} batch */
function form(batch) {
  const data = new FormData();
  for (const { file, path } of batch) data.append("image", file, path);
  return data;
}

/** A tar archive of the files, whose contents are read only while they are sent. @param {Found[]} files */
function tar(files) {
  /** @type {BlobPart[]} */
  const parts = [];
  for (const { file, path } of files) {
    const name = new TextEncoder().encode(path);
    // A header is limited to names of 100 bytes and files of 8 GiB; pax records are not.
    if (name.length > 100 || file.size >= 8 ** 11) {
      const records = new TextEncoder().encode(record("path", path) + record("size", String(file.size)));
      parts.push(header("x", new TextEncoder().encode("pax"), records.length), records, padding(records.length));
    }
    parts.push(header("0", name, file.size), file, padding(file.size));
  }
  parts.push(new Uint8Array(2 * BLOCK));
  return new Blob(parts);
}

/** @param {number} size */
const padding = (size) => new Uint8Array((BLOCK - (size % BLOCK)) % BLOCK);

/** A pax record; it starts with its own length in bytes. @param {string} key @param {string} value */
function record(key, value) {
  const rest = ` ${key}=${value}\n`;
  const bytes = new TextEncoder().encode(rest).length;
  let length = bytes + 1;
  while (String(length).length + bytes !== length) length += 1;
  return `${length}${rest}`;
}

/** @param {string} type @param {Uint8Array} name @param {number} size */
function header(type, name, size) {
  const block = new Uint8Array(BLOCK);
  /** @param {number} at @param {string} text */
  const put = (at, text) => block.set(new TextEncoder().encode(text), at);
  block.set(name.subarray(0, 100));
  put(100, "0000644\0");
  put(124, `${(size % 8 ** 11).toString(8).padStart(11, "0")}\0`);
  put(148, "        ");
  put(156, type);
  put(257, "ustar\u000000");
  put(148, `${block.reduce((sum, byte) => sum + byte, 0).toString(8).padStart(6, "0")}\0 `);
  return block;
}
