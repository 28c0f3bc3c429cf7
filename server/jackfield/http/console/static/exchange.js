/** One message that was sent, and what came of it. */

import { Emitter } from "../jackfield/emitter.js";

/** @extends {Emitter<{ change: Exchange, chunk: any }>} */
export class Exchange extends Emitter {
  /** @type {"running" | "reply" | "error"} */
  state = "running";
  /** Milliseconds that it took. @type {number | null} */
  took = null;
  /** @type {any} */
  reply = null;
  /** @type {any} */
  error = null;
  chunks = 0;
  at = Date.now();
  #cancel = new AbortController();

  /**
   * Send it.
   * @param {any} client
   * @param {{ type: string, streams: boolean }} described
   * @param {Record<string, any>} payload
   */
  constructor(client, described, payload) {
    super();
    this.type = described.type;
    this.streams = described.streams;
    this.payload = payload;
    void this.#run(client);
  }

  cancel() {
    this.#cancel.abort();
  }

  /** What came of it, in a word. */
  get outcome() {
    return this.state === "error" ? this.error.code : this.state;
  }

  async #run(client) {
    const begun = performance.now();
    const options = { signal: this.#cancel.signal };
    try {
      if (this.streams) {
        const stream = client.stream(this.type, this.payload, options);
        stream.result.catch(() => {}); // the loop tells
        for await (const payload of stream) {
          this.chunks++;
          this.emit("chunk", { payload, seq: this.chunks - 1, at: Date.now() });
        }
        this.reply = await stream.result;
      } else this.reply = await client.request(this.type, this.payload, options);
      this.state = "reply";
    } catch (error) {
      this.error = error;
      this.state = "error";
    }
    this.took = performance.now() - begun;
    this.emit("change", this);
  }
}
