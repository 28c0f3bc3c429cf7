/** What a page adds: a browser that is offline, and a tab that nobody looks at. */

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { client, next, scripted, until } from "./scripted.js";

/** As much of a browser as the client asks. */
function browser(t) {
  const page = new EventTarget();
  const document = Object.assign(new EventTarget(), { hidden: false });
  const navigator = { onLine: true };
  const globals = { addEventListener: page.addEventListener.bind(page), document, navigator };
  for (const [name, value] of Object.entries(globals)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
  return {
    /** How many listen for each event that a client listens for. */
    listeners: () =>
      [[page, "online"], [page, "offline"], [document, "visibilitychange"]].map(
        ([target, name]) => getEventListeners(target, name).length,
      ),
    online(yes) {
      navigator.onLine = yes;
      page.dispatchEvent(new Event(yes ? "online" : "offline"));
    },
    hide(yes) {
      document.hidden = yes;
      document.dispatchEvent(new Event("visibilitychange"));
    },
  };
}

const HOUR = 3_600_000;

test("offline, it waits long; online again, it comes back at once", async (t) => {
  const page = browser(t);
  const server = await scripted(t);
  const connected = client(t, server.url, { longestWait: HOUR });
  const peer = await server.welcomed();
  await connected.ready;
  page.online(false);
  peer.socket.terminate();
  await until(connected, "offline");
  assert.ok(connected.retryAt >= Date.now() + HOUR / 3, "it tries all the same, but seldom");
  page.online(true);
  await server.welcomed();
  await until(connected, "open");
});

test("to go offline while it waits is seen", async (t) => {
  const page = browser(t);
  const connected = client(t, "ws://127.0.0.1:1/ws", { firstWait: HOUR, longestWait: HOUR });
  await until(connected, "waiting");
  page.online(false);
  assert.equal(connected.state, "offline");
});

test("hidden, it tries once soon and then seldom; seen again, it comes back at once", async (t) => {
  const page = browser(t);
  const server = await scripted(t);
  const connected = client(t, server.url, { longestWait: HOUR });
  const first = await server.welcomed();
  await connected.ready;
  page.hide(true);
  first.socket.terminate();
  const second = await server.peer();
  second.socket.terminate();
  await next(connected, "close");
  assert.equal(connected.state, "waiting");
  assert.ok(connected.retryAt >= Date.now() + HOUR / 3);
  page.hide(false);
  await server.welcomed();
  await until(connected, "open");
});

test("not sooner, though, than the server asked for", async (t) => {
  const page = browser(t);
  const server = await scripted(t);
  const connected = client(t, server.url);
  const peer = await server.welcomed();
  await connected.ready;
  const before = Date.now();
  peer.goodbye(4006, true, 3600);
  await next(connected, "close");
  page.hide(false);
  page.online(true);
  assert.equal(connected.state, "waiting");
  assert.ok(connected.retryAt >= before + HOUR);
});

test("seen again, or on another network, it asks whether the line lives", async (t) => {
  const page = browser(t);
  const server = await scripted(t);
  const connected = client(t, server.url);
  const peer = await server.welcomed();
  await connected.ready;
  page.hide(false);
  peer.reply(await peer.expect("request.cancel"), { cancelled: false });
  const asked = connected.request("a.b");
  peer.reply(await peer.expect("a.b"));
  await asked;
  page.online(true);
  await peer.expect("request.cancel");
});

test("a client that is closed listens to the page no more", async (t) => {
  const page = browser(t);
  const server = await scripted(t);
  const connected = client(t, server.url);
  const peer = await server.welcomed();
  await connected.ready;
  assert.deepEqual(page.listeners(), [1, 1, 1]);
  connected.close();
  assert.deepEqual(page.listeners(), [0, 0, 0]);
  assert.equal(await peer.closed, 1000);
});
