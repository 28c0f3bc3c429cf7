/** Which topics this client follows, and who is told what comes of them. */

import { Subscription, identified } from "./subscription.js";

/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("./connection.js").Message} Message */
/** @typedef {import("./requests.js").Requests} Requests */
/** @typedef {import("./subscription.js").TopicEvent} TopicEvent */

export class Topics {
  /** @type {Map<string, Set<Subscription>>} */
  #topics = new Map();
  #connection;
  /** @type {import("./errors.js").JackfieldError | null} */
  #ended = null;

  /**
   * @param {Connection} connection
   * @param {Requests} requests
   * @param {number} buffer how many events may wait for their reader
   * @param {(event: TopicEvent) => void} tell called with each event, once
   */
  constructor(connection, requests, buffer, tell) {
    this.#connection = connection;
    this.requests = requests;
    this.buffer = buffer;
    this.tell = tell;
  }

  /**
   * @param {string} name
   * @param {import("./subscription.js").SubscribeOptions<any>} options
   */
  subscribe(name, options) {
    const subscription = new Subscription(this, name, options);
    const ended = this.#ended;
    // Later, as nobody can listen yet.
    if (ended) queueMicrotask(() => subscription.end(ended));
    else {
      const all = this.#topics.get(name) ?? new Set();
      this.#topics.set(name, all.add(subscription));
      if (this.#connection.ready) subscription.join();
      else this.#connection.wake();
    }
    return subscription;
  }

  /** Whether there is any. */
  get any() {
    return this.#topics.size > 0;
  }

  /** @param {Subscription} subscription */
  leave(subscription) {
    const { topic } = subscription;
    const all = this.#topics.get(topic);
    if (!all?.delete(subscription) || all.size) return;
    this.#topics.delete(topic);
    // What the server has put us into by itself, we stay in.
    if (!this.#connection.ready || this.#connection.welcome?.topics?.[topic]) return;
    this.requests.ask("topic.unsubscribe", { topic }).catch(() => {});
  }

  /**
   * Whether it is the one of several to the same topic that speaks for all.
   * @param {Subscription} subscription
   */
  isFirst(subscription) {
    return this.#topics.get(subscription.topic)?.values().next().value === subscription;
  }

  /** @returns {Subscription[]} */
  #all() {
    return [...this.#topics.values()].flatMap((all) => [...all]);
  }

  /** A connection is open. */
  opened() {
    for (const subscription of this.#all()) subscription.join();
  }

  /** The connection is lost, and comes again. */
  lost() {
    for (const subscription of this.#all()) subscription.lost();
  }

  /**
   * The connection does not come again.
   * @param {import("./errors.js").JackfieldError} error
   * @param {boolean} own whether this client has closed it
   */
  ended(error, own) {
    this.#ended = error;
    for (const subscription of this.#all()) subscription.end(own ? undefined : error);
  }

  /**
   * @param {Message} message
   * @returns {boolean} whether it was for somebody
   */
  take(message) {
    const name = message.topic ?? message.error?.topic;
    const all = [...(this.#topics.get(name) ?? [])];
    for (const subscription of all) subscription.take(message);
    if (!all.length && message.type === "event") {
      this.tell(identified(message, null));
      return true;
    }
    return all.length > 0;
  }
}
