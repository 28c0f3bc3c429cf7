/** Where a server is. */

/**
 * The address of a server's socket.
 * @param {string | URL} url
 */
export function address(url) {
  const full = new URL(url, globalThis.location?.href);
  full.protocol = full.protocol.replace(/^http/, "ws");
  if (!/^wss?:$/.test(full.protocol)) throw new TypeError(`${url} is no address of a WebSocket`);
  if (full.pathname === "/") full.pathname = "/ws";
  full.hash = "";
  return full.href;
}
