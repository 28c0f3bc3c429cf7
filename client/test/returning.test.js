/** How a connection ends: for now, for good, or until something is wanted again. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { client, next, rejection, scripted, until } from "./scripted.js";

const TOPIC = "room:a";

async function pair(t, options) {
  const server = await scripted(t);
  const connected = client(t, server.url, options);
  const peer = await server.welcomed();
  await connected.ready;
  return { server, connected, peer };
}

/** The server closes as its idle rule does. */
async function idle({ connected, peer }) {
  const told = next(connected, "close");
  peer.send({ type: "goodbye", payload: { code: 1000, reason: "idle", reconnect: false } });
  peer.socket.close(1000, "idle");
  return told;
}

test("a session by cookie comes back where the goodbye says so, as the cookie may be a newer one", async (t) => {
  const { server, connected, peer } = await pair(t);
  peer.goodbye(4002, true);
  await server.welcomed();
  await until(connected, "open");
});

test("who is closed as idle comes back as soon as something is asked", async (t) => {
  const all = await pair(t);
  const { code, reconnect } = await idle(all);
  assert.deepEqual([code, reconnect], [1000, true]);
  assert.deepEqual([all.connected.state, all.connected.retryAt], ["idle", null]);
  const asked = all.connected.request("a.b");
  const peer = await all.server.welcomed();
  peer.reply(await peer.expect("a.b"), { here: true });
  assert.deepEqual(await asked, { here: true });
});

test("who is closed as idle without a goodbye comes back as well", async (t) => {
  const all = await pair(t);
  const told = next(all.connected, "close");
  all.peer.socket.close(1000, "idle");
  await told;
  const room = all.connected.subscribe(TOPIC);
  const peer = await all.server.welcomed();
  peer.reply(await peer.expect("topic.subscribe"), { epoch: "e", offset: 0 });
  await room.ready;
});

test("who is closed as idle comes back at once where something is wanted", async (t) => {
  for (const want of [(connected) => connected.subscribe(TOPIC), (connected) => connected.on("event", () => {})]) {
    const all = await pair(t);
    want(all.connected);
    await idle(all);
    const peer = await all.server.welcomed();
    await until(all.connected, "open");
    peer.socket.terminate();
  }
});

test("who is closed as idle can be told to come back, and to end", async (t) => {
  const all = await pair(t);
  await idle(all);
  all.connected.reconnect();
  const peer = await all.server.welcomed();
  await until(all.connected, "open");
  await idle({ ...all, peer });
  all.connected.close();
  assert.equal(all.connected.state, "closed");
});

test("any other 1000 is the end", async (t) => {
  const { connected, peer } = await pair(t);
  const told = next(connected, "close");
  peer.socket.close(1000);
  assert.equal((await told).reconnect, false);
});

test("one client can be closed and connected again, with another token", async (t) => {
  const server = await scripted(t);
  let token = "ada's";
  const connected = client(t, server.url, { token: () => token });
  const first = await server.welcomed({ user: "ada" });
  await first.expect("auth");
  await connected.ready;
  const welcomes = [];
  connected.on("welcome", ({ user }) => welcomes.push(user));
  const room = connected.subscribe(TOPIC);
  await first.expect("topic.subscribe");
  connected.close();
  assert.equal((await rejection(room.ready)).code, "cancelled");
  assert.equal((await rejection(connected.request("a.b"))).code, "connection_closed");
  token = "ben's";
  connected.connect();
  const asked = connected.request("a.b");
  const second = await server.welcomed({ user: "ben" });
  assert.equal((await second.expect("auth")).payload.token, "ben's");
  assert.equal((await connected.ready).user, "ben");
  second.reply(await second.expect("a.b"), { here: true });
  assert.deepEqual(await asked, { here: true });
  assert.deepEqual(welcomes, ["ben"]);
  connected.connect(); // it is
  assert.equal(connected.state, "open");
});

for (const name of ["state", "close"]) {
  test(`a listener for its ${name} may connect it again`, async (t) => {
    const { server, connected, peer } = await pair(t);
    connected.once(name, () => connected.connect());
    peer.goodbye(4502, false);
    await server.welcomed();
    await until(connected, "open");
    await connected.ready;
  });
}

test("a subscription that ends with the client may be made again when it hears of it", async (t) => {
  const { server, connected, peer } = await pair(t);
  let room;
  connected.subscribe(TOPIC).on("close", () => {
    connected.connect();
    room = connected.subscribe(TOPIC);
  });
  await peer.expect("topic.subscribe");
  peer.goodbye(4502, false);
  const second = await server.welcomed();
  second.reply(await second.expect("topic.subscribe"), { epoch: "e", offset: 0 });
  await room.ready;
  assert.equal(connected.state, "open");
});

test("who has signed out gives null for a token, and is not asked again", async (t) => {
  const server = await scripted(t);
  let asked = 0;
  const connected = client(t, server.url, { token: () => (++asked, null) });
  const told = next(connected, "close");
  const { code, message } = await rejection(connected.ready);
  assert.equal(code, "connection_closed");
  assert.match(message, /signed out/);
  assert.deepEqual(await told, { code: 1000, reason: "signed out", reconnect: false, after: null });
  assert.deepEqual([connected.state, asked], ["closed", 1]);
});

test("who gives nothing for a token comes without", async (t) => {
  for (const nothing of [undefined, ""]) {
    const server = await scripted(t);
    const connected = client(t, server.url, { token: () => nothing });
    await server.welcomed();
    await connected.ready;
  }
});

test("who has signed out when the token runs out ends there", async (t) => {
  const server = await scripted(t);
  const tokens = ["first", null];
  const connected = client(t, server.url, { token: () => tokens.shift() });
  const peer = await server.welcomed();
  await peer.expect("auth");
  await connected.ready;
  const told = next(connected, "close");
  peer.refuse({}, { code: "token_expired", retryable: true, expires_at: 1 });
  assert.deepEqual(await told, { code: 1000, reason: "signed out", reconnect: false, after: null });
  assert.equal(await peer.closed, 1000);
});

test("a provider of tokens that fails for good ends it, with its error for a cause", async (t) => {
  const server = await scripted(t);
  const cause = Object.assign(new Error("the account is closed"), { retryable: false });
  let asked = 0;
  const connected = client(t, server.url, {
    token() {
      asked++;
      throw cause;
    },
  });
  const told = next(connected, "error");
  const error = await rejection(connected.ready);
  assert.deepEqual([error.code, error.cause], ["connection_closed", cause]);
  assert.match(error.message, /the account is closed/);
  const { code, retryable } = await told;
  assert.deepEqual([code, retryable], ["connection_failed", false]);
  assert.deepEqual([connected.state, asked], ["closed", 1]);
});

test("what is asked of a client that has ended is settled", async (t) => {
  const { connected, peer } = await pair(t);
  const told = next(connected, "close");
  peer.goodbye(4502, false);
  await told;
  const room = connected.subscribe(TOPIC);
  const failed = next(room, "error");
  const ended = next(room, "close");
  const run = connected.attach("a.1");
  const call = connected.call({ agent: "a" });
  const stream = connected.stream("a.b");
  const errors = [
    await rejection(room.ready),
    await failed,
    await ended,
    await rejection(connected.subscribe(TOPIC)[Symbol.asyncIterator]().next()),
    await rejection(run.result),
    await rejection(run[Symbol.asyncIterator]().next()),
    await rejection(call.task),
    await rejection(call.result),
    await rejection(stream.next()),
    await rejection(stream.result),
    await rejection(connected.publish(TOPIC, {})),
    await rejection(connected.history(TOPIC)),
    await rejection(connected.presence(TOPIC)),
    await rejection(run.answer({})),
    await rejection(run.cancel()),
  ];
  for (const { code, extra } of errors) assert.deepEqual([code, extra.close_code], ["connection_closed", 4502]);
});

test("what is followed when the client is closed is settled", async (t) => {
  const { connected, peer } = await pair(t);
  const run = connected.attach("a.1");
  await peer.expect("topic.subscribe");
  connected.close();
  assert.equal((await rejection(run.result)).code, "cancelled");
  assert.equal((await rejection(run[Symbol.asyncIterator]().next())).code, "cancelled");
});
