/** Listeners, by the name of what they listen for. */

/** @template {Record<string, any>} Events what a listener is called with, by name */
export class Emitter {
  /** @type {Map<keyof Events, Set<(value: any) => void>>} */
  #listeners = new Map();

  /**
   * Listen.
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {(value: Events[Name]) => void} listener
   * @returns {() => void} what ends it
   */
  on(name, listener) {
    const listeners = this.#listeners.get(name) ?? new Set();
    this.#listeners.set(name, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /**
   * @protected
   * @param {keyof Events} name
   */
  heard(name) {
    return !!this.#listeners.get(name)?.size;
  }

  /**
   * @protected
   * @template {keyof Events} Name
   * @param {Name} name
   * @param {Events[Name]} value
   */
  emit(name, value) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
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
