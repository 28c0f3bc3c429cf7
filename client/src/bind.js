/** What makes an object with private members work through a Proxy. */

/**
 * Bind the methods and accessors of an object to it. Vue and others wrap in a Proxy what is kept in
 * their state; a method that is called through one would find no private member there.
 * @param {any} object
 */
export function bind(object) {
  for (let from = object; (from = Reflect.getPrototypeOf(from)) !== Object.prototype; ) {
    for (const name of Reflect.ownKeys(from)) {
      if (name === "constructor" || Object.hasOwn(object, name)) continue;
      /** @type {any} */
      const found = Reflect.getOwnPropertyDescriptor(from, name);
      for (const part in found) if (found[part]?.bind) found[part] = found[part].bind(object);
      Reflect.defineProperty(object, name, found);
    }
  }
}
