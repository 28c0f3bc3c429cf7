/** Where a server is. */

/**
 * The address of a server's socket.
 * @param {string | URL} url
 * @returns {string | null} null if it is relative to a page and there is none, as where a server renders it
 * @throws {TypeError} it is none
 */
export function address(url) {
  const text = typeof url === "string" ? url : url?.href;
  const base = globalThis.location?.href;
  if (!base && /^[./?]/.test(text)) return null;
  const full = text && new URL(text, base);
  if (full) full.protocol = full.protocol.replace(/^http/, "ws");
  if (!full || !/^wss?:$/.test(full.protocol)) throw new TypeError(`${url} is no address of a WebSocket`);
  if (full.pathname === "/") full.pathname = "/ws";
  full.hash = "";
  return full.href;
}

/**
 * Whether a server is on this machine, where no network is needed to reach it.
 * @param {string} url
 */
export const isLocal = (url) => /^127\.|^\[::1|localhost$/.test(new URL(url).hostname);
