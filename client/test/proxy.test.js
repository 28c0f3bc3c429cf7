/** What a framework wraps in a Proxy works as before: Vue's `reactive` and `ref`, Pinia, and others of the kind. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { client, next, rejection, scripted } from "./scripted.js";

const PLAIN = ["[object Object]", "[object Array]", "[object Map]", "[object Set]"];

/** As deep as such a Proxy goes: whatever is got through it is wrapped as well. */
function reactive(target) {
  return new Proxy(target, {
    get(object, name, receiver) {
      const value = Reflect.get(object, name, receiver);
      const isObject = typeof value === "object" && value !== null;
      return isObject && PLAIN.includes(Object.prototype.toString.call(value)) ? reactive(value) : value;
    },
    set: Reflect.set,
  });
}

async function pair(t) {
  const server = await scripted(t);
  const connected = reactive(client(t, server.url));
  const peer = await server.welcomed();
  await connected.ready;
  return { server, connected, peer };
}

test("a client", async (t) => {
  const { server, connected, peer } = await pair(t);
  assert.deepEqual([connected.state, connected.retryAt, connected.welcome.protocol], ["open", null, 1]);
  const asked = connected.request("a.b", reactive({ list: [1, { a: 2 }] }));
  const message = await peer.expect("a.b");
  assert.deepEqual(message.payload, { list: [1, { a: 2 }] });
  peer.reply(message, { done: true });
  assert.deepEqual(await asked, { done: true });
  const told = next(connected, "close");
  connected.reconnect();
  connected.close();
  await told;
  connected.connect();
  await server.welcomed();
  await connected.ready;
});

test("a subscription", async (t) => {
  const { connected, peer } = await pair(t);
  const room = reactive(connected.subscribe("room:a", reactive({ since: { epoch: "e", offset: 1 } })));
  const subscribe = await peer.expect("topic.subscribe");
  assert.deepEqual(subscribe.payload.since, { epoch: "e", offset: 1 });
  peer.reply(subscribe, { epoch: "e", offset: 1, recovered: true, events: [] });
  await room.ready;
  const heard = next(room, "event");
  room.once("presence", () => {});
  peer.reply(await peer.expect("topic.presence"), { members: [{ user: "ada" }], count: 1 });
  peer.event("room:a", 2);
  for await (const { offset } of room) {
    assert.equal(offset, 2);
    break;
  }
  assert.equal((await heard).offset, 2);
  assert.equal(room.members[0].user, "ada");
  room.close();
  await peer.expect("topic.unsubscribe");
});

test("a stream", async (t) => {
  const { connected, peer } = await pair(t);
  const stream = reactive(connected.stream("a.b"));
  const message = await peer.expect("a.b");
  peer.send({ type: "chunk", id: message.id, seq: 0, payload: { number: 0 } });
  peer.reply(message, { total: 1 });
  for await (const { number } of stream) assert.equal(number, 0);
  assert.deepEqual(await stream.result, { total: 1 });
});

test("a call of an agent", async (t) => {
  const { connected, peer } = await pair(t);
  const run = reactive(connected.call({ agent: "a" }));
  const { id } = await peer.expect("agent.call");
  peer.send({ type: "chunk", id, seq: 0, state: "working", payload: { task: "a.1", state: "working" } });
  assert.equal(await run.task, "a.1");
  assert.equal(run.state, "working");
  const answered = run.answer({});
  peer.reply(await peer.expect("agent.answer"));
  await answered;
  run.close();
  assert.equal((await rejection(run.result)).code, "cancelled");
});
