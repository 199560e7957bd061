/** Files and folders as they are dropped or picked, and how they are sent. */

import { path, upload } from "./api.js";

/** @typedef {{ file: File, path: string }} Found a file, and its path from the folder that was dropped */

/** Of one request: the server reads files one after the other, and a person sees progress. */
const FILES = 64;
const BYTES = 32e6;

/** @param {string} name */
export const isArchive = (name) => /\.(zip|tar|tar\.gz|tgz)$/i.test(name);

/** What operating systems leave in folders. @param {string} name */
const isNoise = (name) => name.split("/").some((part) => part.startsWith(".") || part === "__MACOSX" || /^(thumbs\.db|desktop\.ini)$/i.test(part));

/** @param {FileList | null} list @returns {Found[]} */
export function picked(list) {
  return Array.from(list ?? [], (file) => ({ file, path: file.webkitRelativePath || file.name })).filter((found) => !isNoise(found.path));
}

/** All files of a drop, folders walked. @param {DataTransfer} data @returns {Promise<Found[]>} */
export async function dropped(data) {
  // The entries are gone once this turn of the event loop is over.
  const entries = Array.from(data.items, (item) => item.webkitGetAsEntry()).filter((entry) => entry !== null);
  const found = (await Promise.all(entries.map(walk))).flat();
  return found.filter((one) => !isNoise(one.path));
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
    // A reader gives a hundred entries at a time.
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (entries.length === 0) return found;
    for (const child of entries) found.push(...(await walk(child)));
  }
}

/**
 * Sends files into a dataset: each archive in a request, the others in batches.
 *
 * @param {string} dataset
 * @param {Found[]} files
 * @param {{ split: string, label: string }} options `label` empty: it is read off each path
 * @param {(share: number, report: import("./types.js").UploadReport) => void} progress
 * @param {AbortSignal} signal
 */
export async function sendAll(dataset, files, { split, label }, progress, signal) {
  /** @type {import("./types.js").UploadReport} */
  const total = { added: 0, duplicates: 0, rejected: [], rejected_total: 0 };
  const all = files.reduce((sum, { file }) => sum + file.size, 0) || 1;
  let sent = 0;
  for (const batch of batches(files)) {
    const size = batch.reduce((sum, { file }) => sum + file.size, 0);
    const query = new URLSearchParams({ split });
    if (label && !isArchive(batch[0].path)) query.set("label", label);
    const [url, body] = isArchive(batch[0].path)
      ? [`datasets/${path(dataset)}/archive?${query}`, batch[0].file]
      : [`datasets/${path(dataset)}/images?${query}`, form(batch)];
    const report = await upload(url, body, (share) => progress((sent + share * size) / all, total), signal);
    addTo(total, report);
    sent += size;
    progress(sent / all, total);
  }
  return total;
}

/** @param {import("./types.js").UploadReport} total @param {import("./types.js").UploadReport} report */
export function addTo(total, report) {
  total.added += report.added;
  total.duplicates += report.duplicates;
  total.rejected.push(...report.rejected);
  total.rejected_total += report.rejected_total;
}

/** @param {Found[]} files */
function* batches(files) {
  /** @type {Found[]} */
  let batch = [];
  let size = 0;
  for (const found of files) {
    const alone = isArchive(found.path);
    if (batch.length > 0 && (alone || batch.length === FILES || size + found.file.size > BYTES)) {
      yield batch;
      [batch, size] = [[], 0];
    }
    if (alone) {
      yield [found];
      continue;
    }
    batch.push(found);
    size += found.file.size;
  }
  if (batch.length > 0) yield batch;
}

/** @param {Found[]} batch */
function form(batch) {
  const data = new FormData();
  for (const { file, path } of batch) data.append("image", file, path);
  return data;
}
