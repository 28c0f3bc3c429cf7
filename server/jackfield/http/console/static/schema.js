/** JSON Schema (draft 2020-12), as far as a form needs it: what a value may be, in words and kinds. */

import * as pointer from "./pointer.js";

/** @typedef {Record<string, any>} Schema */

// Deeper than any payload is written by hand; a schema may refer to itself for ever.
const DEEPEST = 32;

/**
 * A schema with what it refers to put in its place, and whether it takes null as well.
 * @param {Schema | boolean | undefined} schema
 * @param {Schema} root what its references begin at
 * @returns {{ schema: Schema, nullable: boolean }}
 */
export function resolve(schema, root, depth = 0) {
  if (schema === null || typeof schema !== "object" || depth > DEEPEST) return { schema: {}, nullable: false };
  let { $ref, allOf, ...plain } = schema;
  let nullable = false;
  const parts = [...(typeof $ref === "string" ? [target($ref, root)] : []), ...(Array.isArray(allOf) ? allOf : [])];
  for (const part of parts) {
    const inner = resolve(part, root, depth + 1);
    nullable ||= inner.nullable;
    plain = merge(inner.schema, plain);
  }
  for (const word of ["anyOf", "oneOf"]) {
    const choices = plain[word];
    if (!Array.isArray(choices)) continue;
    const others = choices.filter((choice) => choice?.type !== "null");
    nullable ||= others.length < choices.length;
    const { [word]: _, ...rest } = plain;
    if (others.length === 1) {
      const inner = resolve(others[0], root, depth + 1);
      nullable ||= inner.nullable;
      plain = merge(inner.schema, rest);
    } else plain = { ...rest, choices: others };
  }
  if (Array.isArray(plain.type)) {
    const types = plain.type.filter((type) => type !== "null");
    nullable ||= types.length < plain.type.length;
    plain = { ...plain, type: types.length === 1 ? types[0] : types };
  }
  if (plain.enum?.includes?.(null)) {
    nullable = true;
    plain = { ...plain, enum: plain.enum.filter((value) => value !== null) };
  }
  return { schema: plain, nullable };
}

const target = (reference, root) =>
  reference.startsWith("#") ? pointer.get(root, pointer.parse(decodeURIComponent(reference.slice(1)))) : {};

const merge = (inner, outer) => ({
  ...inner,
  ...outer,
  ...(inner.properties && outer.properties && { properties: { ...inner.properties, ...outer.properties } }),
  ...(inner.required && outer.required && { required: [...new Set([...inner.required, ...outer.required])] }),
});

/**
 * Which control suits a value: `object`, `array`, `enum`, `boolean`, `number`, `integer`, `string`,
 * `scalar` for text or a number, or `json` for what only JSON can say.
 * @param {Schema} schema a resolved one
 */
export function kind(schema) {
  const { type } = schema;
  if (Array.isArray(schema.enum) || "const" in schema) return "enum";
  if (schema.choices) return "json";
  const { properties, additionalProperties: more } = schema;
  const open = more && !Object.keys(properties ?? {}).length; // it names nothing and takes anything
  if (properties && !open && (type === undefined || type === "object")) return "object";
  if (type === "array" && schema.items && !schema.prefixItems) return "array";
  if (["boolean", "number", "integer", "string"].includes(type)) return type;
  const text = Array.isArray(type) && type.includes("string");
  if (text && type.every((each) => ["string", "number", "integer"].includes(each))) return "scalar";
  return "json";
}

/** What an `enum` may be. @param {Schema} schema */
export const options = (schema) => ("const" in schema ? [schema.const] : schema.enum);

/**
 * What a form begins with: objects that must be there, defaults of what must be there, no more.
 * @param {Schema | undefined} schema
 * @param {Schema} root
 */
export function initial(schema, root, depth = 0) {
  const { schema: known } = resolve(schema, root);
  const value = {};
  if (kind(known) !== "object" || depth > DEEPEST) return value;
  for (const name of known.required ?? []) {
    const { schema: inner, nullable } = resolve(known.properties[name], root);
    if (inner.default !== undefined) pointer.put(value, [name], structuredClone(inner.default));
    else if ("const" in inner) pointer.put(value, [name], inner.const);
    else if (kind(inner) === "object" && !nullable) pointer.put(value, [name], initial(inner, root, depth + 1));
  }
  return value;
}

/**
 * What a value may be, in a few words.
 * @param {Schema} schema a resolved one
 * @param {boolean} nullable
 */
export function describe(schema, nullable) {
  const words = [];
  const kinds = { enum: "one of a list", scalar: "text or number", json: "any JSON", object: "object", array: "list" };
  const what = kind(schema);
  if (what === "json" && typeof schema.type === "string") words.push(schema.type);
  else words.push(schema.format ? `${schema.format}` : (kinds[what] ?? what));
  const range = (low, high, unit) => {
    if (low !== undefined && high !== undefined) return `${low} to ${high}${unit}`;
    if (low !== undefined) return `at least ${low}${unit}`;
    return high === undefined ? "" : `at most ${high}${unit}`;
  };
  words.push(
    range(schema.minimum, schema.maximum, ""),
    schema.exclusiveMinimum === undefined ? "" : `more than ${schema.exclusiveMinimum}`,
    schema.exclusiveMaximum === undefined ? "" : `less than ${schema.exclusiveMaximum}`,
    range(schema.minLength, schema.maxLength, " characters"),
    range(schema.minItems, schema.maxItems, " items"),
    schema.pattern ? `like ${schema.pattern}` : "",
    nullable ? "or null" : "",
    schema.default === undefined ? "" : `${JSON.stringify(schema.default)} if left out`,
  );
  return words.filter(Boolean).join(", ");
}

/**
 * What somebody typed, as the value that it is meant to be; undefined for nothing.
 * @param {string} what the kind
 * @param {string} text
 */
export function read(what, text) {
  if (text === "") return undefined;
  if (what === "number" || what === "integer") {
    const number = Number(text);
    return Number.isFinite(number) ? number : text;
  }
  if (what === "scalar") return /^-?(0|[1-9]\d*)(\.\d+)?$/.test(text) ? Number(text) : text;
  return text;
}

/**
 * Whether a topic's name is of a pattern like `room:{name}` or `user:{id*}`.
 * @param {string} pattern
 * @param {string} name
 */
export function matches(pattern, name) {
  const words = pattern.split(":");
  const given = name.split(":");
  const rest = /^\{.*\*\}$/.test(words.at(-1) ?? "");
  if (rest ? given.length < words.length : given.length !== words.length) return false;
  return words.every((word, at) => (word.startsWith("{") ? given[at] !== "" : word === given[at]));
}
