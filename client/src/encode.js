/** A message as it goes over the wire, or the reason why it can't. */

import { failure } from "./errors.js";

// What JSON.stringify makes `{}` of, or an object of numbers, without a word.
const OPAQUE = / (\w+Array|ArrayBuffer|DataView|Map|Set|Promise|Blob|File|FormData)\]$/;
const LONE_SURROGATE = /\p{Surrogate}/u;
// The server's reader gives up at 1000, and then can't tell which message it was. A circle is deeper than any.
const DEEPEST = 900;

/**
 * Refuse what JSON has no room for, or loses.
 * @param {any} value
 * @param {string} pointer where it stands in the payload
 * @param {number} depth
 */
function check(value, pointer, depth) {
  // That of Node's Buffer makes a list of numbers.
  if (typeof value?.toJSON === "function" && !ArrayBuffer.isView(value)) value = value.toJSON();
  const kind = typeof value;
  const fault =
    kind === "object"
      ? depth > DEEPEST
        ? "too deep"
        : OPAQUE.exec({}.toString.call(value))?.[1]
      : kind === "string"
        ? LONE_SURROGATE.test(value) && "half a character"
        : (kind === "bigint" || (kind === "number" && !Number.isFinite(value))) && `the ${kind} ${value}`;
  if (fault) refuse(pointer, fault);
  if (!value || kind !== "object") return;
  for (const name of Object.keys(value)) {
    check(name, pointer, depth);
    check(value[name], `${pointer}/${name.replace(/~/g, "~0").replace(/\//g, "~1")}`, depth + 1);
  }
}

/**
 * @param {string} pointer
 * @param {unknown} what
 * @returns {never}
 */
function refuse(pointer, what) {
  const message = `${pointer || "The payload"} can't be sent: it is ${what}.`;
  throw failure("invalid_payload", message, { fields: [{ pointer, code: "invalid", message }] });
}

/**
 * Write a message.
 * @param {string} type
 * @param {number | string} id
 * @param {any} payload
 * @param {string} [key] of the payload, beside what it has
 * @throws {JackfieldError} `invalid_payload`: there is no JSON for it
 */
export function encode(type, id, payload, key) {
  check(payload, "", 0);
  if (Array.isArray(payload) || typeof (payload ?? {}) !== "object") refuse("", "no object");
  const message = { type, id, payload: { ...payload, ...(key !== undefined && { key }) } };
  check([type, id, key], "", 0);
  return { message, text: JSON.stringify(message) };
}

/**
 * Whether the server takes this as an id.
 * @param {any} id
 */
export const isId = (id) => (typeof id === "string" ? /^.{1,64}$/su.test(id) : Number.isSafeInteger(id) && id >= 0);
