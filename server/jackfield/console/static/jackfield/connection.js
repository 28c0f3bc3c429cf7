/** The line to the server: it opens, says who this is, watches that it lives, and opens again. */

import { backoff } from "./backoff.js";
import { JackfieldError, RETRYABLE, failure } from "./errors.js";

// What the next connection would meet as well (RFC 6455, section 7.4.1): the normal end, and
// messages that one of the two sides cannot take.
const FINAL = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
const TOKEN_EXPIRED = 4002;
// A connection that held for so long was a good one: the next failure is the first again.
const STEADY = 5000;
// Ids of our own, which no request has: theirs count up, or are the caller's.
const AUTH = "jackfield-auth";
const PROBE = "jackfield-probe";

/** @typedef {"connecting" | "open" | "waiting" | "offline" | "closed"} State */
/** @typedef {{ type: string, [key: string]: any }} Message */
/** @typedef {() => string | null | undefined | Promise<string | null | undefined>} TokenProvider */

/**
 * How a connection ended.
 * @typedef {object} Closed
 * @property {number} code the close code; 1006 if the line was lost
 * @property {string} reason
 * @property {boolean} reconnect whether this client connects again
 * @property {number | null} after milliseconds that the server asked to wait before that
 */

/**
 * @typedef {object} LineOptions
 * @property {string | TokenProvider} [token]
 * @property {new (url: string, protocol: string) => any} [webSocket]
 * @property {number} [firstWait]
 * @property {number} [longestWait]
 * @property {number} [openTimeout]
 */

/**
 * What a connection tells.
 * @typedef {object} Hooks
 * @property {(name: "state" | "close" | "goodbye" | "error", value: any) => void} tell
 * @property {(direction: "in" | "out", message: Message, text: string) => void} frame
 * @property {(become: () => void) => void} opened the server welcomes us; `become` says "open"
 * @property {(message: Message) => void} message
 * @property {(error: JackfieldError) => void} lost it opens again by itself
 * @property {(error: JackfieldError) => void} ended it does not
 */

export class Connection {
  /** @type {State} */
  state = "connecting";
  /** @type {number | null} When the next attempt begins, in milliseconds since the epoch. */
  retryAt = null;
  /** @type {Record<string, any> | null} The payload of the last welcome. */
  welcome = null;

  #url;
  #options;
  #hooks;
  /** @type {any} */
  #socket = null;
  #attempt = 0;
  /** @type {Record<string, any> | null} */
  #goodbye = null;
  #failures = 0;
  #notBefore = 0;
  #openedAt = Infinity;
  #heard = 0;
  #probing = false;
  /** @type {any} One timer for all: the end of an opening, the next attempt, the next look. */
  #timer;
  #listening = new AbortController();

  /**
   * @param {string} url
   * @param {LineOptions} options
   * @param {Hooks} hooks
   */
  constructor(url, options, hooks) {
    this.#url = url;
    this.#options = options;
    this.#hooks = hooks;
    // Neither is there in Node.
    const { document, addEventListener: listen } = globalThis;
    const { signal } = this.#listening;
    listen?.("online", this.#changed, { signal });
    listen?.("offline", this.#changed, { signal });
    document?.addEventListener("visibilitychange", this.#changed, { signal });
    void this.#connect();
  }

  /** Whether requests may be sent: the server has welcomed us, and said no goodbye. */
  get ready() {
    return this.state === "open" && !this.#goodbye;
  }

  /**
   * @param {Message} message
   * @param {string} [text] the same, as it goes over the wire
   */
  send(message, text = JSON.stringify(message)) {
    if (!this.#socket) return;
    this.#hooks.frame("out", message, text);
    this.#socket.send(text);
  }

  /** Connect at once, if this waits to. */
  reconnect() {
    if (this.retryAt !== null) void this.#connect();
  }

  close() {
    if (this.state === "closed") return;
    const socket = this.#socket;
    this.#end(1000, "closed by this client");
    socket?.close(1000);
  }

  async #connect() {
    const attempt = ++this.#attempt;
    const { token, openTimeout = 10_000, webSocket: Socket = globalThis.WebSocket } = this.#options;
    clearTimeout(this.#timer);
    this.retryAt = null;
    this.#goodbye = null;
    this.#openedAt = Infinity;
    this.#timer = setTimeout(() => this.#fail("The server did not welcome this client in time."), openTimeout);
    this.#become("connecting");
    try {
      // Before the socket, as the server does not wait long for it.
      const text = await Promise.resolve().then(() => (typeof token === "function" ? token() : token));
      if (attempt !== this.#attempt) return;
      const socket = (this.#socket = new Socket(this.#url, "jackfield.v1"));
      /** @param {(event: any) => void} listener */
      const ours = (listener) => (/** @type {any} */ event) => {
        if (socket === this.#socket) listener(event);
      };
      socket.onopen = ours(() => {
        if (text) this.send({ type: "auth", id: AUTH, payload: { token: text } });
      });
      socket.onmessage = ours(({ data }) => this.#receive(data));
      socket.onclose = ours(({ code, reason }) => this.#lost(code, reason));
      socket.onerror = () => {}; // the close comes behind it
    } catch (cause) {
      if (attempt !== this.#attempt) return;
      this.#hooks.tell("error", failure("connection_failed", `There is no connection: ${cause}`, RETRYABLE, cause));
      if (attempt === this.#attempt) this.#lost(1006, String(cause));
    }
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#heard = performance.now();
    this.#probing = false;
    /** @type {Message | null} */
    let message = null;
    try {
      message = JSON.parse(/** @type {string} */ (data));
    } catch {
      // told below
    }
    if (typeof message?.type !== "string") return this.#fail("the server sent what is no message", 1002);
    const { type, payload } = message;
    this.#hooks.frame("in", message, /** @type {string} */ (data));
    if (type === "welcome" && this.state === "connecting") {
      this.welcome = payload;
      this.#openedAt = this.#heard;
      this.#look();
      this.#hooks.opened(() => this.#become("open"));
    } else if (type === "goodbye") {
      this.#goodbye = payload;
      this.#hooks.tell("goodbye", payload);
    } else if (message.id === AUTH) {
      // Where the welcome did not wait for it, whoever sends nothing with the request is let in.
      const words = "This server lets everybody in, and takes no token in the first message.";
      const late = this.state === "open" && failure("unauthenticated", words);
      this.#hooks.tell("error", late || new JackfieldError(message.error));
    } else if (message.id !== PROBE) this.#hooks.message(message);
  }

  /** See whether anything was heard for a heartbeat; if not, ask, and wait as long again. */
  #look() {
    const period = 1000 * this.welcome?.heartbeat;
    const left = this.#heard + period - performance.now();
    clearTimeout(this.#timer);
    if (!(period > 0)) return;
    if (left > 0) this.#timer = setTimeout(() => this.#look(), left);
    else if (this.#probing) this.#fail("The server does not answer.");
    else this.#probe(period);
  }

  /**
   * A browser shows its page no ping of the server's. This is answered at once: a `session.ping`
   * would wait in line behind whatever is slow.
   * @param {number} period
   */
  #probe(period) {
    this.#probing = true;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#look(), period);
    this.send({ type: "request.cancel", id: PROBE, payload: { id: `${PROBE}/none` } });
  }

  /** The browser went online or offline, or the page is shown or hidden. */
  #changed = (/** @type {Event} */ { type }) => {
    if (this.state === "open") {
      // On another network the line may be dead. What is heard within the period clears it.
      if (!hidden() && !this.#probing && this.welcome?.heartbeat) this.#probe(1000 * this.welcome.heartbeat);
    } else if (this.retryAt !== null) {
      if (offline()) this.#wait(this.#notBefore - Date.now());
      else if (type === "online" || !hidden()) this.#retry(this.#notBefore - Date.now());
    }
  };

  /**
   * @param {string} reason
   * @param {number} [code]
   */
  #fail(reason, code = 1006) {
    const socket = this.#socket;
    this.#lost(code, reason);
    socket?.close();
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #lost(code, reason) {
    const bye = this.#goodbye;
    this.#socket = null; // what still comes of it is nobody's
    if (bye) ({ code, reason } = /** @type {any} */ (bye));
    let reconnect = bye ? bye.reconnect : code < 4500 && !FINAL.includes(code);
    // There is no newer one to be had.
    if (code === TOKEN_EXPIRED && typeof this.#options.token !== "function") reconnect = false;
    if (!reconnect) return this.#end(code, reason);
    if (performance.now() - this.#openedAt >= STEADY) this.#failures = 0;
    const after = 1000 * (bye?.after ?? 0);
    this.#notBefore = Date.now() + after;
    this.#wait(after);
    this.#hooks.lost(
      failure("connection_lost", `The connection was lost${why(reason, code)}`, { ...RETRYABLE, close_code: code }),
    );
    this.#hooks.tell("close", { code, reason, reconnect: true, after: after || null });
  }

  /**
   * Wait for the next attempt.
   * @param {number} after milliseconds that the server wants to be left alone, 0 if it doesn't say
   */
  #wait(after) {
    const { firstWait, longestWait = 30_000 } = this.#options;
    let wait = after > 0 ? after : backoff(this.#failures, firstWait, longestWait);
    // Nobody looks, or the browser sees no network, which it may be wrong about: less often.
    if (offline() || (hidden() && this.#failures)) wait = Math.max(wait, longestWait * (1 - Math.random() / 2));
    this.#failures++;
    this.#retry(wait);
  }

  /** @param {number} wait milliseconds */
  #retry(wait) {
    clearTimeout(this.#timer);
    this.retryAt = Date.now() + Math.max(0, wait);
    this.#timer = setTimeout(() => void this.#connect(), wait);
    this.#become(offline() ? "offline" : "waiting");
  }

  /**
   * @param {number} code
   * @param {string} reason
   */
  #end(code, reason) {
    this.#attempt++;
    this.#socket = null;
    clearTimeout(this.#timer);
    this.#listening.abort();
    this.retryAt = null;
    this.#become("closed");
    this.#hooks.ended(
      failure("connection_closed", `The connection is closed${why(reason, code)}`, { close_code: code }),
    );
    this.#hooks.tell("close", { code, reason, reconnect: false, after: null });
  }

  /** @param {State} state */
  #become(state) {
    this.state = state;
    this.#hooks.tell("state", state);
  }
}

/**
 * @param {string} reason
 * @param {number} code
 */
const why = (reason, code) => `: ${reason || "no reason given"} (${code}).`;
const offline = () => globalThis.navigator?.onLine === false;
const hidden = () => !!globalThis.document?.hidden;
