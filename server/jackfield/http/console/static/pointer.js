/** JSON Pointers (RFC 6901), as paths of keys and indices. */

/** @param {string} pointer */
export const parse = (pointer) =>
  pointer
    .split("/")
    .slice(1)
    .map((word) => word.replaceAll("~1", "/").replaceAll("~0", "~"));

/** @param {(string | number)[]} path */
export const format = (path) =>
  path.map((word) => `/${String(word).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");

/** What stands at a path; undefined if nothing does. */
export function get(value, path) {
  for (const word of path) {
    if (value === null || typeof value !== "object" || !Object.hasOwn(value, word)) return undefined;
    value = value[word];
  }
  return value;
}

/** Put something at a path whose parent is there; undefined takes away what is. */
export function put(root, path, value) {
  const parent = get(root, path.slice(0, -1));
  const word = path.at(-1);
  if (value === undefined && Array.isArray(parent)) parent.splice(Number(word), 1);
  else if (value === undefined) delete parent[word];
  // "__proto__" is a name like any other.
  else Object.defineProperty(parent, word, { value, writable: true, enumerable: true, configurable: true });
}

/**
 * The longest of these pointers that is the given one, or leads to it.
 * @param {Iterable<string>} known
 * @param {string} pointer
 * @returns {string | undefined}
 */
export function nearest(known, pointer) {
  let found;
  for (const each of known) {
    const leads = pointer === each || pointer.startsWith(`${each}/`);
    if (leads && (found === undefined || each.length > found.length)) found = each;
  }
  return found;
}

/**
 * Faults about a part of a payload, with their pointers from there; the others as they are.
 * @param {{ pointer: string }[]} fields
 * @param {string} part a pointer
 */
export const within = (fields, part) =>
  fields.map((field) =>
    field.pointer === part || field.pointer.startsWith(`${part}/`)
      ? { ...field, pointer: field.pointer.slice(part.length) }
      : field,
  );
