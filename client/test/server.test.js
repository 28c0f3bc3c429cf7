/** Against real servers: what they and this client promise each other. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { WebSocket } from "ws";

import { Line, eventually, fresh, real, serve, session, signed, token } from "./real.js";
import { client, next, rejection, until } from "./scripted.js";

const ROOM = "room:lobby";

test("a request is answered, and refused with the fields that are wrong", real, async (t) => {
  const { connected } = await session(t);
  assert.deepEqual(await connected.request("session.ping", { text: "hi" }), { text: "hi" });
  const { code, fields, retryable } = await rejection(connected.publish(ROOM, { by: "me", number: "x" }));
  assert.deepEqual([code, retryable], ["invalid_payload", false]);
  assert.deepEqual([fields[0].pointer, fields[0].code], ["/payload/number", "invalid"]);
  const unknown = await rejection(connected.request("sesion.ping"));
  assert.deepEqual([unknown.code, unknown.extra.suggestions[0]], ["unknown_type", "session.ping"]);
});

test("a stream is read to its end", real, async (t) => {
  const { connected } = await session(t);
  const stream = connected.stream("counting.count", { to: 500 });
  const numbers = [];
  for await (const { number } of stream) numbers.push(number);
  assert.deepEqual(numbers, [...Array(500).keys()]);
  await stream.result;
});

test("what is left, aborted or too slow is cancelled at the server", real, async (t) => {
  const { connected } = await session(t);
  const cancelled = async () => (await connected.request("counting.cancelled")).number;
  for await (const { number } of connected.stream("counting.count", { to: 2, wait: true })) if (number === 1) break;
  await eventually(cancelled, 1);
  const abort = new AbortController();
  const aborted = rejection(connected.request("counting.wait", {}, { signal: abort.signal }));
  await connected.request("session.ping");
  abort.abort();
  assert.equal((await aborted).code, "cancelled");
  await eventually(cancelled, 2);
  const late = await rejection(connected.request("counting.wait", {}, { timeout: 50 }));
  assert.equal(late.code, "timeout");
  await eventually(cancelled, 3);
});

test("a thousand requests at once are all answered", real, async (t) => {
  const server = await serve(fresh());
  const connected = client(t, server.url);
  const asked = Array.from({ length: 1000 }, (_, number) => connected.request("session.ping", { number }));
  const answers = await Promise.all(asked);
  assert.deepEqual(answers.map(({ number }) => number), [...Array(1000).keys()]);
});

test("two clients in a room see what each says, and each other", real, async (t) => {
  const { server, connected: ada } = await session(t);
  const ben = client(t, server.url);
  const seen = { ada: [], ben: [] };
  const room = ada.subscribe(ROOM, { onEvent: ({ payload }) => seen.ada.push(payload.number), onPresence() {} });
  await room.ready;
  await ben.subscribe(ROOM, { onEvent: ({ payload }) => seen.ben.push(payload.number) }).ready;
  await ada.publish(ROOM, { by: "ada", number: 1 });
  await ben.publish(ROOM, { by: "ben", number: 2 });
  await eventually(() => seen.ada.length + seen.ben.length, 4);
  assert.deepEqual(seen, { ada: [1, 2], ben: [1, 2] });
  await eventually(() => room.members.length, 2);
  ben.close();
  await eventually(() => room.members.length, 1);
  assert.equal((await ada.presence(ROOM)).count, 1);
  assert.equal((await ada.history(ROOM, { limit: 1 })).events[0].payload.number, 2);
});

/** Everything that was published, once and in order. */
async function complete(offsets, count) {
  await eventually(() => offsets.length >= count, true);
  assert.deepEqual(offsets, [...Array(count).keys()].map((index) => index + 1));
}

test("nothing is lost or told twice when the line is cut again and again", real, async (t) => {
  const { server, connected: author } = await session(t);
  const line = await Line.to(t, server);
  const reader = client(t, line.url);
  const offsets = [];
  const room = reader.subscribe(ROOM, { onEvent: ({ offset }) => offsets.push(offset), onGap: assert.fail });
  await room.ready;
  for (let number = 1; number <= 300; number++) {
    await author.publish(ROOM, { by: "author", number });
    if (number % 60 === 0) line.cut();
  }
  await complete(offsets, 300);
});

test("what was missed and does not fit one reply is read in parts", real, async (t) => {
  const { connected } = await session(t, { limits: { reply_bytes: 4096, event_bytes: 1024, message_bytes: 4096 } });
  const { epoch } = await connected.subscribe(ROOM).ready;
  for (let number = 1; number <= 200; number++) await connected.publish(ROOM, { by: "author", number });
  const offsets = [];
  const since = { epoch, offset: 0 };
  const room = connected.subscribe(ROOM, { since, onEvent: ({ offset }) => offsets.push(offset), onGap: assert.fail });
  await room.ready;
  await complete(offsets, 200);
});

test("what is no longer kept is a gap", real, async (t) => {
  const { connected } = await session(t);
  await connected.publish(ROOM, { by: "author", number: 1 });
  const gaps = [];
  const since = { epoch: "another", offset: 0 };
  const room = connected.subscribe(ROOM, { since, onGap: (gap) => gaps.push(gap) });
  assert.equal((await room.ready).offset, 1);
  assert.deepEqual(gaps[0].from, since);
  await connected.publish(ROOM, { by: "author", number: 2 });
  assert.equal((await room[Symbol.asyncIterator]().next()).value.payload.number, 2);
});

test("a server killed and another started mid-conversation loses nothing", real, async (t) => {
  const config = fresh();
  let server = await serve(config);
  const line = await Line.to(t, server);
  const [author, reader] = [client(t, line.url), client(t, line.url)];
  const offsets = [];
  const numbers = [];
  const room = reader.subscribe(ROOM, {
    onEvent({ offset, payload }) {
      offsets.push(offset);
      numbers.push(payload.number);
    },
    onGap: assert.fail,
  });
  await room.ready;
  const said = [];
  const say = (from, to) => {
    for (let number = from; number <= to; number++) said.push(author.publish(ROOM, { by: "author", number }));
  };
  say(1, 20);
  await said[9];
  await server.kill();
  say(21, 40);
  server = await serve(config);
  line.lead(server);
  say(41, 60);
  const positions = await Promise.all(said);
  await complete(offsets, 60);
  assert.deepEqual(numbers.toSorted((one, other) => one - other), [...Array(60).keys()].map((index) => index + 1));
  assert.equal(new Set(positions.map(({ offset }) => offset)).size, 60);
});

test("a server that is stopped says when to come back, and finds the client there", real, async (t) => {
  const config = fresh();
  const server = await serve(config);
  const line = await Line.to(t, server);
  const connected = client(t, line.url);
  await connected.ready;
  const bye = next(connected, "goodbye");
  const told = next(connected, "close");
  const stopped = server.terminate();
  const { code, after } = await bye;
  assert.equal(code, 4001);
  assert.equal((await told).after, after ? 1000 * after : null);
  assert.equal(connected.state, "waiting");
  const asked = connected.request("session.ping", { still: "here" });
  await stopped;
  line.lead(await serve(config));
  connected.reconnect();
  assert.deepEqual(await asked, { still: "here" });
});

test("a token in the first message says who it is, and a newer one keeps the session", real, async (t) => {
  const server = await serve({ ...fresh(), ...(await signed({ warn_before: "1h" })) });
  const lifetimes = [600, 7200];
  const tokens = [];
  const connected = client(t, server.url, {
    async token() {
      const made = await token({ sub: "ada", lifetime: lifetimes[Math.min(tokens.length, 1)] });
      tokens.push(made);
      return made;
    },
  });
  assert.equal((await connected.ready).user, "ada");
  const who = async () => (await connected.request("session.whoami")).expires_at > Date.now() / 1000 + 3600;
  await eventually(who, true);
  assert.equal(tokens.length, 2);
  assert.equal(connected.welcome.user, "ada");
});

test("a session whose token has run out comes back with another", real, async (t) => {
  const server = await serve({ ...fresh(), ...(await signed({ warn_before: "0s", grace: "0s" })) });
  const lifetimes = [1, 600];
  const connected = client(t, server.url, { token: () => token({ sub: "ada", lifetime: lifetimes.shift() }) });
  const told = next(connected, "close");
  await connected.ready;
  const { code, reconnect } = await told;
  assert.deepEqual([code, reconnect], [4002, true]);
  await until(connected, "open");
});

test("a token that is not good ends it", real, async (t) => {
  const server = await serve({ ...fresh(), ...(await signed()) });
  const connected = client(t, server.url, { token: "nobody's" });
  const told = next(connected, "error");
  const error = await rejection(connected.ready);
  assert.deepEqual([error.code, error.extra.close_code], ["connection_closed", 4501]);
  assert.equal((await told).code, "unauthenticated");
});

test("a silent line is noticed and replaced", real, async (t) => {
  const { server } = await session(t, { connections: { heartbeat: "1s", ttl: "5s" } });
  const connected = client(t, server.url);
  await connected.ready;
  const frames = [];
  connected.on("message", ({ direction, message }) => frames.push([direction, message.id]));
  await eventually(() => frames.some(([direction, id]) => direction === "in" && id === "jackfield-probe"), true);
  assert.equal(connected.state, "open");
});

test("the platform's own WebSocket will do, where it has one", real, async (t) => {
  const server = await serve(fresh());
  const connected = client(t, server.url, { webSocket: globalThis.WebSocket ?? WebSocket });
  await connected.ready;
  assert.deepEqual(await connected.request("session.ping", { text: "ä" }), { text: "ä" });
  const told = next(connected, "close");
  await server.kill();
  assert.equal((await told).reconnect, true);
});
