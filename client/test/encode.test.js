/** What can be sent: the rest is refused here, as a server can't say whose it was, or gets something else. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { JackfieldError } from "jackfield";

import { client, next, rejection, scripted } from "./scripted.js";

const HALF = "\ud83d"; // of an emoji

async function pair(t, options) {
  const server = await scripted(t);
  const connected = client(t, server.url, options);
  const peer = await server.welcomed();
  await connected.ready;
  return { connected, peer };
}

/** Nothing was sent before what is sent now. */
async function settled({ connected, peer }) {
  const asked = connected.request("session.ping");
  peer.reply(await peer.expect("session.ping"));
  await asked;
}

function deep(depth) {
  const outer = {};
  let inner = outer;
  for (let at = 1; at < depth; at++) inner = inner.a = {};
  return outer;
}

const circle = {};
circle.round = circle;

for (const [what, payload, pointer] of [
  ["a BigInt", { big: 1n }, "/big"],
  ["NaN, which would be null", { list: [1, NaN] }, "/list/1"],
  ["Infinity, which would be null", { "a/b~c": -Infinity }, "/a~1b~0c"],
  ["half an emoji", { text: `hi ${HALF}` }, "/text"],
  ["half an emoji in a name", { [HALF]: 1 }, ""],
  ["bytes, which would be an object of numbers", { file: new Uint8Array([1]) }, "/file"],
  ["bytes of Node", { file: Buffer.from("a") }, "/file"],
  ["bytes without a view, which would be empty", { file: new ArrayBuffer(1) }, "/file"],
  ["bytes instead of a payload", new Uint8Array([1]), ""],
  ["a Map, which would be empty", { map: new Map([[1, 2]]) }, "/map"],
  ["a Set, which would be empty", { set: new Set([1]) }, "/set"],
  ["a Promise that nobody awaited", { later: Promise.resolve(1) }, "/later"],
  ["a Blob, which would be empty", { file: new Blob(["a"]) }, "/file"],
  ["what is nested deeper than any server reads", deep(2000), null],
  ["a circle", circle, null],
  ["a list instead of a payload", [1], ""],
  ["a text instead of a payload", "hi", ""],
]) {
  test(`${what} is refused before it is sent`, async (t) => {
    const all = await pair(t);
    const error = await rejection(all.connected.request("a.b", payload));
    assert.ok(error instanceof JackfieldError);
    assert.deepEqual([error.code, error.retryable], ["invalid_payload", false]);
    if (pointer !== null) assert.equal(error.fields[0].pointer, pointer);
    await settled(all);
  });
}

test("what can't be sent fails a stream, a publication and a call as it fails a request", async (t) => {
  const all = await pair(t);
  const { connected } = all;
  const bad = { big: 1n };
  const stream = connected.stream("a.b", bad);
  const run = connected.call({ agent: "a" }, bad);
  const errors = [
    await rejection(stream.next()),
    await rejection(stream.result),
    await rejection(connected.publish("room:a", bad)),
    await rejection(run.task),
    await rejection(run.result),
    await rejection(run[Symbol.asyncIterator]().next()),
    await rejection(connected.history("room:a", { limit: 1n })),
    await rejection(connected.subscribe("room:a", { since: { epoch: "e", offset: 1n } }).ready),
  ];
  assert.deepEqual(new Set(errors.map(({ code }) => code)), new Set(["invalid_payload"]));
  await all.peer.expect("topic.unsubscribe");
  await settled(all);
});

test("half an emoji in a type, an id or a key is refused, too", async (t) => {
  const all = await pair(t);
  const { connected } = all;
  assert.equal((await rejection(connected.request(HALF))).code, "invalid_payload");
  assert.equal((await rejection(connected.request("a.b", {}, { id: HALF }))).code, "invalid_payload");
  assert.equal((await rejection(connected.request("a.b", {}, { key: HALF }))).code, "invalid_payload");
  await settled(all);
});

test("more half emojis than may be under way keep nobody else waiting", async (t) => {
  const all = await pair(t);
  const refused = Array.from({ length: 64 }, () => rejection(all.connected.request("a.b", { text: HALF })));
  await settled(all);
  assert.ok((await Promise.all(refused)).every(({ code }) => code === "invalid_payload"));
});

test("what JSON has room for is sent as it is", async (t) => {
  const { connected, peer } = await pair(t);
  class Point {
    x = 1;
  }
  const shared = { same: true };
  const payload = {
    at: new Date(0), emoji: "👍", point: new Point(), one: shared, two: [shared], none: null, left: undefined,
    proxy: new Proxy({ a: 1 }, {}), deep: deep(500),
  };
  const asked = connected.request("a.b", payload, { key: "k" });
  const message = await peer.expect("a.b");
  assert.deepEqual(message.payload, JSON.parse(JSON.stringify({ ...payload, key: "k" })));
  peer.reply(message);
  await asked;
});

for (const id of ["", 1.5, -1, 2 ** 53, NaN, null, "x".repeat(65), {}]) {
  test(`the id ${JSON.stringify(id)} is refused here, as no server would answer to it`, async (t) => {
    const all = await pair(t);
    assert.equal((await rejection(all.connected.request("a.b", {}, { id }))).code, "invalid_message");
    await settled(all);
  });
}

for (const [what, id] of [
  ["zero", 0],
  ["the last integer", 2 ** 53 - 1],
  ["64 emojis", "👍".repeat(64)],
  ["two lines", "a\nb"],
]) {
  test(`the id may be ${what}`, async (t) => {
    const { connected, peer } = await pair(t);
    const asked = connected.request("a.b", {}, { id });
    const message = await peer.expect("a.b");
    assert.equal(message.id, id);
    peer.reply(message);
    await asked;
  });
}

for (const id of ["jackfield-auth", "jackfield-probe"]) {
  test(`the id ${id}, which is the client's own, is refused`, async (t) => {
    const all = await pair(t);
    assert.equal((await rejection(all.connected.request("a.b", {}, { id }))).code, "conflict");
    await settled(all);
  });
}

test("a number that somebody has taken is left out by those that count up", async (t) => {
  const { connected, peer } = await pair(t);
  const asked = [connected.request("a.one", {}, { id: 1 }), connected.request("a.two"), connected.request("a.three")];
  const messages = [await peer.next(), await peer.next(), await peer.next()];
  assert.deepEqual(messages.map(({ id }) => id), [1, 2, 3]);
  for (const message of messages) peer.reply(message, { type: message.type });
  assert.deepEqual((await Promise.all(asked)).map(({ type }) => type), ["a.one", "a.two", "a.three"]);
});

test("an error is taken as it comes, whatever it has", async (t) => {
  const { connected, peer } = await pair(t);
  for (const error of [{ code: "a.b", message: { text: ["no"] }, fields: { text: "no" } }, null, undefined, {}]) {
    const asked = rejection(connected.request("a.b"));
    const { id } = await peer.expect("a.b");
    peer.send({ type: "error", id, error });
    const { code, message, fields } = await asked;
    assert.deepEqual([code, typeof message, fields], [error?.code ?? "internal", "string", []]);
  }
});

test("a field that is wrong is found by its name", () => {
  const fields = ["/text", "/items/0/text"].map((pointer) => ({ pointer, code: "required", message: pointer }));
  const error = new JackfieldError({ code: "invalid_payload", fields });
  assert.equal(error.field("text"), fields[0]);
  assert.equal(error.field("/text"), fields[0]);
  assert.equal(error.field("items/0/text"), fields[1]);
  assert.equal(error.field("nothing"), undefined);
});

test("what was aborted has the name that it has where fetch was", async (t) => {
  const { connected, peer } = await pair(t);
  const abort = new AbortController();
  const asked = ["request", "history", "presence"].map((name) =>
    rejection(connected[name]("a.b", ...(name === "request" ? [{}] : []), { signal: abort.signal })),
  );
  for (const type of ["a.b", "topic.history", "topic.presence"]) await peer.expect(type);
  abort.abort();
  for (const error of await Promise.all(asked)) assert.deepEqual([error.name, error.code], ["AbortError", "cancelled"]);
});

test("a signal of one's own and the end of a loop both cancel, also where AbortSignal.any is missing", async (t) => {
  t.mock.method(AbortSignal, "any", () => assert.fail("it is not there in older browsers"));
  const { connected, peer } = await pair(t);
  const abort = new AbortController();
  const [stream, left] = [1, 2].map(() => connected.stream("a.b", {}, { signal: abort.signal }));
  const ids = [(await peer.expect("a.b")).id, (await peer.expect("a.b")).id];
  await left.return();
  assert.equal((await peer.expect("request.cancel")).payload.id, ids[1]);
  abort.abort();
  assert.equal((await peer.expect("request.cancel")).payload.id, ids[0]);
  assert.equal((await rejection(stream.result)).code, "cancelled");
});

test("a timeout of the client's counts for each request that has none of its own", async (t) => {
  const { connected, peer } = await pair(t, { timeout: 20 });
  const error = rejection(connected.request("a.slow"));
  const patient = connected.request("a.patient", {}, { timeout: null });
  const endless = connected.request("a.endless", {}, { timeout: Infinity });
  const run = connected.call({ agent: "a" });
  assert.equal((await error).code, "timeout");
  await peer.expect("a.slow");
  for (const type of ["a.patient", "a.endless", "agent.call"]) peer.reply(await peer.expect(type), { state: "completed" });
  await Promise.all([patient, endless, run.result]);
});

test("a client may write all that happens to the console, and no token", async (t) => {
  const lines = [];
  t.mock.method(console, "debug", (...words) => lines.push(words));
  const { connected, peer } = await pair(t, { token: () => "secret", debug: true });
  const told = next(connected, "close");
  peer.goodbye(4001, true, 3600);
  await told;
  const names = new Set(lines.map(([, name]) => name));
  for (const name of ["message", "welcome", "goodbye", "close"]) assert.ok(names.has(name), name);
  assert.ok(!JSON.stringify(lines).includes("secret"));
  connected.debug = false;
  const { length } = lines;
  connected.close();
  assert.equal(lines.length, length);
});
