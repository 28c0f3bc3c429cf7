/** A topic as one reader follows it: in order, nothing twice, over as many connections as it takes. */

import { backoff } from "./backoff.js";
import { defer } from "./deferred.js";
import { Emitter } from "./emitter.js";
import { JackfieldError } from "./errors.js";
import { Inbox } from "./inbox.js";
import { cancelled } from "./requests.js";

/** @typedef {import("./connection.js").Message} Message */
/** @typedef {import("./topics.js").Topics} Topics */

/**
 * Where one is in a topic.
 * @typedef {object} Position
 * @property {string} epoch which life of the topic is counted
 * @property {number} offset how many events it has had
 */

/**
 * @template [Payload=any]
 * @typedef {object} TopicEvent
 * @property {string} topic
 * @property {string | null} epoch null where nothing subscribes to the topic
 * @property {number} offset one more than that of the event before it
 * @property {string} id epoch and offset in one, for lists
 * @property {Payload} payload
 */

/**
 * Events are missing, and the server can't tell which.
 * @typedef {object} Gap
 * @property {string} topic
 * @property {Position} position what the next event follows on
 * @property {Position | null} from what the last event before it was
 */

/**
 * @typedef {object} Member
 * @property {string | null} user
 * @property {string} [connection] only of an anonymous one
 * @property {any} [info] what the plugin says of it
 * @property {number} [connections]
 */

/**
 * Who has come or gone, and all who are there now.
 * @typedef {object} PresenceChange
 * @property {Member} [joined]
 * @property {Member} [left]
 * @property {Member[]} members
 * @property {number} count how many there are: more than are listed, where they are very many
 */

/**
 * @template [Payload=any]
 * @typedef {object} SubscribeOptions
 * @property {Position} [since] where an earlier subscription, or an event, stood
 * @property {(event: TopicEvent<Payload>) => void} [onEvent]
 * @property {(change: PresenceChange) => void} [onPresence]
 * @property {(gap: Gap) => void} [onGap]
 */

/**
 * What a subscription tells.
 * @template [Payload=any]
 * @typedef {object} News
 * @property {Position} ready all that was missed is told: at first, and after each lost connection
 * @property {TopicEvent<Payload>} event
 * @property {PresenceChange} presence
 * @property {Gap} gap
 * @property {JackfieldError} error
 * @property {JackfieldError | null} close it has ended, and why if nobody here has ended it
 */

/**
 * @template [Payload=any]
 * @extends {Emitter<News<Payload>>}
 */
export class Subscription extends Emitter {
  /** @type {Position | null} That of the last event, or gap, that was told. */
  position = null;
  /** @type {Member[]} Who is there; known once somebody listens for presence. */
  members = [];
  /** How many are there. */
  count = 0;
  /** @type {ReturnType<typeof defer<Position>>} */
  #begun = defer();
  #topics;
  /** @type {Inbox<TopicEvent<Payload>>} */
  #inbox;
  /** @internal Whether all that was missed is told. */
  joined = false;
  /** @type {object | null} The attempt that counts: those before it have been overtaken. */
  #attempt = null;
  /** @type {any} */
  #timer;
  #watchesMembers = false;
  #closed = false;
  /** @type {Message[] | null} What came while the list of members was asked for. */
  #changes = null;

  /**
   * @param {Topics} topics
   * @param {string} topic
   * @param {SubscribeOptions<Payload>} options
   */
  constructor(topics, topic, { since, onEvent, onPresence, onGap }) {
    super();
    this.topic = topic;
    this.#topics = topics;
    this.#inbox = new Inbox(topics.buffer, () => this.#renew());
    if (since) this.position = { ...since };
    if (onEvent) this.on("event", onEvent);
    if (onPresence) this.on("presence", onPresence);
    if (onGap) this.on("gap", onGap);
  }

  /** Fulfilled once all that was missed since `since` is told. */
  get ready() {
    return this.#begun.promise;
  }

  /** @type {Emitter<News<Payload>>["on"]} */
  on(name, listener, once) {
    if (name === "presence" && !this.#watchesMembers) {
      this.#watchesMembers = true;
      if (this.joined) this.#list();
    }
    return super.on(name, listener, once);
  }

  /** @returns {AsyncIterableIterator<TopicEvent<Payload>>} */
  [Symbol.asyncIterator]() {
    this.#inbox.read = true;
    return this.#inbox;
  }

  /** Leave the topic. What was told stays told; iterations end. */
  close() {
    this.end();
  }

  /**
   * @internal
   * @param {JackfieldError} [error] why, if it was not meant to end
   */
  end(error) {
    if (this.#closed) return;
    this.#closed = true;
    const told = this.#inbox.read || this.#begun.asked;
    this.lost();
    this.#topics.leave(this);
    this.#inbox.end(error);
    this.#begun.reject(error ?? cancelled());
    if (error) this.fail(error, `${this.topic}: `, told);
    this.emit("close", error ?? null);
  }

  /** @internal */
  lost() {
    this.joined = false;
    this.#attempt = this.#changes = null;
    clearTimeout(this.#timer);
  }

  /**
   * Subscribe on this connection.
   * @internal
   */
  join(failures = 0) {
    this.lost();
    const attempt = (this.#attempt = {});
    this.#catchUp(attempt).catch((/** @type {any} */ error) => {
      if (attempt !== this.#attempt) return; // of a lost connection, too
      // With too many topics it helps to leave one, and no waiting does.
      if (!error.retryable || error.extra.limit) return this.end(error);
      this.#retry(error, failures, () => this.join(failures + 1));
    });
  }

  /** @param {object} attempt */
  async #catchUp(attempt) {
    const { topic } = this;
    while (attempt === this.#attempt && !this.joined) {
      /** @type {any} */
      const standing = await this.#topics.requests.ask(
        "topic.subscribe",
        { topic, since: this.position ?? undefined },
        { retry: false },
        { reply: (reply) => attempt === this.#attempt && this.#subscribed(reply) },
      );
      if (this.joined || attempt !== this.#attempt) continue;
      // It is more than fits one reply, or gone: read on, then see whether the rest fits.
      try {
        const after = /** @type {Position} */ (this.position).offset;
        const page = await this.#topics.requests.ask("topic.history", { topic, after });
        if (attempt !== this.#attempt) return;
        if (page.epoch !== this.position?.epoch || !this.#tellAll(page.events)) this.#gap(standing);
      } catch (error) {
        const { retryable } = /** @type {JackfieldError} */ (error);
        if (attempt !== this.#attempt || retryable) throw error;
        this.#gap(standing);
      }
    }
  }

  /** @param {any} reply to `topic.subscribe` */
  #subscribed(reply) {
    const { epoch, offset, recovered, events = [] } = reply;
    // Some topics answer with all they have, though not asked for what came since.
    this.position ??= { epoch, offset: recovered === undefined ? offset : 0 };
    if (epoch !== this.position.epoch) this.#gap({ epoch, offset });
    else if (recovered === false || (this.position.offset < offset && !this.#tellAll(events))) return;
    this.joined = true;
    this.#begun.resolve(this.position);
    this.#begun.asked = false; // it tells of no later failure
    if (this.#watchesMembers) this.#list();
    this.emit("ready", this.position);
  }

  /**
   * Tell events that follow on what was told before, and no others.
   * @param {Message[]} events
   * @returns {boolean} whether there was any
   */
  #tellAll(events) {
    const before = this.position?.offset;
    for (const event of events) if (event.offset === (this.position?.offset ?? 0) + 1) this.#tell(event);
    return this.position?.offset !== before;
  }

  /** @param {Message} message */
  #tell(message) {
    const { epoch } = /** @type {Position} */ (this.position);
    this.position = { epoch, offset: message.offset };
    const event = identified({ ...message, topic: this.topic }, epoch);
    if (this.#inbox.read || !this.heard("event")) this.#inbox.put(event);
    this.emit("event", event);
    if (this.#topics.isFirst(this)) this.#topics.tell(event);
  }

  /** @param {Position} position */
  #gap({ epoch, offset }) {
    const from = this.position;
    const position = (this.position = { epoch, offset });
    this.emit("gap", { topic: this.topic, position, from });
  }

  /**
   * News of the topic.
   * @internal
   * @param {Message} message
   */
  take(message) {
    const { type, error, offset } = message;
    if (type === "error" && error.code !== "unrecoverable") this.end(new JackfieldError(error));
    else if (!this.joined) return; // it is in what is on its way
    else if (type === "presence") this.#present(message);
    else if (type === "error") this.#gap(error);
    else if (offset === /** @type {Position} */ (this.position).offset + 1) this.#tell(message);
    else if (offset > /** @type {Position} */ (this.position).offset) this.join();
  }

  /** Ask who is there, and apply what comes in the meantime once more. */
  #list(failures = 0) {
    const { topic } = this;
    /** @type {Message[]} */
    const changes = (this.#changes = []);
    const reply = (/** @type {any} */ { members, count }) => {
      if (changes !== this.#changes) return;
      this.#changes = null;
      this.#present({ type: "presence", members, count });
      for (const change of changes) this.#present(change);
    };
    this.#topics.requests.ask("topic.presence", { topic }, { retry: false }, { reply }).catch((error) => {
      if (changes !== this.#changes) return;
      this.#changes = null;
      this.#retry(error, failures, () => this.#list(failures + 1));
    });
  }

  /**
   * Tell an error once, and try again where that may help.
   * @param {any} error
   * @param {number} failures how many there were before
   * @param {() => void} task
   */
  #retry(error, failures, task) {
    if (error.retryable) this.#timer = setTimeout(task, Math.max(error.retryAfter, backoff(failures)));
    if (!failures) this.fail(error, `${this.topic}: `);
  }

  /** @param {Message} message */
  #present(message) {
    this.#changes?.push(message);
    const { joined, left, members, count } = message;
    const others = this.members.filter((member) => identity(member) !== identity(joined ?? left));
    // Where they are very many, who leaves may be one of those that are not listed.
    const gone = left || others.length < this.members.length ? 1 : 0;
    this.members = members ?? (joined ? [...others, joined] : others);
    this.count = Math.max(count ?? this.count + (joined ? 1 : 0) - gone, this.members.length);
    this.emit("presence", { joined, left, members: this.members, count: this.count });
  }

  /** An iteration was left: what comes from now on waits for the next. */
  #renew() {
    this.#inbox = new Inbox(this.#topics.buffer, () => this.#renew());
    if (this.#closed) this.#inbox.end();
  }
}

/**
 * An event as it is told.
 * @param {Record<string, any>} message
 * @param {string | null} epoch
 * @returns {TopicEvent<any>}
 */
export const identified = ({ topic, offset, payload }, epoch) => {
  const id = `${epoch ?? ""}:${offset}`;
  return { topic, epoch, offset, id, payload };
};

/** @param {Member | undefined} member */
const identity = (member) => member && (member.connection ?? `user:${member.user}`);
