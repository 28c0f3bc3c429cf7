/** What this tab remembers until it is closed: two tabs may be two people. */

/** @type {Map<string, string>} A page whose storage is forbidden remembers as long as it is there. */
const kept = new Map();

/** @param {string} name */
export function recall(name) {
  try {
    return sessionStorage.getItem(name);
  } catch {
    return kept.get(name) ?? null;
  }
}

/**
 * @param {string} name
 * @param {string} value
 */
export function remember(name, value) {
  kept.set(name, value);
  try {
    sessionStorage.setItem(name, value);
  } catch {
    // kept in memory
  }
}
