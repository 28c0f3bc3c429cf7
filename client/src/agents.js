/** A task of an agent, as its caller or anyone who watches sees it. */

import { defer } from "./deferred.js";
import { Emitter } from "./emitter.js";
import { JackfieldError, complain, failure } from "./errors.js";
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
export const newKey = () =>
  (globalThis.crypto?.getRandomValues(new BigUint64Array(2)) ?? [Math.random(), Math.random()]).join("-");

const WAITS = /_required$/;
// Ends of a call that end its task as well, where it is bound to the connection.
const LEFT = /^(cancelled$|connection_)/;

/** @extends {Emitter<{ state: Task }>} */
export class Run extends Emitter {
  /** @type {TaskState | null} null where it is not known: there is no task yet, or it goes on unfollowed */
  state = null;
  /** @type {import("./deferred.js").Deferred<string>} */
  #named = defer();
  /** @type {import("./deferred.js").Deferred<any>} */
  #finished = defer();

  #requests;
  #topics;
  #inbox;
  #leaving;
  #signal;
  /** @type {Task | null} */
  #last = null;
  /** Whether it was sent: before that it can be taken back. */
  #sent = false;
  /** Whether the task ends with the connection, as far as this knows. */
  #bound = false;
  /** Whether what is asked of a person is not told yet. */
  #held = false;
  #done = false;
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
    this.#signal = signal;
    ({ inbox: this.#inbox, leaving: this.#leaving } = requests.readable());
  }

  /** Its id. */
  get task() {
    return this.#named.promise;
  }

  /** What it puts out in the end. */
  get result() {
    return this.#finished.promise;
  }

  /**
   * @internal
   * @param {Target} target
   * @param {Record<string, any>} input
   * @param {CallOptions} options
   */
  call(target, input, { timeout, detach, key = detach ? newKey() : undefined, watchers }) {
    const payload = { ...target, input, timeout: timeout && timeout / 1000, detach, watchers };
    this.#bound = key === undefined;
    const takers = detach
      ? { reply: (/** @type {Task} */ task) => this.attach(task.task) }
      : {
          chunk: (/** @type {import("./connection.js").Message} */ { state, payload }) =>
            state ? this.#tell(payload) : this.#inbox.put(payload),
          reply: (/** @type {Task} */ task) => this.#tell(task),
        };
    const sent = () => (this.#sent = true);
    const options = { key, signal: this.#signal, timeout: null };
    this.#requests
      .ask("agent.call", payload, options, { ...takers, leaving: this.#leaving, sent })
      .catch((error) => this.#fail(error));
    return this;
  }

  /**
   * @internal
   * @param {string} id
   */
  attach(id) {
    this.#sent = true;
    this.#named.resolve(id);
    const events = (this.#events = this.#topics.subscribe(`task:${id}`, {
      onEvent: ({ payload: { kind, task, chunks, seq, ...change } }) => {
        if (kind === "chunks") this.#put(chunks, seq);
        else this.#tell(kind === "task" ? task : { ...change, task: id });
      },
      onGap: () => this.#fail(failure("unrecoverable", "A part is no longer kept.", { task: id })),
    }));
    events.on("ready", () => this.#held && this.emit("state", /** @type {Task} */ (this.#last)));
    events.on("error", () => {}); // it is tried again, or closed
    events.on("close", (error) => this.#fail(error ?? cancelled()));
    // Of a call whose reply has come nobody else heeds the signal.
    this.#signal?.addEventListener("abort", this.#abort);
    return this;
  }

  #abort = () => {
    this.#bound = true;
    this.cancel().catch(() => {});
    this.#fail(cancelled(this.#signal?.reason));
  };

  /**
   * Have the agent stop. A call that was not sent yet is not sent any more.
   * @param {string} [reason]
   * @returns {Promise<Task>} the task; its id is empty where there is none
   */
  cancel(reason) {
    if (!this.#sent) this.close();
    return this.task.then(
      (task) => this.#requests.ask("agent.cancel", { task, reason }),
      () => ({ task: "", state: "canceled" }), // there is none
    );
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
    const last = (this.#last = { ...this.#last, ...task });
    const { state, error } = last;
    const waits = WAITS.test(state);
    if (!waits) delete last.prompt;
    this.#named.resolve(task.task);
    this.state = state;
    // What was asked while this looked away may be answered: it is told if it still stands in the end.
    this.#held = waits && this.#events?.joined === false;
    if (!this.#held) this.emit("state", last);
    if (state === "completed") {
      this.#end();
      this.#inbox.end();
      this.#finished.resolve(last.output);
    } else if (error) this.#fail(new JackfieldError({ code: state, ...error, task: task.task, state }), true);
  }

  /** Nothing more comes. */
  #end() {
    this.#done = true;
    this.#signal?.removeEventListener("abort", this.#abort);
    this.#events?.close();
  }

  /**
   * @param {JackfieldError} error
   * @param {boolean} [told] whether its state is
   */
  #fail(error, told) {
    if (this.#done) return;
    const unheard = !this.#inbox.read && !this.#named.asked && !this.#finished.asked && !this.heard("state");
    this.#end();
    this.#inbox.end(error);
    this.#named.reject(error);
    this.#finished.reject(error);
    if (unheard) complain(error, "agent.call: ");
    const { code, message, extra } = error;
    const left = this.#bound ? "canceled" : null;
    const { task = this.#last?.task, state = LEFT.test(code) ? left : "failed" } = extra;
    if (told || !task || state === this.state) return;
    this.state = state;
    if (state) this.emit("state", { ...this.#last, task, state, error: { code, message } });
  }
}
