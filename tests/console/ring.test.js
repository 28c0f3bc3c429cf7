// The list behind the console's long lists.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Ring } from "../../server/jackfield/http/console/static/ring.js";

const filled = (capacity, count) => {
  const ring = new Ring(capacity);
  for (let item = 0; item < count; item++) ring.push(item);
  return ring;
};

test("only the newest are kept, each under its number", () => {
  const ring = filled(3, 10);
  assert.deepEqual([...ring], [7, 8, 9]);
  assert.deepEqual([ring.first, ring.end, ring.length], [7, 10, 3]);
  assert.equal(ring.get(7), 7);
  assert.equal(ring.get(6), undefined);
  assert.equal(ring.get(10), undefined);
});

test("what came before is put before, as much of it as there is room for", () => {
  const ring = filled(5, 2);
  assert.equal(ring.prepend(["a", "b", "c", "d"]), 3);
  assert.deepEqual([...ring], ["b", "c", "d", 0, 1]);
  assert.equal(ring.get(0), 0);
  assert.equal(ring.get(-1), "d");
  assert.equal(ring.prepend(["z"]), 0);
  ring.push(2);
  assert.deepEqual([...ring], ["c", "d", 0, 1, 2]);
});

test("a cleared one goes on counting", () => {
  const ring = filled(3, 5);
  ring.clear();
  assert.deepEqual([...ring], []);
  ring.push("next");
  assert.equal(ring.get(5), "next");
});

test("a copy stays as it was", () => {
  const ring = filled(3, 5);
  const copy = ring.copy();
  ring.push(5);
  assert.deepEqual([...copy], [2, 3, 4]);
  assert.equal(copy.get(2), 2);
  assert.equal(copy.end, 5);
});
