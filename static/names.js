/** Names as the server compares and allows them. */

/** Two classes with the same folded name are one. @param {string} name */
export const folded = (name) => name.trim().normalize("NFC").toLowerCase();

/** A valid name of a dataset that resembles `title`. @param {string} title */
export function nameFrom(title) {
  const plain = title.replace(/\.(zip|tar|tar\.gz|tgz)$/i, "").normalize("NFKD").replace(/\p{M}/gu, "");
  const name = plain.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+|[^A-Za-z0-9]+$/g, "").slice(0, 90) || "images";
  // Names with a meaning of their own, and ids.
  return ["best", "current"].includes(name) || /^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(name) ? `images-${name}` : name;
}
