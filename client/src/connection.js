/** The line to the server: it opens, says who this is, watches that it lives, and opens again. */

import { isLocal } from "./address.js";
import { backoff } from "./backoff.js";
import { JackfieldError, RETRYABLE, failure } from "./errors.js";

// What the next connection would meet as well (RFC 6455, section 7.4.1): the normal end, and
// messages that one of the two sides cannot take.
const FINAL = [1000, 1002, 1003, 1007, 1008, 1009, 1010];
const TOKEN_EXPIRED = 4002;
// A connection that held for so long was a good one: the next failure is the first again.
const STEADY = 5000;
// A server may close who has nothing under way, for this reason.
const IDLE = "idle";
// Milliseconds, as all that follow: how often it is looked whether the line lives, and how late such
// a look is where the machine slept.
const TICK = 1000;
const SLEPT = 2000;
// How long a line that may be dead has to answer.
const SOON = 2000;
// A browser tells of the close right behind an error, but not where it opened no connection at all.
const CLOSE_FOLLOWS = 100;
// Ids of our own, which no request may have.
const AUTH = "jackfield-auth";
const PROBE = "jackfield-probe";

/** @typedef {"connecting" | "open" | "waiting" | "offline" | "idle" | "closed"} State */
/** @typedef {{ type: string, [key: string]: any }} Message */
/** @typedef {() => string | null | undefined | Promise<string | null | undefined>} TokenProvider */

/**
 * How a connection ended.
 * @typedef {object} Closed
 * @property {number} code the close code; 1006 if the line was lost
 * @property {string} reason
 * @property {boolean} reconnect whether this client connects again, be it only when something is wanted
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
 * @property {(name: "state" | "close" | "goodbye" | "error", value: any, complaint?: JackfieldError) => void} tell
 *   with what the console is told if nobody listens to the end of a connection
 * @property {(direction: "in" | "out", message: Message, text: string) => void} frame
 * @property {(become: () => void) => void} opened the server welcomes us; `become` says "open"
 * @property {(message: Message) => void} message
 * @property {(error: JackfieldError) => void} lost it opens again by itself
 * @property {(error: JackfieldError) => void} ended it does not
 * @property {() => boolean} wanted whether anything is under way, or waits
 */

export class Connection {
  /** @type {State} */
  state = "closed";
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
  /** Milliseconds that the line may be silent. */
  #period = 0;
  /** When the answer to a probe must have come; 0 where none is waited for. */
  #deadline = 0;
  /** @type {any} One timer for all: the end of an opening, the next attempt, the next look. */
  #timer;
  /** @type {AbortController | undefined} */
  #listening;

  /**
   * @param {string | null} url null where there can be no connection
   * @param {LineOptions} options
   * @param {Hooks} hooks
   */
  constructor(url, options, hooks) {
    this.#url = url;
    this.#options = options;
    this.#hooks = hooks;
  }

  /** Connect, for the first time or once it has ended. */
  open() {
    if (this.#url === null) {
      const words = "There is no page here.";
      return this.#hooks.ended(failure("connection_closed", words));
    }
    this.#listening = new AbortController();
    const { signal } = this.#listening;
    for (const name of ["online", "offline", "pageshow", "visibilitychange"]) {
      globalThis.addEventListener?.(name, this.#changed, { signal }); // there is none in Node
    }
    this.#failures = 0;
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
    if (this.retryAt !== null || this.state === IDLE) void this.#connect();
  }

  /** Something is wanted. */
  wake() {
    if (this.state === IDLE) void this.#connect();
  }

  /**
   * @param {string} reason
   * @param {unknown} [cause]
   */
  close(reason, cause) {
    if (this.state === "closed") return;
    const socket = this.#socket;
    this.#end(1000, reason, true, cause);
    socket?.close(1000);
  }

  async #connect() {
    const attempt = ++this.#attempt;
    const { token, openTimeout = 10_000, webSocket: Socket = globalThis.WebSocket } = this.#options;
    this.retryAt = null;
    this.#goodbye = null;
    this.#openedAt = Infinity;
    this.#later(openTimeout, () => this.#fail("The server did not welcome us in time."));
    this.#become("connecting");
    try {
      // Before the socket, as the server does not wait long for it.
      const text = await Promise.resolve().then(() => (typeof token === "function" ? token() : token));
      if (attempt !== this.#attempt) return;
      if (text === null && typeof token === "function") return this.close("signed out");
      const socket = (this.#socket = new Socket(/** @type {string} */ (this.#url), "jackfield.v1"));
      /** @param {(event: any) => void} listener */
      const ours = (listener) => (/** @type {any} */ event) => {
        if (socket === this.#socket) listener(event);
      };
      socket.onopen = ours(() => {
        if (text) this.send({ type: "auth", id: AUTH, payload: { token: text } });
      });
      socket.onmessage = ours(({ data }) => this.#receive(data));
      socket.onclose = ours(({ code, reason }) => this.#lost(code, reason));
      socket.onerror = ours(() => {
        if (this.state !== "connecting") return;
        const words = "blocked; see the page's Content-Security-Policy";
        this.#later(CLOSE_FOLLOWS, () => this.#fail(words));
      });
    } catch (/** @type {any} */ cause) {
      if (attempt !== this.#attempt) return;
      const retryable = cause?.retryable !== false;
      this.#hooks.tell("error", failure("connection_failed", `There is no connection: ${cause}`, { retryable }, cause));
      if (attempt !== this.#attempt) return;
      if (retryable) this.#lost(1006, String(cause));
      else this.close(String(cause), cause);
    }
  }

  /** @param {unknown} data */
  #receive(data) {
    this.#heard = performance.now();
    this.#deadline = 0;
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
      this.#period = 1000 * (payload.heartbeat || Infinity);
      this.#look();
      this.#hooks.opened(() => this.#become("open"));
    } else if (type === "goodbye") {
      this.#goodbye = payload;
      this.#hooks.tell("goodbye", payload);
    } else if (message.id === AUTH) {
      // Where the welcome did not wait for it, whoever sends nothing with the request is let in.
      const words = "This server lets everybody in, and takes no token.";
      const late = this.state === "open" && failure("unauthenticated", words);
      this.#hooks.tell("error", late || new JackfieldError(message.error));
    } else if (message.id !== PROBE) this.#hooks.message(message);
  }

  /** See whether anything was heard for a heartbeat; if not, ask, and wait as long again. */
  #look() {
    const wait = Math.min(TICK, this.#patience);
    const due = Date.now() + wait;
    this.#later(wait, () => {
      // The machine slept, or was busy: what has come meanwhile is still to be read.
      if (Date.now() - due > SLEPT && !hidden()) this.#probe(SOON);
      else if (this.#patience > 0) this.#look();
      else if (this.#deadline) this.#fail("The server does not answer.");
      else this.#probe(this.#period);
    });
  }

  /** Milliseconds that the line may still be silent. */
  get #patience() {
    return (this.#deadline || this.#heard + this.#period) - performance.now();
  }

  /**
   * A browser shows its page no ping of the server's. This is answered at once: a `session.ping`
   * would wait in line behind whatever is slow.
   * @param {number} wait milliseconds for the answer
   */
  #probe(wait) {
    this.#deadline = performance.now() + Math.min(wait, this.#period);
    this.#look();
    this.send({ type: "request.cancel", id: PROBE, payload: { id: `${PROBE}/none` } });
  }

  /** The browser went online or offline, or the page is shown or hidden. */
  #changed = (/** @type {Event} */ { type }) => {
    if (this.state === "open") {
      // On another network, or after a sleep, the line may be dead.
      if (!hidden()) this.#probe(SOON);
    } else if (this.retryAt !== null) {
      if (this.#offline) this.#wait(this.#notBefore - Date.now());
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
    const opened = this.#openedAt !== Infinity;
    this.#socket = null; // what still comes of it is nobody's
    clearTimeout(this.#timer);
    if (bye) ({ code, reason } = /** @type {any} */ (bye));
    const idle = reason === IDLE;
    let reconnect = idle || (bye ? bye.reconnect : code < 4500 && !FINAL.includes(code));
    // There is no newer one to be had. Without any, a cookie says who this is, and may be renewed.
    const { token } = this.#options;
    if (code === TOKEN_EXPIRED && token && typeof token !== "function") reconnect = false;
    if (!reconnect) return this.#end(code, reason);
    if (performance.now() - this.#openedAt >= STEADY) this.#failures = 0;
    const what = `The connection ${opened ? "was lost" : "failed"}`;
    const error = failure("connection_lost", what + why(reason, code), { ...RETRYABLE, close_code: code });
    // Mostly it comes again; if it does not, that is told once.
    const complaint = !opened && this.#failures === 1 ? error : undefined;
    const after = 1000 * (bye?.after ?? 0);
    this.#notBefore = Date.now() + after;
    this.#hooks.lost(error);
    if (idle && !this.#hooks.wanted()) this.#become(IDLE);
    else this.#wait(after);
    this.#hooks.tell("close", { code, reason, reconnect: true, after: after || null }, complaint);
  }

  /**
   * Wait for the next attempt.
   * @param {number} after milliseconds that the server wants to be left alone, 0 if it doesn't say
   */
  #wait(after) {
    const { firstWait, longestWait = 30_000 } = this.#options;
    let wait = after > 0 ? after : backoff(this.#failures, firstWait, longestWait);
    // Nobody looks, or the browser sees no network, which it may be wrong about: less often.
    if (this.#offline || (hidden() && this.#failures)) wait = Math.max(wait, longestWait * (1 - Math.random() / 2));
    this.#failures++;
    this.#retry(wait);
  }

  /** @param {number} wait milliseconds */
  #retry(wait) {
    this.retryAt = Date.now() + Math.max(0, wait);
    this.#later(wait, () => void this.#connect());
    this.#become(this.#offline ? "offline" : "waiting");
  }

  /** What the browser knows of the network says nothing of this machine's own servers. */
  get #offline() {
    return globalThis.navigator?.onLine === false && !isLocal(/** @type {string} */ (this.#url));
  }

  /**
   * @param {number} code
   * @param {string} reason
   * @param {boolean} [own] whether this client has ended it
   * @param {unknown} [cause]
   */
  #end(code, reason, own, cause) {
    const attempt = ++this.#attempt;
    this.#socket = null;
    clearTimeout(this.#timer);
    this.#listening?.abort();
    this.retryAt = null;
    this.state = "closed";
    const words = `The connection is closed${why(reason, code)}`;
    const error = failure("connection_closed", words, { close_code: code }, cause);
    this.#hooks.ended(error);
    if (attempt === this.#attempt) this.#become("closed"); // unless a listener connects anew
    this.#hooks.tell("close", { code, reason, reconnect: false, after: null }, own ? undefined : error);
  }

  /**
   * @param {number} wait milliseconds
   * @param {() => void} task what is done then, and nothing else
   */
  #later(wait, task) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(task, wait);
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
function why(reason, code) {
  const words = `: ${reason || "no reason given"} (${code}).`;
  const { location } = globalThis;
  if (!location || !reason.includes("origin")) return words;
  return `${words} To let it in, add ${location.origin} to the server's [auth] origins.`;
}
const hidden = () => globalThis.document?.hidden;
