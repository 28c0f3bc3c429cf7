/** Listeners, by the name of what they listen for. */

import { bind } from "./bind.js";
import { complain } from "./errors.js";

/** @template {Record<string, any>} Events what a listener is called with, by name */
export class Emitter {
  /** @type {Map<keyof Events, Map<(value: any) => void, boolean>>} with whether it is for once */
  #listeners = new Map();

  constructor() {
    bind(this);
  }

  /**
   * Listen.
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(value: Events[Name]) => void} listener
   * @param {boolean} [once] whether only until it is told
   * @returns {() => void} what ends it
   */
  on(name, listener, once = false) {
    const listeners = this.#listeners.get(name) ?? new Map();
    this.#listeners.set(name, listeners.set(listener, once));
    return () => this.off(name, listener);
  }

  /**
   * Listen until it is told once.
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(value: Events[Name]) => void} listener
   * @returns {() => void} what ends it
   */
  once(name, listener) {
    return this.on(name, listener, true);
  }

  /**
   * Listen no more.
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(value: Events[Name]) => void} listener
   */
  off(name, listener) {
    this.#listeners.get(name)?.delete(listener);
  }

  /**
   * @protected
   * @param {keyof Events} name
   */
  heard(name) {
    return !!this.#listeners.get(name)?.size;
  }

  /**
   * Tell an error; the console, if nobody learns of it.
   * @protected
   * @param {any} error
   * @param {string} [about]
   * @param {boolean} [told] whether somebody learns of it who does not listen
   */
  fail(error, about, told) {
    if (!told && !this.heard("error")) complain(error, about);
    this.emit("error", error);
  }

  /**
   * @protected
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} value
   */
  emit(name, value) {
    for (const [listener, once] of [...(this.#listeners.get(name) ?? [])]) {
      if (once) this.off(name, listener);
      try {
        listener(value);
      } catch (error) {
        // As an EventTarget does: the page is told, and this client goes on.
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }
}
