/** A promise, and what settles it. */

/**
 * @template T
 * @returns {{ promise: Promise<T>, resolve: (value: T) => void, reject: (error: unknown) => void }}
 */
export function defer() {
  /** @type {any} */
  const deferred = {};
  deferred.promise = new Promise((resolve, reject) => Object.assign(deferred, { resolve, reject }));
  // Nobody has to wait for it: there are other ways to learn that something failed.
  deferred.promise.catch(() => {});
  return deferred;
}
