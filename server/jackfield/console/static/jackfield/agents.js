/** A task of an agent, as its caller or anyone who watches sees it. */

import { defer } from "./deferred.js";
import { Emitter } from "./emitter.js";
import { JackfieldError, failure } from "./errors.js";
import { cancelled } from "./requests.js";

/** @typedef {import("./requests.js").Requests} Requests */
/** @typedef {import("./topics.js").Topics} Topics */

/**
 * @typedef {"submitted" | "working" | "input_required" | "auth_required"
 *   | "completed" | "failed" | "canceled" | "rejected"} TaskState
 */

/**
 * A task as the server tells it, as far as it has told.
 * @typedef {object} Task
 * @property {string} task its id
 * @property {TaskState} state
 * @property {string} [agent]
 * @property {string} [skill]
 * @property {any} [output] of one that is completed
 * @property {Record<string, any>} [error] of one that failed, was rejected or canceled
 * @property {{ message?: string, schema?: object, expires_at?: number }} [prompt] what an agent asks
 *   of a person
 */

/**
 * Whom to call: an agent, a skill that any agent may have, or both.
 * @typedef {{ agent?: string, skill?: string }} Target
 */

/**
 * @typedef {object} CallOptions
 * @property {number} [timeout] milliseconds that the agent has
 * @property {AbortSignal} [signal] cancels the task
 * @property {boolean} [detach] whether the task goes on without this connection
 * @property {string} [key] the same call with the same key is the same task
 * @property {string[]} [watchers] users who may attach to it
 */

/** What nobody makes twice. `crypto.randomUUID` is not there in a page that came by http. */
export const newKey = () => crypto.getRandomValues(new BigUint64Array(2)).join("-");

/** @extends {Emitter<{ state: Task }>} */
export class Run extends Emitter {
  /** @type {TaskState | null} */
  state = null;
  /** @type {ReturnType<typeof defer<string>>} */
  #named = defer();
  /** @type {ReturnType<typeof defer<any>>} */
  #finished = defer();
  /** Its id. */
  task = this.#named.promise;
  /** What it puts out in the end. */
  result = this.#finished.promise;

  #requests;
  #topics;
  #inbox;
  #signal;
  /** @type {Task | null} */
  #last = null;
  #due = 0;
  /** @type {import("./subscription.js").Subscription | null} */
  #events = null;

  /**
   * @param {Requests} requests
   * @param {Topics} topics
   * @param {AbortSignal} [signal]
   */
  constructor(requests, topics, signal) {
    super();
    this.#requests = requests;
    this.#topics = topics;
    ({ inbox: this.#inbox, signal: this.#signal } = requests.readable(signal));
  }

  /**
   * @internal
   * @param {Target} target
   * @param {Record<string, any>} input
   * @param {CallOptions} options
   */
  call(target, input, { timeout, detach, key = detach ? newKey() : undefined, watchers }) {
    const seconds = timeout === undefined ? undefined : timeout / 1000;
    const payload = { ...target, input, timeout: seconds, detach, watchers };
    const takers = detach
      ? { reply: (/** @type {Task} */ task) => this.attach(task.task) }
      : {
          chunk: (/** @type {import("./connection.js").Message} */ { state, payload }) =>
            state ? this.#tell(payload) : this.#inbox.put(payload),
          reply: (/** @type {Task} */ task) => this.#tell(task),
        };
    this.#requests
      .ask("agent.call", payload, { key, signal: this.#signal }, takers)
      .catch((error) => this.#fail(error));
    return this;
  }

  /**
   * @internal
   * @param {string} id
   */
  attach(id) {
    this.#named.resolve(id);
    this.#events = this.#topics.subscribe(`task:${id}`, {
      onEvent: ({ payload: { kind, task, chunks, seq, ...change } }) => {
        if (kind === "chunks") this.#put(chunks, seq);
        else this.#tell(kind === "task" ? task : { ...this.#last, ...change, task: id });
      },
      onGap: () => this.#fail(failure("unrecoverable", "A part of the task is no longer kept.", { task: id })),
    });
    this.#events.on("error", (error) => this.#fail(error));
    return this;
  }

  /**
   * Have the agent stop.
   * @param {string} [reason]
   * @returns {Promise<Task>}
   */
  async cancel(reason) {
    return this.#requests.ask("agent.cancel", { task: await this.task, reason });
  }

  /**
   * Give what the agent asked for with its `prompt`.
   * @param {Record<string, any>} input
   * @returns {Promise<Task>}
   */
  async answer(input) {
    return this.#requests.ask("agent.answer", { task: await this.task, input }, { key: newKey() });
  }

  /** Follow it no further. A task that was not detached is cancelled by that. */
  close() {
    void this.#inbox.return();
    this.#fail(cancelled());
  }

  [Symbol.asyncIterator]() {
    return this.#inbox;
  }

  /**
   * @param {any[]} chunks
   * @param {number} seq the number of the first
   */
  #put(chunks, seq) {
    // Another attempt of the agent's may begin with what an earlier one has sent.
    for (const chunk of chunks.slice(Math.max(0, this.#due - seq))) {
      this.#inbox.put(chunk);
      this.#due++;
    }
  }

  /** @param {Task} task */
  #tell(task) {
    const { state, error } = (this.#last = { ...this.#last, ...task });
    this.#named.resolve(task.task);
    this.state = state;
    this.emit("state", this.#last);
    if (state === "completed") {
      this.#events?.close();
      this.#inbox.end();
      this.#finished.resolve(this.#last.output);
    } else if (error) this.#fail(new JackfieldError({ code: state, ...error, task: task.task, state }), true);
  }

  /**
   * @param {JackfieldError} error
   * @param {boolean} [told] whether its state is
   */
  #fail(error, told) {
    this.#events?.close();
    this.#inbox.end(error);
    this.#named.reject(error);
    this.#finished.reject(error);
    const { task, state = error.code === "cancelled" ? "canceled" : "failed" } = error.extra;
    if (!told && task && state !== this.state) {
      this.state = state;
      this.emit("state", { ...this.#last, task, state, error: { code: error.code, message: error.message } });
    }
  }
}
