/** What a page adds: a browser that is offline, and a tab that nobody looks at. */

import assert from "node:assert/strict";
import { getEventListeners } from "node:events";
import { test } from "node:test";

import { WebSocket } from "ws";

import { client, held, next, scripted, until } from "./scripted.js";

/** As much of a browser as the client asks. */
function browser(t) {
  const page = new EventTarget();
  const document = { hidden: false };
  const navigator = { onLine: true };
  const globals = { addEventListener: page.addEventListener.bind(page), document, navigator };
  for (const [name, value] of Object.entries(globals)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
  const tell = (name) => page.dispatchEvent(new Event(name));
  return {
    tell,
    /** How many listen for each event that a client listens for. */
    listeners: () =>
      ["online", "offline", "pageshow", "visibilitychange"].map((name) => getEventListeners(page, name).length),
    online(yes) {
      navigator.onLine = yes;
      tell(yes ? "online" : "offline");
    },
    hide(yes) {
      document.hidden = yes;
      tell("visibilitychange");
    },
  };
}

/** A client of a server that is, as far as it knows, on another machine. */
function far(t, server, options, url = "ws://chat.example/ws") {
  class Routed extends WebSocket {
    constructor(url, protocol) {
      super(server.url, protocol);
    }
  }
  return client(t, url, { webSocket: Routed, ...options });
}

const HOUR = 3_600_000;

test("offline, it waits long; online again, it comes back at once", async (t) => {
  const page = browser(t);
  const server = await scripted(t);
  const connected = far(t, server, { longestWait: HOUR });
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
  const connected = far(t, { url: "ws://127.0.0.1:1/ws" }, { firstWait: HOUR, longestWait: HOUR });
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

for (const name of ["offline", "pageshow", "visibilitychange"]) {
  test(`after ${name} a line that is dead is left within two seconds`, async (t) => {
    const page = browser(t);
    const server = await scripted(t);
    const connected = far(t, server);
    const peer = await server.welcomed(); // its heartbeat is a minute
    await connected.ready;
    const clock = t.mock.method(performance, "now", () => 0);
    const looks = held(t, 1000);
    page.tell(name);
    await peer.expect("request.cancel");
    const look = () => [...looks].at(-1)[1]();
    clock.mock.mockImplementation(() => 1999);
    look();
    assert.equal(connected.state, "open");
    const told = next(connected, "close");
    clock.mock.mockImplementation(() => 2000); // its next look is a millisecond away
    assert.match((await told).reason, /does not answer/);
  });
}

test("after a sleep the line is asked whether it lives", async (t) => {
  browser(t);
  const server = await scripted(t);
  const looks = held(t, 1000);
  const connected = far(t, server);
  const peer = await server.welcomed();
  await connected.ready;
  const { now } = Date;
  const look = () => [...looks].at(-1)[1]();
  look();
  t.mock.method(Date, "now", () => now() + 10_000);
  look();
  peer.reply(await peer.expect("request.cancel"), { cancelled: false });
  assert.equal(connected.state, "open");
});

test("a browser without a network reaches this machine all the same", async (t) => {
  const page = browser(t);
  for (const host of ["localhost", "127.0.0.1", "[::1]", "app.localhost"]) {
    const server = await scripted(t);
    const connected = far(t, server, { longestWait: HOUR }, `ws://${host}:1/ws`);
    const peer = await server.welcomed();
    await connected.ready;
    page.online(false);
    peer.socket.terminate();
    await server.welcomed();
    await until(connected, "open");
    connected.close();
    page.online(true);
  }
});

test("a socket that a browser does not open fails, though it tells of no close", async (t) => {
  browser(t);
  class Blocked {
    static made = 0;
    constructor() {
      Blocked.made++;
      setImmediate(() => this.onerror({}));
    }
    close() {}
  }
  const connected = far(t, null, { webSocket: Blocked });
  const { code, reason } = await next(connected, "close");
  assert.equal(code, 1006);
  assert.match(reason, /Content-Security-Policy/);
  assert.equal(connected.state, "waiting");
});

test("a client that is closed listens to the page no more", async (t) => {
  const page = browser(t);
  const server = await scripted(t);
  const connected = client(t, server.url);
  const peer = await server.welcomed();
  await connected.ready;
  assert.deepEqual(page.listeners(), [1, 1, 1, 1]);
  connected.close();
  assert.deepEqual(page.listeners(), [0, 0, 0, 0]);
  assert.equal(await peer.closed, 1000);
});
