/** A server that says what a test has it say, for what a real one does not do on demand. */

import { connect } from "jackfield";
import { WebSocket, WebSocketServer } from "ws";

/** What a server says first, with a heartbeat that no test waits for. */
export const WELCOME = {
  connection: "c1",
  user: null,
  protocol: 1,
  heartbeat: 60,
  limits: { message_bytes: 65536, in_flight: 64 },
  topics: { broadcast: { epoch: "b", offset: 0 } },
};

/** Things that come one by one, and are waited for one by one. */
export class Sequence {
  #items = [];
  #waiting = [];

  put(item) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(item);
    else this.#items.push(item);
  }

  /** How many have come and were not taken. */
  get size() {
    return this.#items.length;
  }

  async next() {
    return this.#items.length ? this.#items.shift() : new Promise((resolve) => this.#waiting.push(resolve));
  }
}

/** One connection, seen from the server. */
export class Peer {
  #received = new Sequence();

  constructor(socket, request) {
    this.socket = socket;
    this.request = request;
    this.closed = new Promise((resolve) => socket.on("close", resolve));
    socket.on("message", (data) => this.#received.put(JSON.parse(data)));
  }

  /** The next message of the client. */
  next() {
    return this.#received.next();
  }

  /** The next message of the client, which must be of this type. */
  async expect(type) {
    const message = await this.next();
    if (message.type !== type) throw new Error(`${JSON.stringify(message)} came where ${type} was due`);
    return message;
  }

  send(...messages) {
    for (const message of messages) this.socket.send(JSON.stringify(message));
  }

  welcome(changed = {}) {
    this.send({ type: "welcome", payload: { ...WELCOME, ...changed } });
  }

  reply({ id }, payload = {}) {
    this.send({ type: "reply", id, payload });
  }

  refuse({ id = null }, error) {
    this.send({ type: "error", id, error: { message: "No.", retryable: false, ...error } });
  }

  event(topic, offset, payload = { number: offset }) {
    this.send({ type: "event", topic, offset, payload });
  }

  goodbye(code, reconnect, after = 0) {
    this.send({ type: "goodbye", payload: { code, reason: "because", reconnect, ...(reconnect && { after }) } });
    this.socket.close(code, "because");
  }
}

/** A server on a free port, until the end of the test. */
export async function scripted(t) {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  const peers = new Sequence();
  server.on("connection", (socket, request) => peers.put(new Peer(socket, request)));
  await new Promise((resolve) => server.on("listening", resolve));
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  return {
    url: `ws://127.0.0.1:${server.address().port}/ws`,
    /** The next connection. */
    peer: () => peers.next(),
    /** The next connection, welcomed. */
    async welcomed(changed) {
      const peer = await peers.next();
      peer.welcome(changed);
      return peer;
    },
  };
}

/** A client that comes back at once, until the end of the test. */
export function client(t, url, options = {}) {
  const made = connect(url, { webSocket: WebSocket, firstWait: 1, longestWait: 2, ...options });
  t.after(() => made.close());
  return made;
}

/** Holds the timers of one delay: what they would do, by their handles. */
export function held(t, delay) {
  const timers = new Map();
  const { setTimeout, clearTimeout } = globalThis;
  t.mock.method(globalThis, "setTimeout", (task, wait, ...rest) => {
    if (wait !== delay) return setTimeout(task, wait, ...rest);
    const handle = {};
    timers.set(handle, task);
    return handle;
  });
  t.mock.method(globalThis, "clearTimeout", (handle) => timers.delete(handle) || clearTimeout(handle));
  return timers;
}

/** The next that is told under a name. */
export const next = (emitter, name) =>
  new Promise((resolve) => {
    const off = emitter.on(name, (value) => {
      off();
      resolve(value);
    });
  });

/** Waits for a state. */
export async function until(connected, state) {
  while (connected.state !== state) await next(connected, "state");
}

/** What a promise is rejected with. */
export const rejection = (promise) =>
  promise.then(
    (value) => {
      throw new Error(`it was fulfilled, with ${JSON.stringify(value)}`);
    },
    (error) => error,
  );
