/** Agents of real servers: called, followed over lost connections, answered and cancelled. */

import assert from "node:assert/strict";
import { test } from "node:test";

import { Line, eventually, fresh, real, serve, signed, token } from "./real.js";
import { client, rejection } from "./scripted.js";

/** A server with an agent that is played by a client: what it is assigned is for the test to do. */
async function staged(t) {
  const config = { ...fresh(), ...(await signed()) };
  const server = await serve(config);
  const line = await Line.to(t, server);
  const agent = client(t, server.url, { token: () => token({ sub: "worker", scope: "agent" }) });
  await agent.ready;
  await agent.request("agent.register", { name: "echo", skills: [{ id: "echo" }, { id: "shout" }], capacity: 4 });
  const caller = client(t, line.url, { token: () => token({ sub: "ada" }) });
  await caller.ready;
  /** The next that the agent is told under a type. */
  const told = (type) =>
    new Promise((resolve) => {
      const off = agent.on("message", ({ message }) => {
        if (message.type !== type) return;
        off();
        resolve(message.payload);
      });
    });
  return { server, line, agent, caller, told };
}

const texts = (...all) => all.map((text) => ({ text }));

async function read(run) {
  const all = [];
  for await (const { text } of run) all.push(text);
  return all;
}

test("a call streams what the agent puts out, and ends with its output", real, async (t) => {
  const { agent, caller, told } = await staged(t);
  const assigned = told("agent.assigned");
  const run = caller.call({ agent: "echo", skill: "echo" }, { text: "hi" }, { timeout: 30_000 });
  const states = [];
  run.on("state", ({ state }) => states.push(state));
  const { task, attempt, input } = await assigned;
  assert.deepEqual(input, { text: "hi" });
  assert.equal(await run.task, task);
  await agent.request("agent.update", { task, attempt, seq: 0, chunks: texts("h", "i") });
  await agent.request("agent.complete", { task, attempt, output: { length: 2 } });
  assert.deepEqual(await read(run), ["h", "i"]);
  assert.deepEqual(await run.result, { length: 2 });
  assert.equal(states.at(-1), "completed");
});

test("a call that fails tells why", real, async (t) => {
  const { agent, caller, told } = await staged(t);
  const assigned = told("agent.assigned");
  const run = caller.call({ agent: "echo", skill: "shout" });
  const { task, attempt } = await assigned;
  await agent.request("agent.fail", { task, attempt, message: "Too loud.", code: "echo.loud" });
  const { code, extra } = await rejection(run.result);
  assert.deepEqual([code, extra.task], ["agent_failed", task]);
  assert.equal(run.state, "failed");
  assert.equal((await rejection(caller.call({ agent: "nobody" }).result)).code, "not_found");
});

test("to leave a call cancels its task", real, async (t) => {
  const { agent, caller, told } = await staged(t);
  const [assigned, canceled] = [told("agent.assigned"), told("agent.canceled")];
  const run = caller.call({ agent: "echo", skill: "echo" });
  const { task, attempt } = await assigned;
  const updated = agent.request("agent.update", { task, attempt, seq: 0, chunks: texts("h") });
  for await (const { text } of run) if (text === "h") break;
  assert.equal((await canceled).task, task);
  await updated.catch(() => {});
});

test("what an agent asks of a person is answered", real, async (t) => {
  const { agent, caller, told } = await staged(t);
  const [assigned, answered] = [told("agent.assigned"), told("agent.answered")];
  const run = caller.call({ agent: "echo", skill: "echo" });
  const { task, attempt } = await assigned;
  const asked = new Promise((resolve) => {
    run.on("state", (news) => news.state === "input_required" && resolve(news.prompt.message));
  });
  await agent.request("agent.update", { task, attempt, state: "input_required", prompt: { message: "Louder?" } });
  assert.equal(await asked, "Louder?");
  await run.answer({ louder: true });
  assert.deepEqual((await answered).input, { louder: true });
  assert.equal((await run.cancel("enough")).state, "canceled");
  assert.equal((await rejection(run.result)).code, "cancelled");
});

test("a detached task is followed over lost connections, and attached to from its beginning", real, async (t) => {
  const { line, agent, caller, told } = await staged(t);
  const assigned = told("agent.assigned");
  const run = caller.call({ agent: "echo", skill: "echo" }, {}, { detach: true });
  const { task, attempt } = await assigned;
  await run.task;
  const update = (seq, ...all) => agent.request("agent.update", { task, attempt, seq, chunks: texts(...all) });
  await update(0, "a", "b");
  line.cut();
  await update(2, "c");
  await caller.request("session.ping");
  line.cut();
  await agent.request("agent.complete", { task, attempt, output: { length: 3 } });
  assert.deepEqual(await read(run), ["a", "b", "c"]);
  assert.deepEqual(await run.result, { length: 3 });
  const again = caller.attach(task);
  assert.deepEqual(await read(again), ["a", "b", "c"]);
  assert.deepEqual(await again.result, { length: 3 });
  await eventually(() => again.state, "completed");
});

test("a task of another user's is not there", real, async (t) => {
  const { server, caller, told } = await staged(t);
  const assigned = told("agent.assigned");
  caller.call({ agent: "echo", skill: "echo" });
  const { task } = await assigned;
  const other = client(t, server.url, { token: () => token({ sub: "eve" }) });
  assert.equal((await rejection(other.attach(task).result)).code, "not_found");
});
