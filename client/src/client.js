/** A client as its user has it, over as many connections as it takes. */

import { address } from "./address.js";
import { Run, newKey } from "./agents.js";
import { Connection } from "./connection.js";
import { defer } from "./deferred.js";
import { Emitter } from "./emitter.js";
import { JackfieldError, complain, failure } from "./errors.js";
import { Requests, bytes } from "./requests.js";
import { identified } from "./subscription.js";
import { Topics } from "./topics.js";

/** @typedef {import("./connection.js").Message} Message */
/** @typedef {import("./connection.js").State} State */
/** @typedef {import("./connection.js").Closed} Closed */
/** @typedef {import("./subscription.js").Position} Position */
/** @typedef {import("./subscription.js").Member} Member */
/** @typedef {import("./subscription.js").TopicEvent} TopicEvent */

/**
 * @template {string} Topic
 * @typedef {import("./registry.js").EventOf<Topic>} EventOf
 */

/**
 * @typedef {object} Options
 * @property {string | import("./connection.js").TokenProvider} [token] what proves who this is; a
 *   function is asked for each connection, and when the token is about to run out
 * @property {new (url: string, protocol: string) => any} [webSocket] the class of the socket; by
 *   default the one that is there
 * @property {number} [queue] how many requests may wait to be sent; 1000 by default
 * @property {number} [buffer] how many chunks of a stream, or events of a subscription, may wait for
 *   their reader; 65536 by default, more than one reply of the server holds
 * @property {number} [firstWait] milliseconds, the bound of the first wait to reconnect; 1000
 * @property {number} [longestWait] milliseconds, what that bound grows to; 30000
 * @property {number} [openTimeout] milliseconds until the server must have welcomed it; 10000
 * @property {number} [timeout] milliseconds that a request waits for its answer, if it does not say
 *   itself; for ever by default
 * @property {boolean} [debug] whether to write what happens to the console
 */

/**
 * A message on its way, for inspectors. Tokens are left out of it.
 * @typedef {{ direction: "in" | "out", message: Message, bytes: number }} Frame
 */

/**
 * @typedef {object} ClientEvents
 * @property {State} state
 * @property {Record<string, any>} welcome the payload of the server's welcome
 * @property {TopicEvent} event of any topic
 * @property {JackfieldError} error what answers no request
 * @property {Record<string, any>} goodbye the payload of the server's goodbye
 * @property {Closed} close a connection has ended
 * @property {Frame} message
 */

/** @extends {Emitter<ClientEvents>} */
export class Client extends Emitter {
  /** @type {import("./deferred.js").Deferred<Record<string, any>>} */
  #begun = defer();
  /** Whether what happens is written to the console. */
  debug;

  #connection;
  /** @type {Requests} */
  #requests = /** @type {any} */ (null);
  /** @type {Topics} */
  #topics = /** @type {any} */ (null);
  #options;
  #closing = false;

  /**
   * @param {string | URL} url
   * @param {Options} options
   */
  constructor(url, options) {
    super();
    const { debug = false, webSocket } = options;
    const where = address(url);
    if (where && !(webSocket ?? globalThis.WebSocket)) {
      throw new TypeError("There is no WebSocket here: give one as `webSocket`");
    }
    this.debug = debug;
    this.#options = options;
    this.#connection = new Connection(where, options, {
      tell: (name, value, complaint) => {
        if (name === "error") return this.fail(value);
        if (complaint && !this.heard(name)) complain(complaint);
        this.emit(name, value);
      },
      frame: (direction, message, text) => this.#frame(direction, message, text),
      opened: (become) =>
        this.#requests.opened(() => {
          become();
          const welcome = /** @type {Record<string, any>} */ (this.welcome);
          this.#begun.resolve(welcome);
          this.emit("welcome", welcome);
          this.#topics.opened();
        }),
      message: (message) => this.#take(message),
      lost: (error) => {
        this.#topics.lost();
        this.#requests.lost(error);
      },
      ended: (error) => {
        this.#begun.reject(error);
        this.#requests.ended(error);
        this.#topics.ended(error, this.#closing);
      },
      wanted: () => this.#requests.waiting || this.#topics.any || this.heard("event"),
    });
    this.connect();
  }

  /** Fulfilled with the first welcome; after `connect`, with the first since. */
  get ready() {
    return this.#begun.promise;
  }

  /** @returns {State} */
  get state() {
    return this.#connection.state;
  }

  /** When the next attempt to connect begins, in milliseconds since the epoch; null if none does. */
  get retryAt() {
    return this.#connection.retryAt;
  }

  /** The payload of the last welcome. */
  get welcome() {
    return this.#connection.welcome;
  }

  /**
   * Send a message, and wait for the payload of its reply.
   * @type {import("./registry.js").Ask}
   */
  request = (type, ...asked) => this.#requests.ask(type, ...asked);

  /**
   * Send a message, and iterate over the payloads of the chunks that answer it.
   * @type {import("./registry.js").AskForStream}
   */
  stream = (type, ...asked) => this.#requests.stream(type, ...asked);

  /**
   * Follow a topic.
   * @template {string} Topic
   * @param {Topic} topic
   * @param {import("./subscription.js").SubscribeOptions<EventOf<Topic>>} [options]
   * @returns {import("./subscription.js").Subscription<EventOf<Topic>>}
   */
  subscribe(topic, options = {}) {
    return this.#topics.subscribe(topic, options);
  }

  /**
   * Publish an event to a topic that lets clients do so; once, however often it must be sent.
   * @template {string} Topic
   * @param {Topic} topic
   * @param {EventOf<Topic>} payload
   * @param {import("./requests.js").RequestOptions} [options]
   * @returns {Promise<Position>}
   */
  publish(topic, payload, options) {
    return this.#requests.ask("topic.publish", { topic, payload }, { ...options, key: options?.key ?? newKey() });
  }

  /**
   * Read what a topic keeps of its events.
   * @template {string} Topic
   * @param {Topic} topic
   * @param {{ after?: number, before?: number, limit?: number } & import("./requests.js").RequestOptions} [options]
   * @returns {Promise<Position & { events: import("./subscription.js").TopicEvent<EventOf<Topic>>[] }>}
   */
  async history(topic, { after, before, limit, ...options } = {}) {
    const page = await this.#requests.ask("topic.history", { topic, after, before, limit }, options);
    return { ...page, events: page.events.map((/** @type {Message} */ event) => identified(event, page.epoch)) };
  }

  /**
   * Who is in a topic.
   * @param {string} topic
   * @param {import("./requests.js").RequestOptions} [options]
   * @returns {Promise<{ members: Member[], count: number }>}
   */
  presence(topic, options) {
    return this.#requests.ask("topic.presence", { topic }, options);
  }

  /**
   * Call an agent.
   * @param {import("./agents.js").Target} target
   * @param {Record<string, any>} [input]
   * @param {import("./agents.js").CallOptions} [options]
   */
  call(target, input = {}, options = {}) {
    return new Run(this.#requests, this.#topics, options.signal).call(target, input, options);
  }

  /**
   * Follow a task from its beginning.
   * @param {string} task its id
   */
  attach(task) {
    return new Run(this.#requests, this.#topics).attach(task);
  }

  /** Connect at once, where this waits to. */
  reconnect() {
    this.#connection.reconnect();
  }

  /** Begin anew once it has ended, as after a `close` or with another user. What it followed it follows no more. */
  connect() {
    if (this.state !== "closed") return this.reconnect();
    const { queue = 1000, buffer = 65_536, timeout = null } = this.#options;
    this.#closing = false;
    this.#begun = defer();
    this.#requests = new Requests(this.#connection, queue, buffer, timeout);
    this.#topics = new Topics(this.#connection, this.#requests, buffer, (event) => this.emit("event", event));
    this.#connection.open();
  }

  /** End it: what still waits for an answer is rejected, and iterations end. */
  close() {
    this.#closing = true;
    this.#connection.close("closed by this client");
  }

  /** @param {Message} message */
  #take(message) {
    const { type, id, error } = message;
    if (id != null) this.#requests.take(message);
    else if (type === "error" && error.code === "token_expired" && typeof this.#options.token === "function") {
      void this.#refresh();
    } else if (!this.#topics.take(message) && type === "error") this.fail(new JackfieldError(error));
  }

  /**
   * @protected
   * @type {Emitter<ClientEvents>["emit"]}
   */
  emit(name, value) {
    if (this.debug) console.debug("jackfield", name, value);
    super.emit(name, value);
  }

  /** The token runs out: swap it for a newer one. */
  async #refresh() {
    try {
      const token = await /** @type {import("./connection.js").TokenProvider} */ (this.#options.token)();
      if (token === null) this.#connection.close("signed out");
      else if (token) await this.#requests.ask("auth.refresh", { token });
    } catch (cause) {
      if (this.#connection.state !== "open") return; // the next connection has a new one
      this.fail(failure("token_failed", `There is no newer token: ${cause}`, {}, cause));
    }
  }

  /**
   * @param {"in" | "out"} direction
   * @param {Message} message
   * @param {string} text
   */
  #frame(direction, message, text) {
    if (!this.debug && !this.heard("message")) return;
    if (message.payload?.token) message = { ...message, payload: { token: "…" } };
    this.emit("message", { direction, message, bytes: bytes(text) });
  }
}
