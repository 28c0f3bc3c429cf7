/** Numbers, times and sizes in words. */

const counts = new Intl.NumberFormat("en");
const clock = new Intl.DateTimeFormat("en-GB", { timeStyle: "medium" });

export const count = (number) => counts.format(number);

/** "1 event", "2,000 events". */
export const many = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** A duration. @param {number} ms milliseconds */
export function duration(ms) {
  if (ms < 10) return `${ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  if (ms < 60_000) return `${(ms / 1000).toFixed(1).replace(/\.0$/, "")} s`;
  return `${Math.round(ms / 60_000)} min`;
}

/** A time of the day, to the millisecond. @param {number} at milliseconds since the epoch */
export const time = (at) => `${clock.format(at)}.${String(Math.floor(at) % 1000).padStart(3, "0")}`;

/** A time of the day, to the second. @param {number} at milliseconds since the epoch */
export const second = (at) => clock.format(at);

export function size(bytes) {
  if (bytes < 1024) return `${bytes} B`;
  const unit = bytes < 1024 ** 2 ? 1024 : 1024 ** 2;
  const value = bytes / unit;
  return `${value < 10 && value % 1 ? value.toFixed(1) : Math.round(value)} ${unit === 1024 ? "KiB" : "MiB"}`;
}
