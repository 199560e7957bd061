/** Groups of near-duplicates: those in more than one split are joined in one by a click. */

import { get, path, send } from "./api.js";
import { attempt, button, count, el, fill, plural } from "./dom.js";
import { picture } from "./picture.js";

/** @typedef {{ images: import("./types.js").ReviewImage[], similarity: number, across_splits: boolean }} Group */

const PAGE = 30;
/** Images of a group that are shown. */
const SHOWN = 24;
/** Images of a request, at most. */
const MOST = 1000;

/** @param {import("./review_stage.js").Context} context @returns {import("./review_stage.js").View} */
export function duplicateList({ url, signal, result, changed }) {
  const list = el("ul", { class: "groups" });
  const messages = el("div", null);
  const end = el("p", { class: "soft" });
  /** @type {string | null} */
  let cursor = "";
  let shown = 0;
  /** Groups that were joined or dismissed. */
  let done = 0;
  const decided = () => {
    done += 1;
    changed();
  };
  const more = button("Show more", () => load());
  const load = () => attempt(messages, async () => {
    const query = new URLSearchParams({ limit: String(PAGE), ...(cursor && { cursor }) });
    const page = await get(`${url}/duplicates?${query}`, signal);
    cursor = page.next_cursor;
    for (const group of page.items) list.append(card(group, url, decided));
    shown += page.items.length;
    more.hidden = cursor === null;
    end.textContent = shown === 0 ? "No near-duplicates." : cursor === null ? `${plural(shown, "group")} shown` : "";
  });
  const all = button("Join all that are in more than one split", () => attempt(messages, async () => {
    const { groups, moved } = await send("POST", `${url}/join`, {});
    fill(messages, el("p", { class: "good", role: "status" }, `${plural(groups, "group")} joined: ${plural(moved, "image")} moved.`));
    fill(list);
    cursor = "";
    shown = done = 0;
    changed();
    await load();
  }), { class: "primary", hidden: result.duplicates_across_splits === 0 });
  more.hidden = true;
  void load();
  const node = el("div", { class: "stack" },
    el("p", { class: "soft" }, "The same shot, also if it was resized, re-encoded, mirrored or cropped a little. In more than one split, it makes the test accuracy look better than it is; joining moves a group to the split that most of it is in."),
    el("div", { class: "row" }, all), messages, list, more, end);
  return {
    node,
    isFinished: () => cursor === null && done === shown,
    update: (now) => (all.hidden = now.duplicates_across_splits === 0),
  };
}

/** @param {Group} group @param {string} url @param {() => void} decided called when the group was joined or dismissed */
function card(group, url, decided) {
  const messages = el("div", null);
  const done = (/** @type {string} */ text) => {
    fill(actions, el("span", { class: "good", role: "status" }, text));
    decided();
  };
  /** Sends the ids of the images, some at a time. @param {(images: string[]) => Promise<unknown>} part */
  const inParts = async (part) => {
    for (let at = 0; at < group.images.length; at += MOST) await part(group.images.slice(at, at + MOST).map(({ id }) => id));
  };
  const actions = el("div", { class: "actions" },
    group.across_splits ? button("Join in one split", () => attempt(messages, async () => {
      const split = mostly(group);
      let moved = 0;
      await inParts(async (images) => (moved += (await send("POST", `${url}/join`, { images, split })).moved));
      done(`${plural(moved, "image")} moved.`);
    }), { class: "primary" }) : null,
    button("Dismiss", () => attempt(messages, async () => {
      await inParts((images) => send("POST", `${url}/decisions`, { list: "duplicates", images, decision: "dismissed" }));
      done("Dismissed.");
    }), { title: "Don't list this group again" }));
  return el("li", { class: "stack" },
    el("div", { class: "row apart" },
      el("p", null, group.across_splits ? el("b", null, "In more than one split. ") : null, `${plural(group.images.length, "image")}, correlation ${group.similarity.toFixed(3)}`), actions),
    messages,
    el("ul", { class: "grid" }, group.images.slice(0, SHOWN).map((image) => el("li", { title: image.file_name },
      picture(`images/${path(image.id)}/thumbnail?size=208`, image.file_name), el("span", { class: "tag" }, image.label ? `${image.label} · ${image.split}` : "unlabelled")))),
    group.images.length > SHOWN ? el("p", { class: "soft" }, `and ${count(group.images.length - SHOWN)} more`) : null);
}

/** The split of most of a group; of those with as many, the first. @param {Group} group */
function mostly({ images }) {
  const number = (/** @type {string} */ split) => images.filter((image) => image.split === split).length;
  return ["train", "validation", "test"].reduce((most, split) => (number(split) > number(most) ? split : most));
}
