/** What waits for whoever iterates over it. */

import { bind } from "./bind.js";
import { failure } from "./errors.js";

/**
 * @template T
 * @implements {AsyncIterableIterator<T>}
 */
export class Inbox {
  /** @type {T[]} */
  #items = [];
  /** @type {((result: IteratorResult<T> | Promise<IteratorResult<T>>) => void)[]} */
  #readers = [];
  /** @type {{ error?: unknown } | null} */
  #end = null;
  #limit;
  #leave;
  /** Whether anybody has begun to read. */
  read = false;

  /**
   * @param {number} limit how many items may wait
   * @param {() => void} leave called when the reader leaves, or is told that it was too slow
   */
  constructor(limit, leave) {
    bind(this);
    this.#limit = limit;
    this.#leave = leave;
  }

  /** @param {T} item */
  put(item) {
    if (this.#end) return;
    const reader = this.#readers.shift();
    if (reader) reader({ value: item, done: false });
    else if (this.#items.push(item) > this.#limit) {
      this.#items.pop();
      this.end(
        failure("slow_reader", `More than ${this.#limit} items were not read.`),
      );
    }
  }

  /**
   * Nothing more comes.
   * @param {unknown} [error] why, if it is not the proper end
   */
  end(error) {
    if (this.#end) return;
    this.#end = { error };
    for (const reader of this.#readers.splice(0)) reader(this.next());
  }

  /** @returns {Promise<IteratorResult<T>>} */
  async next() {
    this.read = true;
    if (this.#items.length) return { value: /** @type {T} */ (this.#items.shift()), done: false };
    if (!this.#end) return new Promise((resolve) => this.#readers.push(resolve));
    const { error } = this.#end;
    this.#end = {}; // told once, as by a generator
    if (!error) return { value: undefined, done: true };
    this.#leave();
    throw error;
  }

  /** @returns {Promise<IteratorResult<T>>} */
  async return() {
    this.#items = [];
    this.end();
    this.#leave();
    return { value: undefined, done: true };
  }

  [Symbol.asyncIterator]() {
    return this;
  }
}
