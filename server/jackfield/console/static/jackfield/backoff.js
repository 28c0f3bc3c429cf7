/** How long to wait before the next attempt, so that those who lost one server spread out. */

/**
 * Full jitter: anything up to a bound that doubles with each failure.
 * @param {number} failures how many attempts have failed in a row
 * @param {number} [first] the bound after the first failure, in milliseconds
 * @param {number} [longest] what the bound never exceeds, in milliseconds
 * @param {() => number} [random] from 0 up to, but not including, 1
 * @returns {number} milliseconds
 */
export const backoff = (failures, first = 1000, longest = 30_000, random = Math.random) =>
  random() * Math.min(longest, first * 2 ** failures);
