/** What is asked of the server: what waits to be sent, what waits for its answer, and who for. */

import { encode, isId } from "./encode.js";
import { JackfieldError, RETRYABLE, complain, failure } from "./errors.js";
import { Inbox } from "./inbox.js";

/** @typedef {import("./connection.js").Connection} Connection */
/** @typedef {import("./connection.js").Message} Message */

/**
 * @typedef {object} RequestOptions
 * @property {number | null} [timeout] milliseconds to wait for the answer, of a stream for each next
 *   one; by default the client's, null for ever
 * @property {AbortSignal} [signal] cancels it, here and at the server
 * @property {number | string} [id] of one's own, instead of the next number
 * @property {string} [key] goes into the payload: what is sent again with it is not done again
 * @property {boolean} [retry] whether to send it again if the connection is lost before the answer;
 *   by default if there is a key, or if it is of a type that only asks
 */

/**
 * What is called while the message that it is about is taken, and so in the order of the wire.
 * @typedef {object} Takers
 * @property {(message: Message) => void} [chunk] by which it is known as a stream
 * @property {(payload: any) => void} [reply]
 * @property {() => void} [sent] called when it goes over the wire
 * @property {AbortSignal} [leaving] aborted when nobody reads the chunks any more
 */

/**
 * @typedef {object} Exchange
 * @property {number | string} id
 * @property {Message} message
 * @property {string} text
 * @property {boolean} again
 * @property {number} due the `seq` of the next chunk
 * @property {Takers} takers
 * @property {(payload: any) => void} resolve
 * @property {(error: unknown) => void} reject
 * @property {() => void} arm
 */

/**
 * @template Chunk
 * @template Reply
 * @typedef {AsyncIterableIterator<Chunk> & { result: Promise<Reply> }} Stream
 */

// Milliseconds, three weeks: with more than 2^31 `setTimeout` would not wait at all.
const LONGEST = 2e9;
// The connection's own messages have ids like that.
const OWN = /^jackfield-/;
// What does no harm twice.
const ASKS = /^(session\.|topic\.(subscribe|history|presence)$|agent\.(list|task)$)/;
const encoder = new TextEncoder();

/** @param {string} text */
export const bytes = (text) => encoder.encode(text).length;

/** @param {unknown} [cause] */
export const cancelled = (cause) => failure("cancelled", "It was cancelled by this client.", {}, cause);

export class Requests {
  #connection;
  #limit;
  #buffer;
  #timeout;
  #next = 1;
  /** @type {Map<number | string, Exchange>} sent, and not answered yet */
  #pending = new Map();
  /** @type {Exchange[]} */
  #queue = [];
  #inLine = 0;
  /** @type {JackfieldError | null} */
  #ended = null;

  /**
   * @param {Connection} connection
   * @param {number} limit how many may wait to be sent
   * @param {number} buffer how many chunks may wait for their reader
   * @param {number | null} [timeout] of requests that have none of their own
   */
  constructor(connection, limit, buffer, timeout) {
    this.#connection = connection;
    this.#limit = limit;
    this.#buffer = buffer;
    this.#timeout = timeout;
  }

  /**
   * @param {string} type
   * @param {Record<string, any> | null} [payload]
   * @param {RequestOptions} [options]
   * @param {Takers} [takers]
   * @returns {Promise<any>} the payload of the reply
   */
  async ask(type, payload, { id, key, retry, signal, timeout = this.#timeout } = {}, takers = {}) {
    if (this.#ended) throw this.#ended;
    if (signal?.aborted) throw cancelled(signal.reason);
    const has = (/** @type {number | string} */ each) =>
      this.#pending.has(each) || this.#queue.some(({ id }) => id === each);
    if (id === undefined) {
      while (has(this.#next)) this.#next++;
      id = this.#next++;
    } else if (!isId(id)) {
      throw failure("invalid_message", `${id} is no id.`);
    } else if (has(id) || OWN.test(String(id))) {
      throw failure("conflict", `The id ${id} is in use.`);
    }
    const { message, text } = encode(type, id, payload, key);
    /** @type {any} */
    let timer;
    /** @type {(() => void) | undefined} */
    let abort;
    try {
      return await new Promise((resolve, reject) => {
        /** @type {Exchange} */
        const exchange = /** @type {any} */ ({ id, message, text, takers, resolve, reject, due: 0 });
        exchange.again = retry ?? (message.payload.key != null || ASKS.test(type));
        exchange.arm = () => {
          clearTimeout(timer);
          if ((timeout ?? Infinity) > LONGEST) return;
          timer = setTimeout(() => {
            const words = `No answer to ${type} came within ${timeout} ms.`;
            this.#leave(exchange, failure("timeout", words, RETRYABLE));
          }, /** @type {number} */ (timeout));
        };
        exchange.arm();
        abort = () => this.#leave(exchange, cancelled(signal?.reason));
        for (const each of [signal, takers.leaving]) each?.addEventListener("abort", abort);
        this.#queue.push(exchange);
        this.flush();
        if (this.#queue.length > this.#limit && this.#queue.at(-1) === exchange) {
          const words = `${this.#limit} requests are waiting already.`;
          this.#leave(exchange, failure("queue_full", words, RETRYABLE));
        }
      });
    } finally {
      clearTimeout(timer);
      if (abort) signal?.removeEventListener("abort", abort);
    }
  }

  /**
   * @param {string} type
   * @param {Record<string, any> | null} [payload]
   * @param {RequestOptions} [options]
   * @returns {Stream<any, any>}
   */
  stream(type, payload, options = {}) {
    const { inbox, leaving } = this.readable();
    let told = false;
    const result = this.ask(type, payload, options, { leaving, chunk: (chunk) => inbox.put(chunk.payload) });
    result.then(
      () => inbox.end(),
      (error) => {
        if (!told && !inbox.read) complain(error, `${type}: `);
        inbox.end(error);
      },
    );
    return /** @type {any} */ (Object.defineProperty(inbox, "result", { get: () => ((told = true), result) }));
  }

  /** An inbox, and a signal that is aborted when its reader leaves. */
  readable() {
    const leaving = new AbortController();
    const inbox = /** @type {Inbox<any>} */ (new Inbox(this.#buffer, () => leaving.abort()));
    return { inbox, leaving: leaving.signal };
  }

  /** Whether anything waits to be sent. */
  get waiting() {
    return this.#queue.length > 0;
  }

  /** Send what may be sent. */
  flush() {
    if (this.waiting) this.#connection.wake();
    const { message_bytes = Infinity, in_flight = Infinity } = this.#connection.welcome?.limits ?? {};
    while (this.#connection.ready && this.#queue.length && this.#pending.size < in_flight) {
      const [exchange] = this.#queue;
      // With half of them waiting in line the server stops reading, and so hears of no cancel.
      if (!exchange.takers.chunk && this.#inLine >= Math.max(1, in_flight >> 1)) return;
      this.#queue.shift();
      const { id, message, text } = exchange;
      // No character of JavaScript's takes more than three bytes.
      if (3 * text.length > message_bytes && bytes(text) > message_bytes) {
        const words = `The server takes ${message_bytes} bytes at most.`;
        exchange.reject(failure("too_large", words, { limit: message_bytes }));
        continue;
      }
      this.#pending.set(id, exchange);
      if (!exchange.takers.chunk) this.#inLine++;
      exchange.takers.sent?.();
      this.#connection.send(message, text);
    }
  }

  /**
   * A connection is open. What is asked while it is told goes before what has waited.
   * @param {() => void} tell
   */
  opened(tell) {
    const waiting = this.#queue.splice(0);
    tell();
    this.#queue.push(...waiting);
    if (this.#ended) this.ended(this.#ended);
    else this.flush();
  }

  /**
   * An answer.
   * @param {Message} message
   */
  take(message) {
    const { type, seq, payload } = message;
    const exchange = this.#pending.get(message.id);
    if (!exchange) return;
    if (type === "chunk") {
      if (seq !== exchange.due++) {
        const words = `Chunk ${seq} came where ${exchange.due - 1} was due.`;
        return this.#leave(exchange, failure("stream_broken", words));
      }
      if (!exchange.takers.chunk) return;
      exchange.arm();
      exchange.takers.chunk(message);
    } else {
      this.#forget(exchange);
      if (type === "error") exchange.reject(new JackfieldError(message.error));
      else {
        exchange.takers.reply?.(payload);
        exchange.resolve(payload);
      }
      this.flush();
    }
  }

  /**
   * The connection is lost, and comes again.
   * @param {JackfieldError} error
   */
  lost(error) {
    const sent = [...this.#pending.values()];
    this.#pending.clear();
    this.#inLine = 0;
    // Of a stream that has begun, nobody knows whether a second one would go on as it did.
    const again = sent.filter((exchange) => exchange.again && !exchange.due);
    this.#queue.unshift(...again);
    for (const exchange of sent) if (!again.includes(exchange)) exchange.reject(error);
  }

  /**
   * The connection does not come again.
   * @param {JackfieldError} error
   */
  ended(error) {
    this.#ended = error;
    for (const { reject } of [...this.#pending.values(), ...this.#queue]) reject(error);
    this.#pending.clear();
    this.#queue = [];
  }

  /** @param {Exchange} exchange */
  #forget(exchange) {
    if (this.#pending.delete(exchange.id) && !exchange.takers.chunk) this.#inLine--;
  }

  /**
   * Give up waiting for an answer, and tell the server if it was asked.
   * @param {Exchange} exchange
   * @param {JackfieldError} error
   */
  #leave(exchange, error) {
    const at = this.#queue.indexOf(exchange);
    if (at >= 0) this.#queue.splice(at, 1);
    else if (this.#pending.get(exchange.id) === exchange) {
      this.#forget(exchange);
      this.#connection.send({ type: "request.cancel", payload: { id: exchange.id } });
    }
    exchange.reject(error);
    this.flush();
  }
}
