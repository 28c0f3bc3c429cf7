/** Topics: in order, nothing twice, nothing missing without a word, over many connections. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { client, held, next, rejection, scripted } from "./scripted.js";

const TOPIC = "room:a";

/** A client that follows a topic, which stands at offset 2 of the epoch "e". */
async function following(t, options = {}, clientOptions) {
  const server = await scripted(t);
  const connected = client(t, server.url, clientOptions);
  const peer = await server.welcomed();
  const told = [];
  const room = connected.subscribe(TOPIC, {
    onEvent: ({ offset }) => told.push(offset),
    onGap: ({ position }) => told.push(position),
    ...options,
  });
  const subscribe = await peer.expect("topic.subscribe");
  return { server, connected, peer, room, told, subscribe };
}

async function joined(t, options, clientOptions) {
  const all = await following(t, options, clientOptions);
  all.peer.reply(all.subscribe, { epoch: "e", offset: 2 });
  await all.room.ready;
  return all;
}

/** Whatever was sent before has been taken once this has come back. */
async function settled({ connected, peer }) {
  const asked = connected.request("a.settled");
  peer.reply(await peer.expect("a.settled"));
  await asked;
}

const wire = (offset) => ({ type: "event", topic: TOPIC, offset, payload: { number: offset } });

test("a subscription stands where the reply says, and its events follow", async (t) => {
  const all = await joined(t);
  assert.deepEqual(all.subscribe.payload, { topic: TOPIC });
  assert.deepEqual(await all.room.ready, { epoch: "e", offset: 2 });
  const event = next(all.room, "event");
  const anyEvent = next(all.connected, "event");
  all.peer.event(TOPIC, 3);
  assert.deepEqual(await event, { topic: TOPIC, epoch: "e", offset: 3, id: "e:3", payload: { number: 3 } });
  assert.deepEqual(await anyEvent, await event);
  assert.deepEqual(all.room.position, { epoch: "e", offset: 3 });
});

test("events in the same packet as the reply are not missed", async (t) => {
  const all = await following(t);
  all.peer.socket._socket.cork();
  all.peer.reply(all.subscribe, { epoch: "e", offset: 2 });
  for (const offset of [3, 4]) all.peer.event(TOPIC, offset);
  all.peer.socket._socket.uncork();
  await settled(all);
  assert.deepEqual(all.told, [3, 4]);
});

test("what comes before the reply, or twice, is not told", async (t) => {
  const all = await following(t);
  all.peer.event(TOPIC, 2);
  all.peer.reply(all.subscribe, { epoch: "e", offset: 2 });
  for (const offset of [2, 3, 3, 1, 4]) all.peer.event(TOPIC, offset);
  await settled(all);
  assert.deepEqual(all.told, [3, 4]);
});

test("with a position, what was missed comes first", async (t) => {
  const all = await following(t, { since: { epoch: "e", offset: 1 } });
  assert.deepEqual(all.subscribe.payload.since, { epoch: "e", offset: 1 });
  all.peer.reply(all.subscribe, { epoch: "e", offset: 3, recovered: true, events: [wire(2), wire(3)] });
  assert.deepEqual(await all.room.ready, { epoch: "e", offset: 3 });
  assert.deepEqual(all.told, [2, 3]);
});

test("after a lost line it goes on where it was", async (t) => {
  const all = await joined(t);
  all.peer.event(TOPIC, 3);
  await settled(all);
  all.peer.socket.terminate();
  const peer = await all.server.welcomed();
  const again = await peer.expect("topic.subscribe");
  assert.deepEqual(again.payload.since, { epoch: "e", offset: 3 });
  peer.event(TOPIC, 5); // not ours yet: it is in what is recovered
  peer.reply(again, { epoch: "e", offset: 5, recovered: true, events: [wire(4), wire(5)] });
  peer.event(TOPIC, 6);
  await settled({ ...all, peer });
  assert.deepEqual(all.told, [3, 4, 5, 6]);
});

test("what does not fit one reply is read from the history, page by page", async (t) => {
  const all = await following(t, { since: { epoch: "e", offset: 0 } });
  all.peer.reply(all.subscribe, { epoch: "e", offset: 5, recovered: false });
  const first = await all.peer.expect("topic.history");
  assert.deepEqual(first.payload, { topic: TOPIC, after: 0 });
  all.peer.event(TOPIC, 6);
  all.peer.reply(first, { epoch: "e", offset: 6, events: [wire(1), wire(2)] });
  const again = await all.peer.expect("topic.subscribe");
  assert.deepEqual(again.payload.since, { epoch: "e", offset: 2 });
  all.peer.reply(again, { epoch: "e", offset: 6, recovered: false });
  const second = await all.peer.expect("topic.history");
  assert.equal(second.payload.after, 2);
  all.peer.reply(second, { epoch: "e", offset: 6, events: [wire(3), wire(4)] });
  const last = await all.peer.expect("topic.subscribe");
  all.peer.reply(last, { epoch: "e", offset: 6, recovered: true, events: [wire(5), wire(6)] });
  all.peer.event(TOPIC, 7);
  await all.room.ready;
  await settled(all);
  assert.deepEqual(all.told, [1, 2, 3, 4, 5, 6, 7]);
});

test("what is no longer kept is a gap, and the events go on behind it", async (t) => {
  const all = await following(t, { since: { epoch: "e", offset: 0 } });
  const gap = next(all.room, "gap");
  all.peer.reply(all.subscribe, { epoch: "e", offset: 500, recovered: false });
  all.peer.refuse(await all.peer.expect("topic.history"), { code: "unrecoverable" });
  const again = await all.peer.expect("topic.subscribe");
  assert.deepEqual(again.payload.since, { epoch: "e", offset: 500 });
  all.peer.reply(again, { epoch: "e", offset: 501, recovered: true, events: [wire(501)] });
  all.peer.event(TOPIC, 502);
  await settled(all);
  assert.deepEqual(all.told, [{ epoch: "e", offset: 500 }, 501, 502]);
  assert.deepEqual(await gap, {
    topic: TOPIC,
    position: { epoch: "e", offset: 500 },
    from: { epoch: "e", offset: 0 },
  });
});

test("a history that does not go on where we are is a gap", async (t) => {
  const all = await following(t, { since: { epoch: "e", offset: 1 } });
  all.peer.reply(all.subscribe, { epoch: "e", offset: 9, recovered: false });
  all.peer.reply(await all.peer.expect("topic.history"), { epoch: "e", offset: 9, events: [wire(8), wire(9)] });
  const again = await all.peer.expect("topic.subscribe");
  all.peer.reply(again, { epoch: "e", offset: 9, recovered: true, events: [] });
  await all.room.ready;
  assert.deepEqual(all.told, [{ epoch: "e", offset: 9 }]);
});

test("another epoch is a gap", async (t) => {
  const all = await following(t, { since: { epoch: "old", offset: 7 } });
  all.peer.reply(all.subscribe, { epoch: "e", offset: 1, recovered: false });
  all.peer.event(TOPIC, 2);
  await settled(all);
  assert.deepEqual(all.told, [{ epoch: "e", offset: 1 }, 2]);
});

test("a gap that the server tells of is told, and the events go on behind it", async (t) => {
  const all = await joined(t);
  let errors = 0;
  all.connected.on("error", () => errors++);
  all.peer.refuse({}, { code: "unrecoverable", topic: TOPIC, epoch: "f", offset: 10 });
  all.peer.event(TOPIC, 11);
  await settled(all);
  assert.deepEqual(all.told, [{ epoch: "f", offset: 10 }, 11]);
  assert.deepEqual(all.room.position, { epoch: "f", offset: 11 });
  assert.equal(errors, 0);
});

test("an event that does not follow on the last has what is missing fetched", async (t) => {
  const all = await joined(t);
  all.peer.event(TOPIC, 4);
  const again = await all.peer.expect("topic.subscribe");
  assert.deepEqual(again.payload.since, { epoch: "e", offset: 2 });
  all.peer.reply(again, { epoch: "e", offset: 4, recovered: true, events: [wire(3), wire(4)] });
  await settled(all);
  assert.deepEqual(all.told, [3, 4]);
});

test("a subscription that is refused fails, and is asked for no more", async (t) => {
  const all = await following(t);
  const told = next(all.room, "error");
  all.peer.refuse(all.subscribe, { code: "not_found" });
  assert.equal((await rejection(all.room.ready)).code, "not_found");
  assert.equal((await told).code, "not_found");
  assert.equal((await rejection(all.room[Symbol.asyncIterator]().next())).code, "not_found");
  all.peer.socket.terminate();
  const peer = await all.server.welcomed();
  await settled({ ...all, peer });
});

test("a subscription that may succeed later is tried again", async (t) => {
  const all = await following(t);
  all.peer.refuse(all.subscribe, { code: "unavailable", retryable: true, retry_after: 0.001 });
  all.peer.reply(await all.peer.expect("topic.subscribe"), { epoch: "e", offset: 2 });
  assert.deepEqual(await all.room.ready, { epoch: "e", offset: 2 });
});

test("a subscription that has to wait says why at once, and once", async (t) => {
  t.mock.method(Math, "random", () => 0);
  const all = await following(t);
  const errors = [];
  all.room.on("error", ({ code, retryable }) => errors.push([code, retryable]));
  const refused = { code: "unavailable", retryable: true, retry_after: 0.001 };
  all.peer.refuse(all.subscribe, refused);
  all.peer.refuse(await all.peer.expect("topic.subscribe"), refused);
  const last = await all.peer.expect("topic.subscribe");
  assert.deepEqual(errors, [["unavailable", true]]);
  const told = next(all.room, "ready");
  all.peer.reply(last, { epoch: "e", offset: 2 });
  assert.deepEqual(await told, { epoch: "e", offset: 2 });
});

test("waits to subscribe grow, beyond what the server asks for as well", async (t) => {
  t.mock.method(Math, "random", () => 0.99);
  const all = await following(t);
  const timers = held(t, 990);
  const refused = { code: "unavailable", retryable: true, retry_after: 0.5 };
  all.peer.refuse(all.subscribe, refused);
  await settled(all);
  assert.equal(timers.size, 1);
});

test("one topic too many is refused for good, as no waiting helps", async (t) => {
  const all = await following(t);
  const told = next(all.room, "error");
  const closed = next(all.room, "close");
  all.peer.refuse(all.subscribe, { code: "rate_limited", retryable: true, retry_after: 0.001, limit: 100 });
  for (const error of [await told, await closed, await rejection(all.room.ready)]) {
    assert.deepEqual([error.code, error.extra.limit], ["rate_limited", 100]);
  }
  await settledAfterLeaving(all);
});

test("a topic that one may not be in any more is left", async (t) => {
  const all = await joined(t);
  const told = next(all.room, "error");
  all.peer.refuse({}, { code: "forbidden", topic: TOPIC });
  assert.equal((await told).code, "forbidden");
  all.peer.event(TOPIC, 3);
  await settledAfterLeaving(all);
  assert.deepEqual(all.told, []);
});

async function settledAfterLeaving(all) {
  assert.deepEqual((await all.peer.expect("topic.unsubscribe")).payload, { topic: TOPIC });
  await settled(all);
}

test("to close a subscription leaves the topic", async (t) => {
  const all = await joined(t);
  all.room.close();
  all.room.close();
  all.peer.event(TOPIC, 3);
  await settledAfterLeaving(all);
  assert.deepEqual(all.told, []);
  all.peer.socket.terminate();
  const peer = await all.server.welcomed();
  await settled({ ...all, peer });
});

test("to close one that is not ready says so to who waits", async (t) => {
  const all = await following(t);
  all.room.close();
  assert.equal((await rejection(all.room.ready)).code, "cancelled");
});

test("a topic that the server put us into is not left", async (t) => {
  const all = await joined(t);
  const own = all.connected.subscribe("broadcast", { since: { epoch: "b", offset: 0 } });
  const subscribe = await all.peer.expect("topic.subscribe");
  all.peer.reply(subscribe, { epoch: "b", offset: 0, recovered: true, events: [] });
  await own.ready;
  own.close();
  await settled(all);
});

test("events of a topic that nobody subscribes to are told by the client", async (t) => {
  const all = await joined(t);
  const told = next(all.connected, "event");
  all.peer.event("broadcast", 1);
  assert.deepEqual(await told, { topic: "broadcast", epoch: null, offset: 1, id: ":1", payload: { number: 1 } });
});

test("several subscriptions to one topic each get all, and the client tells it once", async (t) => {
  const all = await joined(t);
  const offsets = [];
  all.connected.on("event", ({ offset }) => offsets.push(offset));
  const others = [];
  const second = all.connected.subscribe(TOPIC, { onEvent: ({ offset }) => others.push(offset) });
  const subscribe = await all.peer.expect("topic.subscribe");
  all.peer.event(TOPIC, 3);
  all.peer.reply(subscribe, { epoch: "e", offset: 3 });
  await second.ready;
  all.peer.event(TOPIC, 4);
  await settled(all);
  all.room.close();
  all.peer.event(TOPIC, 5);
  await settled(all);
  assert.deepEqual([all.told, others, offsets], [[3, 4], [4, 5], [3, 4, 5]]);
  second.close();
  await settledAfterLeaving(all);
});

test("a subscription can be iterated over, over a lost line too", async (t) => {
  const all = await joined(t, { onEvent: undefined });
  all.peer.event(TOPIC, 3);
  const offsets = [];
  for await (const { offset } of all.room) {
    offsets.push(offset);
    if (offset === 3) {
      all.peer.socket.terminate();
      const peer = await all.server.welcomed();
      const again = await peer.expect("topic.subscribe");
      peer.reply(again, { epoch: "e", offset: 4, recovered: true, events: [wire(4)] });
      peer.event(TOPIC, 5);
    }
    if (offset === 5) break;
  }
  assert.deepEqual(offsets, [3, 4, 5]);
});

test("an iteration ends when the subscription is closed", async (t) => {
  const all = await joined(t, { onEvent: undefined });
  const iteration = all.room[Symbol.asyncIterator]();
  const item = iteration.next();
  all.room.close();
  assert.equal((await item).done, true);
  for await (const event of all.room) assert.fail(event);
});

test("an iteration ends when the client is closed, and fails when the server has enough of it", async (t) => {
  const all = await joined(t, { onEvent: undefined });
  const item = all.room[Symbol.asyncIterator]().next();
  all.connected.close();
  assert.equal((await item).done, true);

  const other = await joined(t, { onEvent: undefined });
  const failing = rejection(other.room[Symbol.asyncIterator]().next());
  other.peer.goodbye(4502, false);
  assert.equal((await failing).code, "connection_closed");
});

test("a reader that is too slow is told, and can go on", async (t) => {
  const all = await joined(t, { onEvent: undefined }, { buffer: 1 });
  for (const offset of [3, 4, 5]) all.peer.event(TOPIC, offset);
  await settled(all);
  const iteration = all.room[Symbol.asyncIterator]();
  assert.equal((await iteration.next()).value.offset, 3);
  assert.equal((await rejection(iteration.next())).code, "slow_reader");
  all.peer.event(TOPIC, 6);
  assert.equal((await all.room[Symbol.asyncIterator]().next()).value.offset, 6);
});

test("a subscription whose answer is lost is made once more, and once", async (t) => {
  t.mock.method(Math, "random", () => 0); // so that a second attempt would not wait
  const all = await following(t);
  all.peer.socket.terminate();
  const peer = await all.server.welcomed();
  peer.reply(await peer.expect("topic.subscribe"), { epoch: "e", offset: 2 });
  await all.room.ready;
  await settled({ ...all, peer });
  await settled({ ...all, peer });
});

test("to close while it waits to try again ends the trying", async (t) => {
  const timers = held(t, 12_345);
  const all = await following(t);
  all.peer.refuse(all.subscribe, { code: "unavailable", retryable: true, retry_after: 12.345 });
  await settled(all);
  assert.equal(timers.size, 1);
  all.room.close();
  assert.equal(timers.size, 0);
  await settledAfterLeaving(all);
});

test("after a goodbye there is nothing to leave", async (t) => {
  const all = await joined(t);
  const told = next(all.connected, "goodbye");
  all.peer.send({ type: "goodbye", payload: { code: 4001, reason: "shutdown", reconnect: true, after: 0.001 } });
  await told;
  all.room.close();
  all.peer.socket.close(4001);
  const peer = await all.server.welcomed();
  await settled({ ...all, peer });
});

test("a subscription made after a goodbye is asked for once, on the next connection", async (t) => {
  const all = await joined(t);
  const told = next(all.connected, "goodbye");
  all.peer.send({ type: "goodbye", payload: { code: 4001, reason: "shutdown", reconnect: true, after: 0.001 } });
  await told;
  const other = all.connected.subscribe("room:b");
  all.peer.socket.close(4001);
  const peer = await all.server.welcomed();
  peer.reply(await peer.expect("topic.subscribe"), { epoch: "e", offset: 2, recovered: true, events: [] });
  peer.reply(await peer.expect("topic.subscribe"), { epoch: "e", offset: 0 });
  await other.ready;
  await settled({ ...all, peer });
});

test("a history of another epoch is a gap", async (t) => {
  const all = await following(t, { since: { epoch: "e", offset: 1 } });
  all.peer.reply(all.subscribe, { epoch: "e", offset: 3, recovered: false });
  all.peer.reply(await all.peer.expect("topic.history"), { epoch: "f", offset: 3, events: [wire(2), wire(3)] });
  const again = await all.peer.expect("topic.subscribe");
  all.peer.reply(again, { epoch: "f", offset: 3, recovered: false });
  await all.room.ready;
  assert.deepEqual(all.told, [{ epoch: "e", offset: 3 }, { epoch: "f", offset: 3 }]);
});

test("to close within the loop ends that and every later one", async (t) => {
  const all = await joined(t, { onEvent: undefined });
  all.peer.event(TOPIC, 3);
  for await (const { offset } of all.room) {
    assert.equal(offset, 3);
    all.room.close();
    break;
  }
  for await (const event of all.room) assert.fail(event);
});

const ada = { user: "ada", info: { nick: "A" } };
const guest = { user: null, connection: "c9" };

test("who is there is asked for once somebody listens, and kept up to date", async (t) => {
  const changes = [];
  const all = await joined(t, { onPresence: ({ joined, left, members }) => changes.push([joined, left, members]) });
  const list = await all.peer.expect("topic.presence");
  // Whether this is in the list already, nobody knows.
  all.peer.send({ type: "presence", topic: TOPIC, joined: guest });
  all.peer.reply(list, { members: [{ ...ada, connections: 1 }], count: 1 });
  all.peer.send({ type: "presence", topic: TOPIC, left: ada });
  await settled(all);
  assert.deepEqual(all.room.members, [guest]);
  assert.deepEqual(changes.at(-1), [undefined, ada, [guest]]);
  all.peer.send({ type: "presence", topic: TOPIC, members: [ada, guest], count: 2 });
  await settled(all);
  assert.deepEqual(all.room.members, [ada, guest]);
});

test("a list of members that was overtaken does not count", async (t) => {
  const all = await joined(t, { onPresence() {} });
  const stale = await all.peer.expect("topic.presence");
  all.peer.event(TOPIC, 4); // one is missing, and so it subscribes anew
  const again = await all.peer.expect("topic.subscribe");
  all.peer.reply(again, { epoch: "e", offset: 4, recovered: true, events: [wire(3), wire(4)] });
  const list = await all.peer.expect("topic.presence");
  all.peer.reply(stale, { members: [ada], count: 1 });
  all.peer.send({ type: "presence", topic: TOPIC, joined: guest });
  all.peer.reply(list, { members: [], count: 0 });
  await settled(all);
  assert.deepEqual(all.room.members, [guest]);
});

test("somebody who joins twice is there once", async (t) => {
  const all = await joined(t, { onPresence() {} });
  all.peer.reply(await all.peer.expect("topic.presence"), { members: [ada], count: 1 });
  all.peer.send({ type: "presence", topic: TOPIC, joined: ada });
  await settled(all);
  assert.deepEqual(all.room.members, [ada]);
});

test("after a lost line the members are asked for anew", async (t) => {
  const all = await joined(t);
  all.room.on("presence", () => {});
  all.room.on("error", assert.fail);
  await all.peer.expect("topic.presence");
  all.peer.socket.terminate();
  const peer = await all.server.welcomed();
  peer.reply(await peer.expect("topic.subscribe"), { epoch: "e", offset: 2, recovered: true, events: [] });
  peer.reply(await peer.expect("topic.presence"), { members: [guest], count: 1 });
  await settled({ ...all, peer });
  assert.deepEqual(all.room.members, [guest]);
});

test("a topic that shows nobody goes on without", async (t) => {
  const all = await joined(t);
  const told = next(all.room, "error");
  all.room.on("presence", () => {});
  all.peer.refuse(await all.peer.expect("topic.presence"), { code: "not_found" });
  assert.equal((await told).code, "not_found");
  all.peer.event(TOPIC, 3);
  await settled(all);
  assert.deepEqual(all.told, [3]);
});

test("who is there is asked for again where that may help", async (t) => {
  const all = await joined(t);
  const told = next(all.room, "error");
  all.room.on("presence", () => {});
  all.peer.refuse(await all.peer.expect("topic.presence"), { code: "unavailable", retryable: true, retry_after: 0.001 });
  assert.equal((await told).code, "unavailable");
  all.peer.reply(await all.peer.expect("topic.presence"), { members: [ada], count: 1 });
  await settled(all);
  assert.deepEqual(all.room.members, [ada]);
});

test("of very many members, a part is listed and all are counted", async (t) => {
  const counts = [];
  const all = await joined(t, { onPresence: ({ count }) => counts.push(count) });
  all.peer.reply(await all.peer.expect("topic.presence"), { members: [ada], count: 1500 });
  all.peer.send({ type: "presence", topic: TOPIC, joined: guest });
  all.peer.send({ type: "presence", topic: TOPIC, left: { user: "not listed" } });
  all.peer.send({ type: "presence", topic: TOPIC, left: guest });
  all.peer.send({ type: "presence", topic: TOPIC, joined: ada });
  await settled(all);
  assert.deepEqual(counts, [1500, 1501, 1500, 1499, 1499]);
  assert.equal(all.room.count, 1499);
});

test("of few members, those that are listed are all", async (t) => {
  const all = await joined(t, { onPresence() {} });
  all.peer.reply(await all.peer.expect("topic.presence"), { members: [ada, guest], count: 2 });
  all.peer.send({ type: "presence", topic: TOPIC, left: { user: "who had gone before" } });
  await settled(all);
  assert.deepEqual([all.room.count, all.room.members.length], [2, 2]);
});

test("a listener may listen once, and be taken away by itself", async (t) => {
  const all = await joined(t, { onEvent: undefined });
  const told = [];
  const always = ({ offset }) => told.push(["always", offset]);
  const once = ({ offset }) => told.push(["once", offset]);
  all.room.on("event", always);
  all.room.once("event", once);
  const never = all.room.once("event", () => assert.fail("it was taken away"));
  never();
  all.room.once("presence", () => {});
  await all.peer.expect("topic.presence");
  all.peer.event(TOPIC, 3);
  all.peer.event(TOPIC, 4);
  await settled(all);
  all.room.off("event", always);
  all.peer.event(TOPIC, 5);
  await settled(all);
  assert.deepEqual(told, [["always", 3], ["once", 3], ["always", 4]]);
});

test("the rest of a topic needs no subscription", async (t) => {
  const server = await scripted(t);
  const connected = client(t, server.url);
  const peer = await server.welcomed();
  const history = connected.history(TOPIC, { before: 9, limit: 2 });
  const presence = connected.presence(TOPIC);
  const published = connected.publish(TOPIC, { text: "hi" }, { key: "mine" });
  for (const [type, payload, reply] of [
    ["topic.history", { topic: TOPIC, before: 9, limit: 2 }, { epoch: "e", offset: 2, events: [wire(2)] }],
    ["topic.presence", { topic: TOPIC }, { members: [ada], count: 1 }],
    ["topic.publish", { topic: TOPIC, payload: { text: "hi" }, key: "mine" }, { epoch: "e", offset: 3 }],
  ]) {
    const message = await peer.expect(type);
    assert.deepEqual(message.payload, payload);
    peer.reply(message, reply);
  }
  assert.deepEqual((await history).events, [{ topic: TOPIC, epoch: "e", offset: 2, id: "e:2", payload: { number: 2 } }]);
  assert.deepEqual((await presence).members, [ada]);
  assert.deepEqual(await published, { epoch: "e", offset: 3 });
});
