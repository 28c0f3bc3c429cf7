/** What nobody listens for is told on the console, for whoever develops the page. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { WebSocket } from "ws";

import { client, next, rejection, scripted, until } from "./scripted.js";

/** What stands on the console. */
function told(t) {
  const lines = [];
  t.mock.method(console, "warn", (line) => lines.push(line));
  return lines;
}

async function pair(t, options) {
  const lines = told(t);
  const server = await scripted(t);
  const connected = client(t, server.url, options);
  const peer = await server.welcomed();
  await connected.ready;
  return { server, connected, peer, lines };
}

async function settled({ connected, peer }) {
  const asked = connected.request("session.ping");
  peer.reply(await peer.expect("session.ping"));
  await asked;
}

test("a page of an origin that the server refuses is told which, and where to add it", async (t) => {
  globalThis.location = new URL("https://page.example/some/where");
  t.after(() => delete globalThis.location);
  const lines = told(t);
  const server = await scripted(t);
  const connected = client(t, server.url);
  const peer = await server.peer();
  peer.send({ type: "goodbye", payload: { code: 4503, reason: "forbidden origin or protocol", reconnect: false } });
  peer.socket.close(4503);
  const { message } = await rejection(connected.ready);
  assert.match(message, /https:\/\/page\.example .*\[auth\] origins/);
  await until(connected, "closed");
  assert.equal(lines.length, 1);
  assert.ok(lines[0].includes(message), lines[0]);
});

test("an end that somebody listens to, or has made, is not on the console", async (t) => {
  const { connected, peer, lines } = await pair(t);
  const closed = next(connected, "close");
  peer.goodbye(4502, false);
  await closed;
  const other = await pair(t);
  other.connected.close();
  assert.deepEqual([...lines, ...other.lines], []);
});

test("a subscription that is refused is on the console, unless somebody learns of it", async (t) => {
  const { connected, peer, lines } = await pair(t);
  const refuse = async (more) =>
    peer.refuse(await peer.expect("topic.subscribe"), { code: "not_found", message: "No such topic.", ...more });
  connected.subscribe("room:a", { onEvent() {} });
  await refuse();
  await peer.expect("topic.unsubscribe");
  assert.deepEqual(lines, ["Jackfield: room:a: No such topic. (not_found)"]);

  const waited = rejection(connected.subscribe("room:b").ready);
  await refuse();
  await waited;
  await peer.expect("topic.unsubscribe");
  const read = rejection(connected.subscribe("room:c")[Symbol.asyncIterator]().next());
  await refuse();
  await read;
  await peer.expect("topic.unsubscribe");
  const heard = next(connected.subscribe("room:d"), "error");
  await refuse();
  await heard;
  await peer.expect("topic.unsubscribe");
  assert.equal(lines.length, 1);

  const later = connected.subscribe("room:e");
  peer.reply(await peer.expect("topic.subscribe"), { epoch: "e", offset: 0 });
  await later.ready;
  peer.refuse({}, { code: "forbidden", topic: "room:e" });
  await peer.expect("topic.unsubscribe");
  assert.equal(lines.length, 2, "who has waited for it once does not learn of a later end");

  connected.subscribe("room:f", { onEvent() {} });
  await refuse({ code: "unavailable", retryable: true, retry_after: 3600 });
  await settled({ connected, peer });
  assert.match(lines[2], /room:f: .*\(unavailable\)/);
});

test("a stream, a call and an error of nobody's are on the console, unless somebody learns of them", async (t) => {
  const { connected, peer, lines } = await pair(t);
  const refuse = async (type) => {
    peer.refuse(await peer.expect(type), { code: "not_found", message: "None." });
    await settled({ connected, peer });
  };
  connected.stream("a.stream");
  await refuse("a.stream");
  connected.call({ agent: "a" });
  await refuse("agent.call");
  peer.refuse({}, { code: "a.b", message: "By the way." });
  await settled({ connected, peer });
  assert.deepEqual(lines.splice(0), [
    "Jackfield: a.stream: None. (not_found)",
    "Jackfield: agent.call: None. (not_found)",
    "Jackfield: By the way. (a.b)",
  ]);

  connected.stream("a.stream").next().catch(() => {});
  await refuse("a.stream");
  connected.stream("a.stream").result.catch(() => {});
  await refuse("a.stream");
  connected.call({ agent: "a" }).result.catch(() => {});
  await refuse("agent.call");
  connected.on("error", () => {});
  peer.refuse({}, { code: "a.b", message: "By the way." });
  await settled({ connected, peer });
  assert.deepEqual(lines, []);
});

test("a token function that throws is on the console each time it is asked", async (t) => {
  const lines = told(t);
  const server = await scripted(t);
  let asked = 0;
  client(t, server.url, {
    token() {
      if (++asked < 2) throw new Error("the service is away");
    },
  });
  await server.welcomed();
  assert.deepEqual(lines, ["Jackfield: There is no connection: Error: the service is away (connection_failed)"]);
});

test("a server that is not there is on the console once, and a connection that comes again is not", async (t) => {
  const { server, connected, peer, lines } = await pair(t);
  peer.socket.terminate();
  const second = await server.welcomed();
  await until(connected, "open");
  assert.deepEqual(lines, []);
  second.socket.terminate();

  class Refused extends WebSocket {
    static count = 0;
    constructor(url, protocol) {
      super(++Refused.count < 6 ? "ws://127.0.0.1:1/ws" : url, protocol);
    }
  }
  const other = client(t, server.url, { webSocket: Refused });
  await server.welcomed();
  await server.welcomed();
  await other.ready;
  assert.equal(lines.length, 1);
  assert.match(lines[0], /1006/);
});
