/** Messages as they are seen: in the log, and on their way there. */

import { button, h, put, say } from "./dom.js";

/** @typedef {import("./room.js").Entry} Entry */
/** @typedef {import("./room.js").Unsent} Unsent */

// Milliseconds: what somebody adds within them stands under one name.
const TOGETHER = 300_000;
// Colours that names have; the style sheet has as many.
const COLOURS = 6;

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
const day = new Intl.DateTimeFormat(undefined, { dateStyle: "full" });

/**
 * An entry of the log, after the one before it.
 * @param {Entry} entry
 * @param {Entry | undefined} before
 * @returns {HTMLElement[]}
 */
export function drawEntry(entry, before) {
  const at = new Date(entry.at);
  const isNewDay = !before || new Date(before.at).toDateString() !== at.toDateString();
  return [...(isNewDay ? [h("p", { class: "day" }, h("span", {}, day.format(at)))] : []), drawOne(entry, before, at)];
}

/**
 * @param {Entry} entry
 * @param {Entry | undefined} before
 * @param {Date} at
 * @returns {HTMLElement}
 */
function drawOne(entry, before, at) {
  const { nick = "", text, kind } = entry;
  if (entry.entry !== "message") return h("p", { class: entry.entry }, text);
  const shown = drawMessage(nick, text, kind, h("time", { datetime: entry.at }, clock.format(at)));
  const isSame = before?.entry === "message" && before.nick === nick && before.kind === kind && kind !== "answer";
  shown.classList.toggle("more", isSame && at.getTime() - Date.parse(before.at) < TOGETHER);
  return shown;
}

/**
 * @param {string} nick
 * @param {string} text
 * @param {string | undefined} kind
 * @param {HTMLElement | string} aside
 * @returns {HTMLElement}
 */
function drawMessage(nick, text, kind, aside) {
  return h(
    "article",
    { class: `message ${kind ?? ""}`, "aria-label": `${kind === "answer" ? "The agent" : nick}: ${text.slice(0, 80)}` },
    h("span", { class: `face c${kind === "answer" ? "agent" : colour(nick)}`, "aria-hidden": "true" }, initial(nick)),
    h("p", { class: "head" }, h("strong", {}, nick), aside),
    h("p", { class: "text" }, kind === "question" && h("span", { class: "to" }, "@agent "), text),
  );
}

/** What is on its way, with what one can do about it. */
export class UnsentView {
  #room;
  #item;
  #nick;
  #edit;
  #drawn = "";
  #isKnown = false; // and stays so, also where the room begins anew
  #words = h("p", { class: "text" });
  #told = h("p", { class: "told" });
  #actions = h("p", { class: "actions" });
  element = h("div", { class: "unsent" });

  /**
   * @param {import("./room.js").Room} room
   * @param {Unsent} item
   * @param {string} nick
   * @param {() => void} edit called when it is to be written differently
   */
  constructor(room, item, nick, edit) {
    this.#room = room;
    this.#item = item;
    this.#nick = nick;
    this.#edit = edit;
  }

  /** @param {boolean} connected */
  draw(connected) {
    const { text, asks, words, position, state } = this.#item;
    this.#isKnown ||= this.#room.isKnown(position);
    const answers = asks && (position || words);
    const drawn = [this.#isKnown, Boolean(answers), state].join();
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      this.#act();
      put(
        this.element,
        !this.#isKnown && drawMessage(this.#nick, text, asks ? "question" : undefined, ""),
        answers && this.#answer(),
        h("div", { class: "outcome" }, this.#told, this.#actions),
      );
    }
    say(this.#words, words);
    this.#words.parentElement?.classList.toggle("writing", state === "sending");
    say(this.#told, this.#tell(connected));
    this.#told.classList.toggle("fault", state === "failed");
  }

  #answer() {
    const shown = drawMessage("agent", "", "answer", "");
    shown.setAttribute("aria-label", "The agent's answer to you");
    shown.lastElementChild?.replaceWith(this.#words);
    return shown;
  }

  /** @param {boolean} connected */
  #tell(connected) {
    const { asks, error, position, words, state } = this.#item;
    if (state === "cancelled") return "You have cancelled the answer. Others see the question only.";
    if (state === "failed") return `${asks && position ? "No whole answer" : "Not sent"}: ${reason(error)}`;
    if (asks && position) return words ? "" : "The agent reads …";
    return connected ? "Sending …" : "Waits for the connection.";
  }

  #act() {
    const { asks, error, state } = this.#item;
    // What was refused for what stands in it is refused again.
    const again = error?.fields?.length
      ? button("Edit", this.#edit, { class: "small" })
      : button(asks ? "Ask again" : "Send again", () => void this.#room.send(this.#item), { class: "small" });
    const discard = button("Discard", () => this.#room.discard(this.#item), { class: "small quiet" });
    const cancel = button(asks ? "Cancel answer" : "Don't send", () => this.#item.abort.abort(), { class: "small" });
    put(this.#actions, ...(state === "sending" ? [cancel] : [again, discard]));
  }
}

/**
 * An error in words.
 * @param {any} error
 */
export const reason = ({ message, fields }) => fields?.map((/** @type {any} */ field) => field.message).join(" ") || message;

/**
 * @param {string} nick
 * @returns {string}
 */
export const initial = (nick) => [...nick.trim()][0]?.toUpperCase() ?? "?";

/** @param {string} nick */
export const colour = (nick) => [...nick].reduce((sum, letter) => (31 * sum + (letter.codePointAt(0) ?? 0)) % 997, 0) % COLOURS;
