/** The console's own connection: who it is, what it may do, how fast it is, and what went over it. */

import { Emitter } from "../jackfield/emitter.js";
import { connect } from "../jackfield/index.js";

const TOKEN = "jackfield.token";
// Milliseconds: often enough to see a stall, seldom enough to cost nothing.
const BEAT = 1000;
// Seconds that the charts go back.
export const SPAN = 60;
// What the ids of its own requests begin with.
export const OWN = "console-";
const TOKEN_EXPIRED = 4002;
const FORBIDDEN_ORIGIN = 4503;
// Closes that a token, or another one, would have prevented.
const WANT_TOKEN = [TOKEN_EXPIRED, 4501, 4502, 4505];
// Milliseconds: a server that has not welcomed anybody by then waits to be told who it is.
const PATIENCE = 2000;
// Milliseconds: longer than a server waits for that, so that it is its close that tells.
const OPENING = 15_000;

/** @extends {Emitter<{ client: any, state: string, described: any, known: any, message: any, beat: any, notice: any }>} */
export class Session extends Emitter {
  /** @type {any} */
  client = null;
  /** What the server tells of itself; empty until it has. */
  described = { types: [], topics: [] };
  /** @type {any} */
  identity = null;
  /** @type {{ code: number, reason: string } | null} How the last connection ended. */
  ended = null;
  /** @type {{ latency: number | null, in: number, out: number, bytes: number }[]} one a second */
  beats = [];
  #counts = { in: 0, out: 0, bytes: 0 };
  #pings = 0;
  #offs = [];

  constructor() {
    super();
    setInterval(() => void this.#beat(), BEAT);
  }

  get state() {
    return this.client?.state ?? "closed";
  }

  get token() {
    return stored();
  }

  /** Connect, with the token that is kept; what was connected before is closed. */
  open() {
    const before = this.client;
    this.client = null;
    for (const off of this.#offs.splice(0)) off();
    before?.close();
    this.ended = null;
    this.described = { types: [], topics: [] };
    this.identity = null;
    const client = connect(new URL("ws", document.baseURI), { token: () => stored() || undefined, openTimeout: OPENING });
    this.client = client;
    const on = (name, listener) => this.#offs.push(client.on(name, listener));
    on("state", (state) => this.emit("state", state));
    on("welcome", () => void this.#learn(client));
    on("message", (frame) => this.#count(frame));
    on("error", (error) => this.#tell(error));
    on("close", (closed) => this.#closed(client, closed));
    this.emit("client", client);
    this.emit("state", client.state);
    if (!stored()) setTimeout(() => this.#wonder(client), PATIENCE);
  }

  close() {
    this.client?.close();
  }

  /** Connect again: at once where it waits to, anew where it has ended. */
  reopen() {
    if (this.state !== "closed") this.client.reconnect();
    else this.open();
  }

  /**
   * Be somebody: kept in this tab until it is closed, and never part of an address.
   * @param {string} token empty for nobody
   */
  be(token) {
    store(token);
    this.open();
  }

  /** Whether a frame is one that the console sends or gets for its own sake. */
  static isOwn = ({ message: { id } }) =>
    typeof id === "string" && (id.startsWith(OWN) || id === "jackfield-probe");

  async #learn(client) {
    this.ended = null;
    try {
      const [identity, described] = await Promise.all([
        client.request("session.whoami"),
        client.request("session.describe"),
      ]);
      if (client !== this.client) return;
      this.identity = identity;
      this.described = { topics: [], ...described };
      this.emit("known", identity);
      this.emit("described", this.described);
    } catch (error) {
      if (client === this.client && error.code !== "connection_lost") this.#tell(error);
    }
  }

  #wonder(client) {
    if (client === this.client && client.state === "connecting") {
      this.emit("notice", { passing: true, text: "The server waits to be told who you are: enter a token under Connection." });
    }
  }

  #closed(client, { code, reason, reconnect }) {
    if (client !== this.client) return;
    this.ended = { code, reason };
    // There is no newer token than the one that has run out: somebody must enter it.
    if (code === TOKEN_EXPIRED && reconnect) client.close();
    if (WANT_TOKEN.includes(code)) {
      const words = `The connection was closed (${code}, ${reason}): enter a token under Connection.`;
      this.emit("notice", { passing: true, bad: true, text: words });
    }
    if (code === FORBIDDEN_ORIGIN) {
      const origin = `This page's origin, ${location.origin}, must stand among auth.origins of the server.`;
      this.emit("notice", { passing: true, bad: true, text: origin });
    }
    this.emit("state", this.state);
  }

  #tell(error) {
    if (error.code === "token_failed") return; // what the server said of the token tells more
    this.emit("notice", { bad: true, text: `${error.code}: ${error.message}` });
  }

  #count(frame) {
    this.#counts[frame.direction]++;
    this.#counts.bytes += frame.bytes;
    const { message } = frame;
    // The client answers it with the token that it has, and says nothing.
    if (message.type === "error" && message.id === null && message.error.code === "token_expired") this.#tell(message.error);
    this.emit("message", frame);
  }

  async #beat() {
    const { client } = this;
    const beat = { latency: null, ...this.#counts };
    this.#counts = { in: 0, out: 0, bytes: 0 };
    this.beats = [...this.beats.slice(1 - SPAN), beat];
    this.emit("beat", beat);
    if (client?.state !== "open" || document.hidden) return;
    const begun = performance.now();
    try {
      await client.request("session.ping", {}, { id: `${OWN}ping-${++this.#pings}`, timeout: 10 * BEAT, retry: false });
    } catch {
      return; // the state tells
    }
    beat.latency = performance.now() - begun;
    this.emit("beat", beat);
  }
}

// A page whose storage is forbidden keeps it as long as the page is there.
let kept = "";

function stored() {
  try {
    return sessionStorage.getItem(TOKEN) ?? "";
  } catch {
    return kept;
  }
}

function store(token) {
  kept = token;
  try {
    if (token) sessionStorage.setItem(TOKEN, token);
    else sessionStorage.removeItem(TOKEN);
  } catch {
    // kept in memory
  }
}
