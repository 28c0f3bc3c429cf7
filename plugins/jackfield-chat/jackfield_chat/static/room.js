/** A room as this page knows it: what was said, who is here, and what is on its way there. */

import { Emitter } from "../jackfield/emitter.js";

// Messages of one look into the past: more than a screen has.
const PAGE = 50;
// Messages that are kept; who scrolls back past them loads them again.
const KEPT = 1000;

/**
 * What stands in the room's log: a message, or where some are missing, or who has come and gone.
 * @typedef {object} Entry
 * @property {"message" | "gap" | "note"} entry
 * @property {string} [epoch]
 * @property {number} [offset]
 * @property {string} [nick]
 * @property {string} text
 * @property {string} at when, as in ISO 8601
 * @property {"question" | "answer"} [kind]
 */

/**
 * What was written here and is not in the log yet.
 * @typedef {object} Unsent
 * @property {string} key the same each time it is sent: it arrives once
 * @property {string} text
 * @property {boolean} asks whether the agent is asked
 * @property {"sending" | "failed" | "cancelled"} state
 * @property {any} [error]
 * @property {any} [position] where it stands in the room, once that is known: the question's, if it is one
 * @property {any} [answered] where the answer stands
 * @property {string} words what the agent has said so far
 * @property {AbortController} abort
 */

/** @extends {Emitter<{ message: Entry, reset: null, earlier: number, trimmed: number, members: null, unsent: Unsent, ended: any }>} */
export class Room extends Emitter {
  /** @type {Entry[]} */
  log = [];
  /** @type {any[]} */
  members = [];
  /** How many people are here: more than are listed, where they are very many. */
  count = 0;
  /** @type {Map<string, Unsent>} */
  unsent = new Map();
  hasEarlier = false;
  /** Messages since somebody looked. */
  unread = 0;
  #client;
  #topic;
  /** @type {any} */
  #subscription;
  #loading = false;

  /**
   * @param {any} client
   * @param {string} name
   */
  constructor(client, name) {
    super();
    this.name = name;
    this.#client = client;
    this.#topic = `room:${name}`;
    this.join();
    this.#subscription.ready.then(
      (/** @type {any} */ { offset }) => this.#read({ before: offset + 1 }),
      () => {}, // `ended` tells
    );
  }

  /** Come in; again, as others see the name that one had then. */
  join() {
    const { position } = this.#subscription ?? {};
    this.#subscription?.close();
    const subscription = this.#client.subscribe(this.#topic, {
      since: position ?? undefined,
      onEvent: (/** @type {any} */ event) => this.#hear(event),
      onGap: (/** @type {any} */ gap) => void this.#mend(gap),
      onPresence: (/** @type {any} */ change) => this.#watch(change),
    });
    subscription.on("error", () => {}); // it is tried again, or ends
    subscription.on("close", (/** @type {any} */ error) => error && this.emit("ended", error));
    this.#subscription = subscription;
  }

  leave() {
    this.#subscription.close();
    for (const item of this.unsent.values()) item.abort.abort();
  }

  /** Load what was said before all that is known. */
  earlier() {
    const first = this.#first();
    return first && this.hasEarlier ? this.#read({ before: first.offset }) : Promise.resolve();
  }

  #first() {
    return this.log.find(({ entry }) => entry === "message");
  }

  /** @param {{ before?: number }} part */
  async #read(part) {
    if (this.#loading) return;
    this.#loading = true;
    try {
      const { epoch, events } = await this.#client.history(this.#topic, { ...part, limit: PAGE });
      const first = this.#first();
      const known = first?.epoch === epoch ? first?.offset : undefined;
      // Of another life of the room there is nothing to put before this one.
      const older = first && known === undefined ? [] : events.filter((/** @type {any} */ event) => !known || event.offset < known);
      this.log.unshift(...older.map((/** @type {any} */ event) => message({ ...event, epoch })));
      this.hasEarlier = older.length === PAGE && older[0].offset > 1;
      this.emit("earlier", older.length);
    } catch (error) {
      if (this.#client.state !== "closed") this.emit("earlier", 0); // who scrolls on asks again
    } finally {
      this.#loading = false;
    }
  }

  /** @param {any} event */
  #hear(event) {
    const entry = message(event);
    this.log.push(entry);
    this.unread++;
    this.emit("message", entry);
    for (const item of this.unsent.values()) this.#settle(item);
    if (this.log.length > KEPT) {
      const much = this.log.length - KEPT;
      this.log.splice(0, much);
      this.hasEarlier = true;
      this.emit("trimmed", much);
    }
  }

  /**
   * Messages are missing: say so where that is, and read what the server still has of them.
   * @param {{ position: any, from: any }} gap
   */
  async #mend({ position, from }) {
    const again = position.epoch !== from?.epoch;
    /** @type {Entry} */
    const mark = {
      entry: "gap",
      text: again ? "The room has begun anew here." : "Some messages are missing here.",
      at: this.log.at(-1)?.at ?? new Date().toISOString(),
    };
    this.log.push(mark);
    for (const item of this.unsent.values()) this.#settle(item);
    this.emit("reset", null);
    try {
      const { epoch, events } = await this.#client.history(this.#topic, { before: position.offset + 1 });
      if (epoch !== position.epoch) return; // the next gap tells
      const missed = events.filter((/** @type {any} */ event) => again || event.offset > from.offset);
      const place = this.log.indexOf(mark);
      if (place < 0) return;
      const whole = !again && missed[0]?.offset === from.offset + 1;
      this.log.splice(place + (whole ? 0 : 1), whole ? 1 : 0, ...missed.map((/** @type {any} */ event) => message({ ...event, epoch })));
      this.emit("reset", null);
    } catch {
      // The mark stands.
    }
  }

  /** @param {any} change */
  #watch({ joined, left, members, count }) {
    this.members = members;
    this.count = count;
    const who = joined ?? left;
    if (who && !this.isMe(who)) {
      /** @type {Entry} */
      const note = { entry: "note", text: `${nameOf(who)} ${joined ? "joined" : "left"}`, at: new Date().toISOString() };
      this.log.push(note);
      this.emit("message", note);
    }
    this.emit("members", null);
  }

  /** @param {any} member */
  isMe({ user, connection }) {
    const { welcome } = this.#client;
    return welcome !== null && (connection ? connection === welcome.connection : user === welcome.user);
  }

  /**
   * Say something, or ask the agent; with the connection away, once it is back.
   * @param {string} text
   * @param {boolean} asks
   */
  write(text, asks) {
    /** @type {Unsent} */
    const item = { key: newKey(), text, asks, state: "sending", words: "", abort: new AbortController() };
    this.unsent.set(item.key, item);
    void this.send(item);
  }

  /**
   * Send what was written: the first time, or again.
   * @param {Unsent} item
   */
  async send(item) {
    Object.assign(item, { state: "sending", error: undefined, words: "", abort: new AbortController() });
    this.emit("unsent", item);
    const payload = { room: this.name, text: item.text, key: item.key };
    const { signal } = item.abort;
    try {
      if (item.asks) await this.#ask(item, payload, signal);
      else item.position = await this.#client.request("chat.send", payload, { signal });
      this.#settle(item);
    } catch (error) {
      if (signal.aborted && !item.position) return this.discard(item);
      item.state = signal.aborted ? "cancelled" : "failed";
      item.error = error;
      this.emit("unsent", item);
    }
  }

  /**
   * @param {Unsent} item
   * @param {any} payload
   * @param {AbortSignal} signal
   */
  async #ask(item, payload, signal) {
    for await (const { question, text, answer } of this.#client.stream("chat.ask", payload, { signal })) {
      if (question) item.position = question;
      if (text) item.words += text;
      if (answer) item.answered = answer;
      this.emit("unsent", item);
    }
  }

  /** @param {Unsent} item */
  discard(item) {
    if (this.unsent.delete(item.key)) this.emit("unsent", item);
  }

  /**
   * What is in the log need not stand below it as well.
   * @param {Unsent} item
   */
  #settle(item) {
    if (this.isKnown(item.asks ? item.answered : item.position)) this.discard(item);
    else this.emit("unsent", item);
  }

  /**
   * Whether what stands at a position is in the log.
   * @param {any} position
   */
  isKnown(position) {
    const known = this.#subscription.position;
    return Boolean(position && known && position.epoch === known.epoch && position.offset <= known.offset);
  }
}

/**
 * @param {any} event
 * @returns {Entry}
 */
const message = ({ epoch, offset, payload }) => ({ entry: "message", epoch, offset, ...payload });

/**
 * What somebody is called.
 * @param {any} member
 */
export const nameOf = ({ info, user }) => info?.nick ?? user ?? "somebody";

/** A UUID (RFC 9562, version 4). `crypto.randomUUID` is only where the page came by TLS, or from here. */
function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const digits = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return digits.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}
