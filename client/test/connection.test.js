/** The line: who says hello, when it is opened again, and when not. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { JackfieldError, connect } from "jackfield";
import { WebSocket } from "ws";

import { address } from "../src/address.js";
import { backoff } from "../src/backoff.js";
import { client, next, rejection, scripted, until } from "./scripted.js";

test("a wait is anything up to a bound that doubles, and does not grow for ever", () => {
  assert.equal(backoff(0, 1000, 30_000, () => 0), 0);
  const bounds = [0, 1, 2, 5, 50].map((failures) => backoff(failures, 1000, 30_000, () => 1));
  assert.deepEqual(bounds, [1000, 2000, 4000, 30_000, 30_000]);
  const waits = new Set(Array.from({ length: 100 }, () => backoff(3)));
  assert.ok(waits.size > 50, "clients that lost one server come back together");
});

test("an address may be of http, without a path, or relative to the page's own", (t) => {
  assert.equal(address("http://h:1/"), "ws://h:1/ws");
  assert.equal(address("https://h/chat/ws?a=1#b"), "wss://h/chat/ws?a=1");
  globalThis.location = new URL("https://page.example/some/where");
  t.after(() => delete globalThis.location);
  assert.equal(address("/ws"), "wss://page.example/ws");
});

for (const url of [undefined, null, "", 5, {}, "ftp://h/ws", "nowhere"]) {
  test(`${JSON.stringify(url)} is no address, and refused at once`, (t) => {
    assert.throws(() => connect(url, { webSocket: WebSocket }), TypeError);
    if (url === "nowhere") return; // where there is a page it is relative to that
    globalThis.location = new URL("https://page.example/");
    t.after(() => delete globalThis.location);
    assert.throws(() => connect(url, { webSocket: WebSocket }), TypeError);
  });
}

test("where a server renders the page, a relative address connects to nothing, and says so", async (t) => {
  const { WebSocket: own } = globalThis;
  globalThis.WebSocket = undefined;
  t.after(() => (globalThis.WebSocket = own));
  const connected = connect("/ws");
  assert.equal(connected.state, "closed");
  for (const promise of [connected.ready, connected.request("a.b"), connected.subscribe("room:a").ready]) {
    const { code, message } = await rejection(promise);
    assert.equal(code, "connection_closed");
    assert.match(message, /no page/);
  }
});

test("where there is no WebSocket the error says what to do", (t) => {
  const { WebSocket: own } = globalThis;
  globalThis.WebSocket = undefined;
  t.after(() => (globalThis.WebSocket = own));
  assert.throws(() => connect("ws://h/ws"), /webSocket/);
});

test("a client that is welcomed is open, and knows the welcome", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  assert.equal(connected.state, "connecting");
  const states = [];
  connected.on("state", (state) => states.push(state));
  const told = next(connected, "welcome");
  const peer = await server.welcomed({ user: "ada" });
  assert.equal((await connected.ready).user, "ada");
  assert.equal((await told).user, "ada");
  assert.equal(connected.welcome.user, "ada");
  assert.deepEqual(states, ["open"]);
  assert.equal(peer.socket.protocol, "jackfield.v1");
  assert.equal(connected.retryAt, null);
});

test("with a token the first message says who it is, and nothing comes before the welcome", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url, { token: async () => "secret" });
  const asked = connected.request("session.whoami");
  const peer = await server.peer();
  const { type, payload } = await peer.next();
  assert.deepEqual([type, payload], ["auth", { token: "secret" }]);
  peer.welcome();
  peer.reply(await peer.expect("session.whoami"), { user: "ada" });
  assert.deepEqual(await asked, { user: "ada" });
});

test("each connection asks for a token of its own", async (t) => {
  const server = await scripted(t);
  let count = 0;
  client(t, server.url, { token: () => `token ${++count}` });
  for (const token of ["token 1", "token 2"]) {
    const peer = await server.peer();
    assert.equal((await peer.expect("auth")).payload.token, token);
    peer.welcome();
    peer.goodbye(4002, true);
  }
});

test("a token that is a text and has expired is not sent again", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url, { token: "old" });
  const peer = await server.peer();
  peer.refuse({ id: (await peer.expect("auth")).id }, { code: "token_expired" });
  const told = next(connected, "error");
  peer.goodbye(4002, true);
  assert.equal((await told).code, "token_expired");
  const error = await rejection(connected.ready);
  assert.deepEqual([error.code, error.extra.close_code], ["connection_closed", 4002]);
  assert.equal(connected.state, "closed");
});

test("a provider of tokens that fails is asked again", async (t) => {
  const server = await scripted(t);
  let count = 0;
  const connected = client(t, server.url, {
    token() {
      if (++count === 1) throw new Error("the service is away");
      return "here it is";
    },
  });
  const error = await next(connected, "error");
  assert.equal(error.code, "connection_failed");
  assert.match(error.message, /the service is away/);
  const peer = await server.peer();
  assert.equal((await peer.expect("auth")).payload.token, "here it is");
});

test("a token that runs out is swapped on the same connection", async (t) => {
  const server = await scripted(t);
  let count = 0;
  const connected = client(t, server.url, { token: () => `token ${++count}` });
  const peer = await server.welcomed();
  await peer.expect("auth");
  peer.refuse({}, { code: "token_expired", retryable: true, expires_at: 1 });
  const refresh = await peer.expect("auth.refresh");
  assert.deepEqual(refresh.payload, { token: "token 2" });
  const told = next(connected, "error");
  peer.refuse(refresh, { code: "forbidden", message: "Another user's." });
  const error = await told;
  assert.equal(error.code, "token_failed");
  assert.equal(error.cause.code, "forbidden");
  assert.equal(connected.state, "open");
});

test("a token that runs out and cannot be swapped is told", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url, { token: "the only one" });
  const peer = await server.welcomed();
  await connected.ready;
  const told = next(connected, "error");
  peer.refuse({}, { code: "token_expired", retryable: true, expires_at: 5 });
  assert.equal((await told).extra.expires_at, 5);
});

test("a server that lets everybody in is said to take no token", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url, { token: "mine" });
  const peer = await server.welcomed();
  await connected.ready;
  const told = next(connected, "error");
  peer.refuse(await peer.expect("auth"), { code: "unknown_type" });
  assert.match((await told).message, /lets everybody in/);
});

for (const code of [1001, 1006, 1011, 4000, 4001, 4003, 4006, 4499]) {
  test(`after ${code} it connects again`, async (t) => {
    const server = await scripted(t);
    const connected = client(t, server.url);
    const peer = await server.welcomed();
    await connected.ready;
    const told = next(connected, "close");
    if (code === 1006) peer.socket.terminate();
    else peer.socket.close(code);
    const closed = await told;
    assert.deepEqual([closed.code, closed.reconnect], [code, true]);
    await server.welcomed();
    await until(connected, "open");
  });
}

for (const code of [1000, 1002, 1003, 1007, 1008, 1009, 4500, 4501, 4502, 4503, 4504, 4505, 4999]) {
  test(`after ${code} it does not connect again`, async (t) => {
    const server = await scripted(t);
    const connected = client(t, server.url);
    const peer = await server.welcomed();
    await connected.ready;
    const asked = rejection(connected.request("session.ping"));
    const told = next(connected, "close");
    peer.socket.close(code, "because");
    assert.deepEqual(await told, { code, reason: "because", reconnect: false, after: null });
    assert.equal(connected.state, "closed");
    assert.equal((await asked).code, "connection_closed");
    const error = await rejection(connected.request("session.ping"));
    assert.equal(error.code, "connection_closed");
    assert.match(error.message, /because/);
    assert.equal(connected.retryAt, null);
  });
}

test("a goodbye is stronger than the code of the close", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const first = await server.welcomed();
  await connected.ready;
  first.goodbye(4504, true);
  const second = await server.welcomed();
  await until(connected, "open");
  const told = next(connected, "close");
  second.send({ type: "goodbye", payload: { code: 4001, reason: "enough", reconnect: false } });
  second.socket.terminate();
  assert.deepEqual(await told, { code: 4001, reason: "enough", reconnect: false, after: null });
});

test("a goodbye says when to come again", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const peer = await server.welcomed();
  await connected.ready;
  const bye = next(connected, "goodbye");
  const told = next(connected, "close");
  const before = Date.now();
  peer.goodbye(4001, true, 3600);
  assert.equal((await bye).after, 3600);
  assert.equal((await told).after, 3_600_000);
  assert.equal(connected.state, "waiting");
  assert.ok(connected.retryAt >= before + 3_600_000);
  assert.ok(connected.retryAt <= Date.now() + 3_600_000);
  connected.reconnect();
  await server.welcomed();
  await until(connected, "open");
  assert.equal(connected.retryAt, null);
});

test("a server that is not there is tried again and again", async (t) => {
  const server = await scripted(t);
  class Refused extends WebSocket {
    static count = 0;
    constructor(url, protocol) {
      super(++Refused.count < 4 ? "ws://127.0.0.1:1/ws" : url, protocol);
    }
  }
  const connected = client(t, server.url, { webSocket: Refused });
  await server.welcomed();
  await connected.ready;
  assert.equal(Refused.count, 4);
});

test("a server that does not welcome is left after a while", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url, { openTimeout: 20 });
  const silent = await server.peer();
  await silent.closed;
  const told = next(connected, "close");
  assert.match((await told).reason, /did not welcome/);
});

for (const [what, data] of [
  ["what is no JSON", "{"],
  ["what is no object", "[1]"],
  ["null", "null"],
  ["what has no type", '{"id":1}'],
  ["bytes", Buffer.from([1, 2, 3])],
]) {
  test(`a server that sends ${what} is left for good`, async (t) => {
    const server = await scripted(t);
    const connected = client(t, server.url);
    const peer = await server.welcomed();
    await connected.ready;
    const told = next(connected, "close");
    peer.socket.send(data);
    const { code, reconnect } = await told;
    assert.deepEqual([code, reconnect], [1002, false]);
    await peer.closed;
  });
}

test("messages of a type that is not known are ignored", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const peer = await server.welcomed();
  peer.send({ type: "news", payload: {} }, { type: "reply", id: 99, payload: {} });
  const asked = connected.request("session.ping");
  peer.reply(await peer.expect("session.ping"), { fine: true });
  assert.deepEqual(await asked, { fine: true });
});

test("a line that has gone silent is asked, and kept while it answers", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const peer = await server.welcomed({ heartbeat: 0.4 }); // a busy machine must not take it for silent
  await connected.ready;
  for (let count = 0; count < 2; count++) {
    const probe = await peer.expect("request.cancel");
    peer.reply(probe, { cancelled: false });
  }
  assert.equal(connected.state, "open");
});

test("a line that does not answer is replaced", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const silent = await server.welcomed({ heartbeat: 0.02 });
  await connected.ready;
  const told = next(connected, "close");
  await silent.expect("request.cancel");
  assert.match((await told).reason, /does not answer/);
  await server.welcomed();
  await until(connected, "open");
});

test("to close ends everything, without a word from the server", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const peer = await server.welcomed();
  await connected.ready;
  const asked = rejection(connected.request("session.ping"));
  const told = next(connected, "close");
  connected.close();
  connected.close();
  assert.deepEqual(await told, { code: 1000, reason: "closed by this client", reconnect: false, after: null });
  assert.equal((await asked).code, "connection_closed");
  assert.equal(await peer.closed, 1000);
});

test("to close while it waits ends the waiting", async (t) => {
  const connected = client(t, "ws://127.0.0.1:1/ws", { firstWait: 1e6, longestWait: 1e6 });
  await until(connected, "waiting");
  connected.close();
  assert.equal(connected.state, "closed");
  assert.equal((await rejection(connected.ready)).code, "connection_closed");
});

test("an inspector sees every message, and no token", async (t) => {
  const server = await scripted(t);
  const frames = [];
  const connected = client(t, server.url, { token: "secret" });
  connected.on("message", (frame) => frames.push(frame));
  const peer = await server.peer();
  await peer.expect("auth");
  peer.welcome();
  const asked = connected.request("chat.send", { text: "ä" });
  peer.reply(await peer.expect("chat.send"));
  await asked;
  assert.deepEqual(
    frames.map(({ direction, message }) => [direction, message.type]),
    [["out", "auth"], ["in", "welcome"], ["out", "chat.send"], ["in", "reply"]],
  );
  assert.ok(!JSON.stringify(frames).includes("secret"));
  assert.equal(frames[2].bytes, Buffer.byteLength(JSON.stringify(frames[2].message)));
});

test("a listener that fails harms nobody, and is heard of", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const thrown = [];
  t.mock.method(globalThis, "queueMicrotask", (task) => thrown.push(task));
  connected.on("welcome", () => {
    throw new Error("a fault of the page");
  });
  const second = next(connected, "welcome");
  await server.welcomed();
  await second;
  assert.throws(thrown[0], /a fault of the page/);
  assert.equal(connected.state, "open");
});

test("a listener that is taken away hears no more", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  let count = 0;
  const off = connected.on("welcome", () => count++);
  const peer = await server.welcomed();
  await connected.ready;
  off();
  peer.socket.close(4001);
  await server.welcomed();
  await next(connected, "welcome");
  assert.equal(count, 1);
});

test("an error has all that the server said", () => {
  const fields = [{ pointer: "/text", code: "required", message: "Missing." }];
  const error = new JackfieldError({
    code: "chat.full", message: "Full.", retryable: true, fields, incident: "i", retry_after: 1.5, limit: 9,
  });
  assert.ok(error instanceof Error);
  assert.deepEqual(
    [error.name, error.code, error.message, error.retryable, error.fields],
    ["JackfieldError", "chat.full", "Full.", true, fields],
  );
  assert.deepEqual([error.incident, error.retryAfter, error.extra], ["i", 1500, { limit: 9 }]);
  const bare = new JackfieldError({ code: "internal" });
  assert.deepEqual(
    [bare.message, bare.retryable, bare.fields, bare.incident, bare.retryAfter, bare.extra],
    ["internal", false, [], null, null, {}],
  );
});

test("waits grow until a connection has held for a while", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url, { firstWait: 10, longestWait: 1e6 });
  t.mock.method(Math, "random", () => 0.9);
  t.mock.method(Date, "now", () => 0);
  const clock = t.mock.method(performance, "now", () => 0);
  const waits = [];
  for (const held of [0, 1000, 2000, 5000, 0]) {
    const peer = await server.welcomed();
    await until(connected, "open");
    clock.mock.mockImplementation(() => held);
    const told = next(connected, "close");
    // A listener is told within the same turn in which the wait is set.
    const wait = new Promise((resolve) => {
      const off = connected.on("state", () => {
        off();
        resolve(connected.retryAt);
      });
    });
    peer.socket.terminate();
    await told;
    waits.push(await wait);
    clock.mock.mockImplementation(() => 0);
  }
  assert.deepEqual(waits, [9, 18, 36, 9, 18]);
});

test("a server without a heartbeat is not asked", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const peer = await server.welcomed({ heartbeat: undefined });
  await connected.ready;
  connected.request("a.b").catch(() => {});
  await peer.expect("a.b");
});

test("to close while a token is fetched opens no socket", async (t) => {
  let opened = 0;
  class Counted {
    constructor() {
      opened++;
    }
  }
  let give;
  const token = new Promise((resolve) => (give = resolve));
  const connected = connect("ws://127.0.0.1:1/ws", { webSocket: Counted, token: () => token });
  connected.close();
  give("late");
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(opened, 0);
});

test("a line that is lost while a token is swapped is no error: the next has a new one", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url, { token: () => "token" });
  const first = await server.welcomed();
  await first.expect("auth");
  const errors = [];
  connected.on("error", (error) => errors.push(error));
  first.refuse({}, { code: "token_expired", retryable: true, expires_at: 1 });
  await first.expect("auth.refresh");
  first.socket.terminate();
  const second = await server.welcomed();
  await second.expect("auth");
  await until(connected, "open");
  assert.deepEqual(errors, []);
});
