/** The client of Jackfield: requests, streams, topics and agents over one WebSocket. */

import { Client } from "./client.js";

export { Client };
export { JackfieldError } from "./errors.js";
export * from "./registry.js";

/**
 * Connect to a server, and stay connected until `close`.
 * @param {string | URL} url the address of the socket: ws, wss, http or https, or relative to the
 *   page's own; without a path it is `/ws`
 * @param {import("./client.js").Options} [options]
 * @returns {Client}
 * @throws {TypeError} the address is none, or there is no WebSocket here
 */
export const connect = (url, options = {}) => new Client(url, options);
