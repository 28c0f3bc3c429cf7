/** Real servers, by whoever runs these tests: they are asked for over HTTP. */

import net from "node:net";

import { client } from "./scripted.js";

const control = process.env.JACKFIELD_CONTROL;

/** Options of tests that need a server. */
export const real = {
  timeout: 60_000,
  skip: control ? false : "JACKFIELD_CONTROL is not set: `make test` runs these",
};

async function ask(path, body = {}) {
  const response = await fetch(control + path, { method: "POST", body: JSON.stringify(body) });
  if (!response.ok) throw new Error(`${path}: ${await response.text()}`);
  return response.json();
}

/** Start a server. What it keeps in Redis, the next one with the same prefix has, too. */
export async function serve(config = {}) {
  const { id, url } = await ask("/serve", config);
  return { url, kill: () => ask("/kill", { id }), terminate: () => ask("/terminate", { id }) };
}

/** A prefix of Redis that nobody else has. */
export const fresh = () => ({ redis: { prefix: `test-${crypto.randomUUID()}` } });

/** A token by the key that servers with `signed` know. */
export const token = async (claims = {}) => (await ask("/token", claims)).token;

/** What makes a server take the tokens above, and let nobody in without. */
export const signed = async (more = {}) => ({ auth: { anonymous: false, ...(await ask("/signed")), ...more } });

/** An address that leads to whichever server is up, by a line that can be cut. */
export class Line {
  #sockets = new Set();
  #server = net.createServer((near) => {
    const { hostname, port } = new URL(this.#target);
    const far = net.connect(Number(port), hostname);
    for (const [one, other] of [[near, far], [far, near]]) {
      this.#sockets.add(one);
      one.on("close", () => {
        this.#sockets.delete(one);
        other.destroy();
      });
      one.on("error", () => {});
      one.on("data", (data) => other.write(data));
      // Once it is closed the rest is sent before the end, as between two machines.
      one.on("end", () => other.end());
    }
  });
  #target;

  static async to(t, { url }) {
    const line = new Line();
    line.#target = url;
    await new Promise((resolve) => line.#server.listen(0, "127.0.0.1", resolve));
    t.after(() => {
      line.cut();
      line.#server.close();
    });
    return line;
  }

  get url() {
    return `ws://127.0.0.1:${this.#server.address().port}/ws`;
  }

  lead({ url }) {
    this.#target = url;
  }

  cut() {
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** A client of a server of its own. */
export async function session(t, config = {}, options = {}) {
  const server = await serve({ ...fresh(), ...config });
  const connected = client(t, server.url, options);
  await connected.ready;
  return { server, connected };
}

/** Asks until the answer is what a test waits for. */
export async function eventually(question, expected) {
  for (;;) {
    const answer = await question();
    if (answer === expected) return;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
