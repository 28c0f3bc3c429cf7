// What the console's forms make of JSON Schemas.

import assert from "node:assert/strict";
import { test } from "node:test";

import * as pointer from "../../server/jackfield/http/console/static/pointer.js";
import { describe, initial, kind, matches, read, resolve } from "../../server/jackfield/http/console/static/schema.js";

const resolved = (schema, root = schema) => resolve(schema, root).schema;

test("a reference is followed, and what stands beside it counts more", () => {
  const root = { $defs: { "a/b": { type: "string", maxLength: 5, description: "inner" } } };
  const { schema } = resolve({ $ref: "#/$defs/a~1b", description: "outer" }, root);
  assert.deepEqual(schema, { type: "string", maxLength: 5, description: "outer" });
});

test("a nested schema with words of its own is still an object", () => {
  const root = { $defs: { Since: { type: "object", properties: { epoch: { type: "string" } } } } };
  const nested = { allOf: [{ $ref: "#/$defs/Since" }], description: "Where." };
  assert.equal(kind(resolved(nested, root)), "object");
  assert.equal(resolved(nested, root).description, "Where.");
});

test("null is told apart from the kind of a value, however the schema says it", () => {
  const root = { $defs: { Inner: { type: "object", properties: {} } } };
  for (const [schema, expected] of [
    [{ type: ["string", "null"] }, "string"],
    [{ anyOf: [{ $ref: "#/$defs/Inner" }, { type: "null" }] }, "object"],
    [{ oneOf: [{ type: "null" }, { type: "integer" }] }, "integer"],
    [{ enum: ["a", null] }, "enum"],
  ]) {
    const { schema: known, nullable } = resolve(schema, root);
    assert.equal(kind(known), expected);
    assert.equal(nullable, true);
  }
  assert.equal(resolve({ type: "string" }, root).nullable, false);
});

test("a schema that refers to itself ends", () => {
  const root = { $ref: "#" };
  assert.equal(kind(resolved(root, root)), "json");
  const tree = { type: "object", required: ["child"], properties: { child: { $ref: "#" } } };
  assert.ok(initial(tree, tree).child.child);
});

test("what no control can hold is written as JSON", () => {
  for (const schema of [
    {},
    true,
    undefined,
    { type: "object" },
    { type: "object", properties: {}, additionalProperties: true },
    { type: "array" },
    { type: ["string", "array"] },
    { anyOf: [{ type: "string" }, { type: "object" }] },
    { $ref: "https://example.com/other.json" },
  ]) {
    assert.equal(kind(resolved(schema, {})), "json");
  }
  assert.equal(kind(resolved({ type: ["integer", "string"] })), "scalar");
});

test("a form begins with what must be there and is known, and no more", () => {
  const schema = {
    type: "object",
    required: ["address", "count", "name", "version"],
    properties: {
      address: { type: "object", required: ["street"], properties: { street: { type: "string" } } },
      count: { type: "integer", default: 3 },
      name: { type: "string" },
      version: { const: 2 },
      other: { type: "integer", default: 4 },
    },
  };
  assert.deepEqual(initial(schema, schema), { address: {}, count: 3, version: 2 });
  assert.deepEqual(initial({ type: "object" }, {}), {});
});

test("a name like __proto__ is a name like any other", () => {
  const schema = { type: "object", required: ["__proto__"], properties: { ["__proto__"]: { default: 1 } } };
  const value = initial(schema, schema);
  assert.deepEqual(Object.keys(value), ["__proto__"]);
  assert.equal(Object.getPrototypeOf(value), Object.prototype);
});

test("limits are told in words", () => {
  assert.equal(describe({ type: "string", minLength: 1, maxLength: 64 }, false), "string, 1 to 64 characters");
  assert.equal(describe({ type: "integer", minimum: 0 }, true), "integer, at least 0, or null");
  assert.equal(describe({ type: "number", default: 0.5 }, false), "number, 0.5 if left out");
});

test("what is typed becomes the value that is meant", () => {
  assert.equal(read("integer", "7"), 7);
  assert.equal(read("number", ""), undefined);
  assert.equal(read("string", "7"), "7");
  assert.equal(read("scalar", "7"), 7);
  assert.equal(read("scalar", "007"), "007");
});

test("a topic is of the pattern that has its words", () => {
  for (const [pattern, name, expected] of [
    ["room:{name}", "room:lobby", true],
    ["room:{name}", "room:", false],
    ["room:{name}", "room:a:b", false],
    ["room:{name}", "rooms:a", false],
    ["user:{id*}", "user:a:b", true],
    ["user:{id*}", "user", false],
    ["broadcast", "broadcast", true],
    ["broadcast", "broadcasts", false],
  ]) {
    assert.equal(matches(pattern, name), expected, `${pattern} ${name}`);
  }
});

test("a pointer names a place, and the place has that pointer", () => {
  for (const path of [[], ["a"], ["a/b", "~", ""], ["list", "0"]]) {
    assert.deepEqual(pointer.parse(pointer.format(path)), path);
  }
  assert.equal(pointer.format(["a/b", "~"]), "/a~1b/~0");
});

test("a value is put and taken away at its place only", () => {
  const value = { list: [1, 2, 3], inner: { a: 1 } };
  pointer.put(value, ["inner", "b"], 2);
  pointer.put(value, ["inner", "a"], undefined);
  pointer.put(value, ["list", 1], undefined);
  assert.deepEqual(value, { list: [1, 3], inner: { b: 2 } });
  assert.equal(pointer.get(value, ["list", 5, "x"]), undefined);
  assert.equal(pointer.get(value, ["toString"]), undefined);
});

test("an error belongs to the nearest place that leads to it", () => {
  const known = ["", "/a", "/a/b", "/ab"];
  assert.equal(pointer.nearest(known, "/a/b/c"), "/a/b");
  assert.equal(pointer.nearest(known, "/abc"), "");
  assert.equal(pointer.nearest(["/a"], "/b"), undefined);
});

test("errors about a part of a payload point from there", () => {
  const fields = [{ pointer: "/payload/text" }, { pointer: "/payload" }, { pointer: "/payloads" }];
  assert.deepEqual(
    pointer.within(fields, "/payload").map((field) => field.pointer),
    ["/text", "", "/payloads"],
  );
});
