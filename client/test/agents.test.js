/** Tasks of agents: called, followed, attached to, answered and cancelled. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { client, next, rejection, scripted } from "./scripted.js";

const ID = "summariser.abc";
const TOPIC = `task:${ID}`;
const task = (state, more) => ({ task: ID, agent: "summariser", skill: "summarise", state, ...more });

async function pair(t, options) {
  const server = await scripted(t);
  const connected = client(t, server.url, options);
  const peer = await server.welcomed();
  await connected.ready;
  return { server, connected, peer };
}

/** A call that the server has taken. */
async function called(t, options) {
  const all = await pair(t);
  const run = all.connected.call({ agent: "summariser" }, { text: "…" }, options);
  const message = await all.peer.expect("agent.call");
  let seq = 0;
  const chunk = (payload, more) => all.peer.send({ type: "chunk", id: message.id, seq: seq++, payload, ...more });
  return { ...all, run, message, chunk, news: (state, more) => chunk(task(state, more), { state }) };
}

/** A task that is followed by its topic. */
async function attached(t) {
  const all = await pair(t);
  const run = all.connected.attach(ID);
  const subscribe = await all.peer.expect("topic.subscribe");
  assert.deepEqual(subscribe.payload, { topic: TOPIC });
  return { ...all, run, subscribe };
}

const events = (...payloads) =>
  payloads.map((payload, index) => ({ type: "event", topic: TOPIC, offset: index + 1, payload }));
const submitted = { kind: "task", state: "submitted", task: task("submitted", { input: {} }) };
const working = { kind: "state", state: "working", attempt: 1 };
const chunks = (seq, ...texts) => ({ kind: "chunks", seq, chunks: texts.map((text) => ({ text })) });
const completed = { kind: "state", state: "completed", output: { words: 3 } };

async function read(run) {
  const texts = [];
  for await (const { text } of run) texts.push(text);
  return texts;
}

test("a call gives chunks, states and in the end the output", async (t) => {
  const { peer, run, message, chunk, news } = await called(t, { timeout: 1500, watchers: ["ben"], key: "k" });
  assert.deepEqual(message.payload, {
    agent: "summariser", input: { text: "…" }, timeout: 1.5, watchers: ["ben"], key: "k",
  });
  const states = [];
  run.on("state", ({ task: id, state }) => states.push([id, state]));
  news("submitted");
  assert.equal(await run.task, ID);
  chunk({ text: "a" });
  news("working");
  chunk({ text: "b" });
  peer.reply(message, { task: ID, state: "completed", output: { words: 2 } });
  assert.deepEqual(await read(run), ["a", "b"]);
  assert.deepEqual(await run.result, { words: 2 });
  assert.deepEqual(states, [[ID, "submitted"], [ID, "working"], [ID, "completed"]]);
  assert.equal(run.state, "completed");
});

test("a call that fails throws, and says as what it ended", async (t) => {
  const { peer, run, message, news } = await called(t);
  news("working");
  await run.task;
  const told = next(run, "state");
  const reading = rejection(read(run));
  peer.refuse(message, { code: "agent_failed", task: ID, state: "rejected", reason: "summariser.too_long" });
  const error = await rejection(run.result);
  assert.deepEqual([error.code, error.extra.reason], ["agent_failed", "summariser.too_long"]);
  assert.equal(await reading, error);
  assert.equal((await told).state, "rejected");
  assert.equal(run.state, "rejected");
});

test("a call that is refused has no task", async (t) => {
  const { peer, run, message } = await called(t);
  peer.refuse(message, { code: "not_found" });
  assert.equal((await rejection(run.task)).code, "not_found");
  assert.equal((await rejection(run.result)).code, "not_found");
});

test("to leave the loop cancels the call", async (t) => {
  const { peer, run, message, chunk } = await called(t);
  chunk({ text: "a" });
  for await (const { text } of run) {
    assert.equal(text, "a");
    break;
  }
  assert.deepEqual((await peer.expect("request.cancel")).payload, { id: message.id });
  assert.equal((await rejection(run.result)).code, "cancelled");
});

test("a signal cancels the call", async (t) => {
  const abort = new AbortController();
  const { peer, run } = await called(t, { signal: abort.signal });
  abort.abort();
  await peer.expect("request.cancel");
  assert.equal((await rejection(run.result)).code, "cancelled");
});

test("a task is cancelled and answered by its id", async (t) => {
  const { peer, run, news } = await called(t);
  const cancelled = run.cancel("enough");
  news("input_required", { prompt: { message: "Which?" } });
  const cancel = await peer.expect("agent.cancel");
  assert.deepEqual(cancel.payload, { task: ID, reason: "enough" });
  peer.reply(cancel, task("canceled"));
  assert.equal((await cancelled).state, "canceled");
  assert.equal(run.state, "input_required");
  const answered = run.answer({ which: 1 });
  const { payload, id } = await peer.expect("agent.answer");
  assert.deepEqual([payload.task, payload.input], [ID, { which: 1 }]);
  assert.ok(payload.key, "an answer that is sent again is given once");
  peer.refuse({ id }, { code: "invalid_payload", fields: [{ pointer: "/input/which", code: "type", message: "" }] });
  assert.equal((await rejection(answered)).fields[0].pointer, "/input/which");
});

test("a call that is not detached ends with its connection", async (t) => {
  const { peer, run, chunk } = await called(t);
  chunk({ text: "a" });
  await run[Symbol.asyncIterator]().next();
  peer.socket.terminate();
  assert.equal((await rejection(run.result)).code, "connection_lost");
});

test("a detached call goes on over a lost connection", async (t) => {
  const all = await called(t, { detach: true });
  const { server, run, message } = all;
  assert.equal(message.payload.detach, true);
  assert.ok(message.payload.key, "a call that is sent again is the same task");
  all.peer.socket.terminate();
  let peer = await server.welcomed();
  const again = await peer.expect("agent.call");
  assert.deepEqual(again, message);
  peer.reply(again, task("submitted"));
  assert.equal(await run.task, ID);
  const [first, second, third] = events(submitted, chunks(0, "a"), chunks(1, "b"));
  peer.reply(await peer.expect("topic.subscribe"), { epoch: "e", offset: 2, recovered: true, events: [first, second] });
  const iteration = run[Symbol.asyncIterator]();
  assert.equal((await iteration.next()).value.text, "a");
  peer.socket.terminate();
  peer = await server.welcomed();
  const subscribe = await peer.expect("topic.subscribe");
  assert.deepEqual(subscribe.payload.since, { epoch: "e", offset: 2 });
  peer.reply(subscribe, { epoch: "e", offset: 3, recovered: true, events: [third] });
  assert.equal((await iteration.next()).value.text, "b");
  peer.event(TOPIC, 4, completed);
  assert.deepEqual(await run.result, { words: 3 });
  assert.equal((await peer.expect("topic.unsubscribe")).payload.topic, TOPIC);
});

test("whoever attaches gets the task from its beginning, and then what is live", async (t) => {
  const { peer, run, subscribe } = await attached(t);
  const states = [];
  run.on("state", ({ state }) => states.push(state));
  const past = events(submitted, working, chunks(0, "a", "b"));
  peer.reply(subscribe, { epoch: "e", offset: 3, recovered: true, events: past });
  // Another attempt sends again what an earlier one has sent.
  peer.event(TOPIC, 4, chunks(1, "b", "c"));
  peer.event(TOPIC, 5, completed);
  assert.deepEqual(await read(run), ["a", "b", "c"]);
  assert.deepEqual(await run.result, { words: 3 });
  assert.deepEqual(states, ["submitted", "working", "completed"]);
});

test("a task too long for one reply is read from its history", async (t) => {
  const { peer, run, subscribe } = await attached(t);
  const past = events(submitted, working, chunks(0, "a"), completed);
  peer.reply(subscribe, { epoch: "e", offset: 4, recovered: false });
  const history = await peer.expect("topic.history");
  assert.deepEqual(history.payload, { topic: TOPIC, after: 0 });
  peer.reply(history, { epoch: "e", offset: 4, events: past.slice(0, 2) });
  peer.reply(await peer.expect("topic.subscribe"), { epoch: "e", offset: 4, recovered: true, events: past.slice(2) });
  assert.deepEqual(await read(run), ["a"]);
  assert.equal((await run.result).words, 3);
});

test("a task that has failed throws what its caller was told", async (t) => {
  const { peer, run, subscribe } = await attached(t);
  const error = { code: "agent_gone", message: "Gone.", retryable: true };
  const past = events(submitted, { kind: "state", state: "failed", error });
  peer.reply(subscribe, { epoch: "e", offset: 2, recovered: true, events: past });
  const { code, retryable, extra } = await rejection(run.result);
  assert.deepEqual([code, retryable, extra.task, extra.state], ["agent_gone", true, ID, "failed"]);
  assert.equal(run.state, "failed");
});

test("a task that one may not see is an error", async (t) => {
  const { peer, run, subscribe } = await attached(t);
  peer.refuse(subscribe, { code: "not_found" });
  assert.equal((await rejection(run.result)).code, "not_found");
});

test("a task of which a part is gone is an error", async (t) => {
  const { peer, run, subscribe } = await attached(t);
  peer.reply(subscribe, { epoch: "e", offset: 1, recovered: true, events: events(submitted) });
  assert.equal(await run.task, ID);
  peer.refuse({}, { code: "unrecoverable", topic: TOPIC, epoch: "f", offset: 0 });
  assert.equal((await rejection(run.result)).code, "unrecoverable");
});

test("to close stops following, and cancels nothing that is detached", async (t) => {
  const { peer, run, subscribe } = await attached(t);
  peer.reply(subscribe, { epoch: "e", offset: 1, recovered: true, events: events(submitted) });
  run.close();
  assert.equal((await rejection(run.result)).code, "cancelled");
  await peer.expect("topic.unsubscribe");
  assert.deepEqual(await read(run), []);
});

for (const [how, end] of [
  ["the loop is left", ({ run }) => run[Symbol.asyncIterator]().return()],
  ["it is closed", ({ run }) => run.close()],
  ["it is aborted", ({ abort }) => abort.abort()],
  ["the line is lost", ({ peer }) => peer.socket.terminate()],
  ["the client is closed", ({ connected }) => connected.close()],
]) {
  test(`a call is told to be canceled when ${how}`, async (t) => {
    const abort = new AbortController();
    const all = await called(t, { signal: abort.signal });
    all.news("working");
    await all.run.task;
    const told = next(all.run, "state");
    await end({ ...all, abort });
    await rejection(all.run.result);
    assert.deepEqual([all.run.state, (await told).state], ["canceled", "canceled"]);
  });
}

test("of a task that goes on, nothing is known once it is followed no more", async (t) => {
  const { peer, run, subscribe } = await attached(t);
  peer.reply(subscribe, { epoch: "e", offset: 2, recovered: true, events: events(submitted, working) });
  await next(run, "state");
  run.close();
  await rejection(run.result);
  assert.equal(run.state, null);
});

test("a call that was not sent yet is taken back", async (t) => {
  for (const options of [{}, { detach: true }]) {
    const server = await scripted(t);
    const connected = client(t, server.url);
    const run = connected.call({ agent: "summariser" }, {}, options);
    assert.deepEqual(await run.cancel(), { task: "", state: "canceled" });
    assert.equal((await rejection(run.result)).code, "cancelled");
    const peer = await server.welcomed();
    connected.request("a.next").catch(() => {});
    await peer.expect("a.next");
  }
});

test("a call that may have begun is cancelled by its id once that is known", async (t) => {
  const all = await called(t, { detach: true });
  all.peer.socket.terminate();
  const cancelled = all.run.cancel();
  const peer = await all.server.welcomed();
  peer.reply(await peer.expect("agent.call"), task("submitted"));
  assert.equal((await peer.expect("topic.subscribe")).payload.topic, TOPIC);
  const cancel = await peer.expect("agent.cancel");
  peer.reply(cancel, task("canceled"));
  assert.equal((await cancelled).state, "canceled");
});

test("to cancel a call that failed to begin is no failure", async (t) => {
  const { peer, run, message } = await called(t);
  peer.refuse(message, { code: "not_found" });
  assert.equal((await rejection(run.result)).code, "not_found");
  assert.deepEqual(await run.cancel(), { task: "", state: "canceled" });
});

test("a signal cancels a detached task, too", async (t) => {
  const abort = new AbortController();
  const { peer, run, message } = await called(t, { detach: true, signal: abort.signal });
  peer.reply(message, task("submitted"));
  await peer.expect("topic.subscribe");
  abort.abort("enough");
  const error = await rejection(run.result);
  assert.deepEqual([error.code, error.cause], ["cancelled", "enough"]);
  await peer.expect("topic.unsubscribe");
  const cancel = await peer.expect("agent.cancel");
  assert.deepEqual(cancel.payload, { task: ID });
  peer.refuse(cancel, { code: "not_found" });
});

const asks = (message) => ({ kind: "state", state: "input_required", prompt: { message } });

/** What a person is asked. */
function prompts(run) {
  const asked = [];
  run.on("state", ({ state, prompt }) => asked.push([state, prompt?.message]));
  return asked;
}

test("what was asked and answered before is not asked again, and what still stands is", async (t) => {
  const { peer, run, subscribe } = await attached(t);
  const asked = prompts(run);
  const past = events(submitted, asks("Old?"), working, asks("Which?"));
  peer.reply(subscribe, { epoch: "e", offset: 4, recovered: true, events: past });
  await next(run, "state");
  peer.event(TOPIC, 5, asks("And now?"));
  peer.event(TOPIC, 6, working);
  peer.event(TOPIC, 7, completed);
  await run.result;
  assert.deepEqual(asked, [
    ["submitted", undefined], ["working", undefined], ["input_required", "Which?"], ["input_required", "And now?"],
    ["working", undefined], ["completed", undefined],
  ]);
});

test("what was asked and answered while the line was lost is not asked again", async (t) => {
  const all = await attached(t);
  const asked = prompts(all.run);
  all.peer.reply(all.subscribe, { epoch: "e", offset: 1, recovered: true, events: events(submitted) });
  await next(all.run, "state");
  all.peer.socket.terminate();
  const peer = await all.server.welcomed();
  const [, second, third] = events(submitted, asks("Which?"), working);
  const again = await peer.expect("topic.subscribe");
  // More than fits one reply: the question comes with the history, the answer behind it.
  peer.reply(again, { epoch: "e", offset: 3, recovered: false });
  peer.reply(await peer.expect("topic.history"), { epoch: "e", offset: 3, events: [second] });
  peer.reply(await peer.expect("topic.subscribe"), { epoch: "e", offset: 3, recovered: true, events: [third] });
  peer.event(TOPIC, 4, completed);
  await all.run.result;
  assert.deepEqual(asked.map(([state]) => state), ["submitted", "working", "completed"]);
});

test("a prompt goes when it is answered", async (t) => {
  const { run, news } = await called(t);
  const asked = prompts(run);
  news("input_required", { prompt: { message: "Which?" } });
  news("working");
  news("completed", { output: {} });
  await run.result;
  assert.deepEqual(asked, [["input_required", "Which?"], ["working", undefined], ["completed", undefined]]);
});

test("a task is detached also where there is no crypto", async (t) => {
  const before = Object.getOwnPropertyDescriptor(globalThis, "crypto");
  const { connected, peer } = await pair(t); // the test's own server has need of it
  Object.defineProperty(globalThis, "crypto", { value: undefined, configurable: true });
  t.after(() => Object.defineProperty(globalThis, "crypto", before));
  const keys = [];
  for (let count = 0; count < 2; count++) {
    connected.call({ agent: "a" }, {}, { detach: true });
    keys.push((await peer.expect("agent.call")).payload.key);
  }
  assert.ok(keys[0].length > 16 && keys[0] !== keys[1], String(keys));
});
