/** A list that keeps only its newest items, each under a number that never changes. */

export class Ring {
  /** The number of the first item that is kept. */
  first = 0;
  length = 0;
  #items = [];
  #start = 0;

  /** @param {number} capacity how many are kept */
  constructor(capacity) {
    this.capacity = capacity;
  }

  /** The number that the next item gets. */
  get end() {
    return this.first + this.length;
  }

  push(item) {
    this.#items[(this.#start + this.length) % this.capacity] = item;
    if (this.length < this.capacity) this.length++;
    else {
      this.#start = (this.#start + 1) % this.capacity;
      this.first++;
    }
  }

  /**
   * Put items before the first, as many of the last of them as there is room for.
   * @returns {number} how many that were
   */
  prepend(items) {
    const room = Math.min(items.length, this.capacity - this.length);
    for (let taken = 1; taken <= room; taken++) {
      this.#start = (this.#start + this.capacity - 1) % this.capacity;
      this.#items[this.#start] = items[items.length - taken];
    }
    this.length += room;
    this.first -= room;
    return room;
  }

  /** @param {number} number */
  get(number) {
    const index = number - this.first;
    if (index < 0 || index >= this.length) return undefined;
    return this.#items[(this.#start + index) % this.capacity];
  }

  clear() {
    this.first = this.end;
    this.length = 0;
    this.#start = 0;
    this.#items = [];
  }

  /** The same items, which stay as they are. */
  copy() {
    const copy = new Ring(this.capacity);
    for (const item of this) copy.push(item);
    copy.first = this.first;
    return copy;
  }

  *[Symbol.iterator]() {
    for (let number = this.first; number < this.end; number++) yield this.get(number);
  }
}
