/** A promise, and what settles it. */

/**
 * @template T
 * @typedef {object} Deferred
 * @property {Promise<T>} promise
 * @property {boolean} asked whether anybody has taken the promise
 * @property {(value: T) => void} resolve
 * @property {(error: unknown) => void} reject
 */

/**
 * @template T
 * @returns {Deferred<T>}
 */
export function defer() {
  /** @type {any} */
  const deferred = {
    asked: false,
    get promise() {
      this.asked = true;
      return promise;
    },
  };
  const promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }));
  // Nobody has to wait for it: there are other ways to learn that something failed.
  promise.catch(() => {});
  return deferred;
}
