/** Requests and streams: who gets which answer, what waits, what is sent again. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { JackfieldError } from "jackfield";

import { client, held, next, rejection, scripted, until } from "./scripted.js";

/** A client and the server's end of its connection. */
async function pair(t, options, welcome) {
  const server = await scripted(t);
  const connected = client(t, server.url, options);
  const peer = await server.welcomed(welcome);
  await connected.ready;
  return { server, connected, peer };
}

/** The connection breaks; the server's end of the next one. */
async function broken({ server, connected, peer }) {
  const told = next(connected, "close");
  peer.socket.terminate();
  await told;
  return server.peer();
}

test("each request gets its own answer, in whatever order they come", async (t) => {
  const { connected, peer } = await pair(t);
  const first = connected.request("a.one", { number: 1 });
  const second = connected.request("a.two");
  const [one, two] = [await peer.expect("a.one"), await peer.expect("a.two")];
  assert.deepEqual(one.payload, { number: 1 });
  assert.deepEqual(two.payload, {});
  peer.reply(two, { answer: 2 });
  peer.reply(one, { answer: 1 });
  assert.deepEqual(await Promise.all([first, second]), [{ answer: 1 }, { answer: 2 }]);
});

test("an error is thrown as it came", async (t) => {
  const { connected, peer } = await pair(t);
  const asked = rejection(connected.request("a.b"));
  const fields = [{ pointer: "/x", code: "required", message: "Missing." }];
  peer.refuse(await peer.next(), { code: "invalid_payload", fields });
  const error = await asked;
  assert.ok(error instanceof JackfieldError);
  assert.deepEqual([error.code, error.fields], ["invalid_payload", fields]);
});

test("what answers nothing is told as an error of the client's", async (t) => {
  const { connected, peer } = await pair(t);
  const told = next(connected, "error");
  peer.refuse({}, { code: "invalid_json" });
  assert.equal((await told).code, "invalid_json");
});

test("an id of one's own is used, and not twice at once", async (t) => {
  const { connected, peer } = await pair(t);
  const asked = connected.request("a.b", {}, { id: "mine" });
  assert.equal((await rejection(connected.request("a.b", {}, { id: "mine" }))).code, "conflict");
  const message = await peer.next();
  assert.equal(message.id, "mine");
  peer.reply(message);
  await asked;
});

test("a key goes into the payload", async (t) => {
  const { connected, peer } = await pair(t);
  connected.request("a.b", { text: "hi" }, { key: "k" }).catch(() => {});
  assert.deepEqual((await peer.next()).payload, { text: "hi", key: "k" });
});

test("a request that takes too long is cancelled at the server", async (t) => {
  const { connected, peer } = await pair(t);
  const error = rejection(connected.request("a.slow", {}, { timeout: 10 }));
  const { id } = await peer.expect("a.slow");
  assert.deepEqual((await peer.expect("request.cancel")).payload, { id });
  const { code, retryable } = await error;
  assert.deepEqual([code, retryable], ["timeout", true]);
  peer.reply({ id }); // too late, and nobody's
  const asked = connected.request("a.next");
  peer.reply(await peer.expect("a.next"), { next: true });
  assert.deepEqual(await asked, { next: true });
});

test("an AbortSignal cancels a request here and at the server", async (t) => {
  const { connected, peer } = await pair(t);
  const abort = new AbortController();
  const error = rejection(connected.request("a.slow", {}, { signal: abort.signal }));
  const { id } = await peer.expect("a.slow");
  abort.abort("enough");
  assert.deepEqual((await peer.expect("request.cancel")).payload, { id });
  const { code, cause } = await error;
  assert.deepEqual([code, cause], ["cancelled", "enough"]);
});

test("what is aborted before is not sent", async (t) => {
  const { connected, peer } = await pair(t);
  const signal = AbortSignal.abort();
  assert.equal((await rejection(connected.request("a.never", {}, { signal }))).code, "cancelled");
  connected.request("a.next").catch(() => {});
  await peer.expect("a.next");
});

test("what is aborted while it waits to be sent is not sent", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const abort = new AbortController();
  const error = rejection(connected.request("a.never", {}, { signal: abort.signal }));
  connected.request("a.next").catch(() => {});
  abort.abort();
  assert.equal((await error).code, "cancelled");
  const peer = await server.welcomed();
  await peer.expect("a.next");
});

test("a message larger than the server takes is refused here, and the line stays", async (t) => {
  const { connected, peer } = await pair(t, {}, { limits: { message_bytes: 100, in_flight: 4 } });
  const error = await rejection(connected.request("a.b", { text: "ä".repeat(50) }));
  assert.deepEqual([error.code, error.extra.limit], ["too_large", 100]);
  connected.request("a.b", { text: "ä".repeat(20) }).catch(() => {});
  await peer.expect("a.b");
});

test("requests made while away are sent in their order once it is back", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const asked = [1, 2, 3].map((number) => connected.request("a.b", { number }));
  const peer = await server.welcomed();
  for (const number of [1, 2, 3]) {
    const message = await peer.next();
    assert.equal(message.payload.number, number);
    peer.reply(message, { number });
  }
  assert.deepEqual(await Promise.all(asked), [{ number: 1 }, { number: 2 }, { number: 3 }]);
});

test("what is asked when the welcome comes goes before what has waited", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  connected.request("a.waits").catch(() => {});
  connected.subscribe("room:a");
  connected.on("welcome", () => void connected.request("a.first").catch(() => {}));
  const peer = await server.welcomed();
  await peer.expect("a.first");
  await peer.expect("topic.subscribe");
  await peer.expect("a.waits");
});

test("no more wait than the queue holds", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url, { queue: 2 });
  const asked = [1, 2].map((number) => connected.request("a.b", { number }));
  const error = await rejection(connected.request("a.b", { number: 3 }));
  assert.deepEqual([error.code, error.retryable], ["queue_full", true]);
  const peer = await server.welcomed();
  peer.reply(await peer.next());
  peer.reply(await peer.next());
  await Promise.all(asked);
});

test("a request under way when the line is lost is rejected, as nobody knows what became of it", async (t) => {
  const both = await pair(t);
  const error = rejection(both.connected.request("a.b"));
  await both.peer.next();
  const peer = await broken(both);
  const { code, retryable, extra } = await error;
  assert.deepEqual([code, retryable, extra.close_code], ["connection_lost", true, 1006]);
  peer.welcome();
  both.connected.request("a.next").catch(() => {});
  await peer.expect("a.next");
});

for (const [what, type, payload, options] of [
  ["with a key in its payload", "a.b", { key: "k" }, {}],
  ["with a key", "a.b", {}, { key: "k" }],
  ["that may be sent again", "a.b", {}, { retry: true }],
  ["that only asks", "topic.history", { topic: "room:a" }, {}],
]) {
  test(`a request ${what} is sent again`, async (t) => {
    const both = await pair(t);
    const asked = both.connected.request(type, payload, options);
    const later = both.connected.request("a.later", {}, { retry: true });
    const first = await both.peer.next();
    const peer = await broken(both);
    peer.welcome();
    const second = await peer.next();
    assert.deepEqual(second, first);
    peer.reply(second, { done: true });
    peer.reply(await peer.expect("a.later"));
    assert.deepEqual(await asked, { done: true });
    await later;
  });
}

test("a request with a key that must not be sent again is not", async (t) => {
  const both = await pair(t);
  const error = rejection(both.connected.request("a.b", {}, { key: "k", retry: false }));
  await both.peer.next();
  await broken(both);
  assert.equal((await error).code, "connection_lost");
});

test("a publication is published once, however often it is sent", async (t) => {
  const both = await pair(t);
  const asked = both.connected.publish("board:a", { text: "hi" });
  const other = both.connected.publish("board:a", { text: "hi" });
  const [first, another] = [await both.peer.next(), await both.peer.next()];
  assert.ok(first.payload.key);
  assert.notEqual(first.payload.key, another.payload.key);
  const peer = await broken(both);
  peer.welcome();
  const second = await peer.next();
  assert.deepEqual(second, first);
  peer.reply(second, { epoch: "e", offset: 1 });
  peer.reply(await peer.next(), { epoch: "e", offset: 2 });
  assert.deepEqual(await Promise.all([asked, other]), [{ epoch: "e", offset: 1 }, { epoch: "e", offset: 2 }]);
});

test("after a goodbye requests wait for the next connection", async (t) => {
  const { server, connected, peer } = await pair(t);
  const told = next(connected, "goodbye");
  peer.send({ type: "goodbye", payload: { code: 4001, reason: "shutdown", reconnect: true, after: 0.001 } });
  await told;
  const asked = connected.request("a.b");
  peer.socket.close(4001);
  const second = await server.welcomed();
  second.reply(await second.expect("a.b"), { here: true });
  assert.deepEqual(await asked, { here: true });
});

test("no more are under way than the server lets, and half of them in line", async (t) => {
  const { connected, peer } = await pair(t, {}, { limits: { message_bytes: 65536, in_flight: 4 } });
  const sent = [];
  connected.on("message", ({ direction, message }) => direction === "out" && sent.push(message.payload.number));
  const streams = [1, 2, 3, 4].map((number) => connected.stream("a.stream", { number }));
  assert.deepEqual(sent, [1, 2, 3, 4]);
  const asked = [5, 6, 7].map((number) => connected.request("a.b", { number }));
  assert.deepEqual(sent, [1, 2, 3, 4]);
  for (const { result } of streams) {
    peer.reply(await peer.expect("a.stream"));
    await result;
  }
  assert.deepEqual(sent, [1, 2, 3, 4, 5, 6]);
  peer.reply(await peer.expect("a.b"));
  await asked[0];
  assert.deepEqual(sent, [1, 2, 3, 4, 5, 6, 7]);
  for (const answer of asked.slice(1)) {
    peer.reply(await peer.expect("a.b"));
    await answer;
  }
});

test("what is sent again goes before what has waited", async (t) => {
  const both = await pair(t, {}, { limits: { in_flight: 2 } });
  const asked = [1, 2].map((number) => both.connected.request("a.b", { number }, { retry: true }));
  const peer = await broken(both);
  peer.welcome({ limits: { in_flight: 2 } });
  for (const number of [1, 2]) {
    const message = await peer.next();
    assert.equal(message.payload.number, number);
    peer.reply(message);
  }
  await Promise.all(asked);
});

test("to close in a listener for the welcome rejects what has waited", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const error = rejection(connected.request("a.b"));
  connected.on("welcome", () => connected.close());
  await server.welcomed();
  assert.equal((await error).code, "connection_closed");
});

test("a stream gives its chunks, then its reply", async (t) => {
  const { connected, peer } = await pair(t);
  const stream = connected.stream("a.count", { to: 2 });
  const message = await peer.expect("a.count");
  for (const seq of [0, 1]) peer.send({ type: "chunk", id: message.id, seq, payload: { number: seq } });
  peer.reply(message, { total: 2 });
  const numbers = [];
  for await (const chunk of stream) numbers.push(chunk.number);
  assert.deepEqual(numbers, [0, 1]);
  assert.deepEqual(await stream.result, { total: 2 });
});

test("to leave a stream cancels it at the server", async (t) => {
  const { connected, peer } = await pair(t);
  const stream = connected.stream("a.count");
  const { id } = await peer.expect("a.count");
  peer.send({ type: "chunk", id, seq: 0, payload: { number: 0 } });
  for await (const chunk of stream) {
    assert.equal(chunk.number, 0);
    break;
  }
  assert.deepEqual((await peer.expect("request.cancel")).payload, { id });
  assert.equal((await rejection(stream.result)).code, "cancelled");
});

test("a stream that ends with an error throws it behind its chunks", async (t) => {
  const { connected, peer } = await pair(t);
  const stream = connected.stream("a.count");
  const message = await peer.expect("a.count");
  peer.send({ type: "chunk", id: message.id, seq: 0, payload: {} });
  peer.refuse(message, { code: "internal", incident: "i" });
  const came = [];
  const error = await rejection(
    (async () => {
      for await (const chunk of stream) came.push(chunk);
    })(),
  );
  assert.deepEqual([came.length, error.code, error.incident], [1, "internal", "i"]);
  assert.equal((await stream.next()).done, true);
});

test("a stream that lacks a chunk is broken", async (t) => {
  const { connected, peer } = await pair(t);
  const stream = connected.stream("a.count");
  const { id } = await peer.expect("a.count");
  peer.send({ type: "chunk", id, seq: 0, payload: {} }, { type: "chunk", id, seq: 2, payload: {} });
  assert.equal((await rejection(stream.result)).code, "stream_broken");
  await peer.expect("request.cancel");
});

test("the time limit of a stream is for each answer", async (t) => {
  const { connected, peer } = await pair(t);
  const timers = held(t, 12_345);
  const stream = connected.stream("a.count", {}, { timeout: 12_345 });
  const { id } = await peer.expect("a.count");
  const handles = new Set(timers.keys());
  for (const seq of [0, 1]) {
    peer.send({ type: "chunk", id, seq, payload: { seq } });
    assert.equal((await stream.next()).value.seq, seq);
    assert.equal(timers.size, 1);
    handles.add(...timers.keys());
  }
  assert.equal(handles.size, 3);
  timers.get([...timers.keys()][0])();
  assert.equal((await rejection(stream.next())).code, "timeout");
  await peer.expect("request.cancel");
  assert.equal(timers.size, 0);
});

test("a stream that has begun is not begun again", async (t) => {
  const both = await pair(t);
  const begun = both.connected.stream("a.begun", {}, { retry: true });
  const fresh = both.connected.stream("a.fresh", {}, { retry: true });
  const { id } = await both.peer.expect("a.begun");
  await both.peer.expect("a.fresh");
  both.peer.send({ type: "chunk", id, seq: 0, payload: {} });
  await begun.next();
  const peer = await broken(both);
  assert.equal((await rejection(begun.result)).code, "connection_lost");
  peer.welcome();
  peer.reply(await peer.expect("a.fresh"));
  await fresh.result;
});

test("chunks that nobody reads are dropped beyond a bound, and that is told", async (t) => {
  const { connected, peer } = await pair(t, { buffer: 2 });
  const stream = connected.stream("a.count");
  const message = await peer.expect("a.count");
  for (const seq of [0, 1, 2, 3]) peer.send({ type: "chunk", id: message.id, seq, payload: { seq } });
  peer.reply(message);
  await stream.result;
  assert.deepEqual([(await stream.next()).value.seq, (await stream.next()).value.seq], [0, 1]);
  assert.equal((await rejection(stream.next())).code, "slow_reader");
});

test("chunks on the way to the reply of a request are skipped", async (t) => {
  const { connected, peer } = await pair(t);
  const asked = connected.request("a.count");
  const message = await peer.expect("a.count");
  peer.send({ type: "chunk", id: message.id, seq: 0, payload: {} });
  peer.reply(message, { total: 1 });
  assert.deepEqual(await asked, { total: 1 });
});

test("to close while requests wait rejects them", async (t) => {
  const connected = client(t, "ws://127.0.0.1:1/ws");
  const error = rejection(connected.request("a.b"));
  await until(connected, "waiting");
  connected.close();
  assert.equal((await error).code, "connection_closed");
});
