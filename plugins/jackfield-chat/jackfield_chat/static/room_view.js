/** A room as it is seen: its log, who is here, and the line to write in. */

import { button, h, put, say, set } from "./dom.js";
import { UnsentView, colour, drawEntry, initial } from "./message_view.js";
import { nameOf } from "./room.js";

// Pixels from the end of the log, or from its beginning, that count as there.
const NEAR = 64;
// People that are listed; of more, only how many.
const LISTED = 100;
const TO_AGENT = /^@agent\s+/i;

export class RoomView {
  #room;
  #nick;
  #connected;
  #log = h("div", { role: "log", "aria-label": "Messages" });
  #earlier = button("Load earlier messages", () => void this.#room.earlier(), { class: "small quiet earlier" });
  #empty = h("p", { class: "empty" }, "Nobody has said anything here. Say hello, or ask the agent.");
  #below = h("div", { class: "below" });
  #newer = button("New messages", () => this.#toEnd(), { class: "small main newer", hidden: true });
  #scroller;
  #text;
  #people = h("ul", { "aria-label": "People" });
  #count = h("p", { class: "soft", role: "status" });
  /** @type {Map<string, UnsentView>} */
  #unsent = new Map();

  /**
   * @param {import("./room.js").Room} room
   * @param {{ nick: () => string, connected: () => boolean, open: (what: string) => void }} page
   */
  constructor(room, { nick, connected, open }) {
    this.#room = room;
    this.#nick = nick;
    this.#connected = connected;
    const { name } = room;
    this.#scroller = h(
      "div",
      { class: "scroller", tabindex: 0, role: "region", "aria-label": `Conversation in ${name}`, scroll: () => this.#scrolled() },
      this.#earlier,
      this.#empty,
      this.#log,
      this.#below,
    );
    this.#text = h("textarea", {
      id: `text-${name}`,
      rows: 1,
      placeholder: "Write a message",
      "aria-describedby": `hint-${name}`,
      keydown: (/** @type {KeyboardEvent} */ event) => {
        // Enter also ends what an input method composes.
        if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
        event.preventDefault();
        this.#write(false);
      },
    });
    const submit = (/** @type {Event} */ event) => {
      event.preventDefault();
      this.#write(false);
    };
    this.element = h(
      "section",
      { class: "room", "aria-label": `Room ${name}` },
      h(
        "div",
        { class: "title" },
        button("Rooms", () => open("rooms"), { class: "small narrow", "aria-expanded": "false", "data-opens": "rooms" }),
        h("h1", {}, `#${name}`),
        button("People", () => open("people"), { class: "small narrow", "aria-expanded": "false", "data-opens": "people" }),
      ),
      h("div", { class: "talk" }, this.#scroller, this.#newer),
      h(
        "form",
        { class: "write", "aria-label": `Write to ${name}`, submit },
        h("label", { for: `text-${name}`, class: "unseen" }, "Message"),
        this.#text,
        h("p", { class: "hint", id: `hint-${name}` }, "Enter sends, Shift+Enter begins a line, @agent asks the agent."),
        button("Ask the agent", () => this.#write(true)),
        h("button", { type: "submit", class: "main" }, "Send"),
      ),
    );
    this.people = h("section", { "aria-label": `People in ${name}` }, h("h2", {}, "Here now"), this.#count, this.#people);
    room.on("message", () => this.#added());
    room.on("reset", () => this.#redraw());
    room.on("earlier", () => this.#prepended());
    room.on("trimmed", () => this.#redraw());
    room.on("members", () => this.#drawPeople());
    room.on("unsent", () => this.draw());
    this.#drawPeople();
    this.#shown();
  }

  /** It is seen from now on. */
  show() {
    this.#toEnd();
  }

  focus() {
    this.#text.focus();
  }

  /** What is on its way, as it stands now. */
  draw() {
    const atEnd = this.#atEnd;
    const { unsent } = this.#room;
    for (const [key, view] of this.#unsent) {
      if (unsent.has(key)) continue;
      // Whoever has just pressed a button there goes on writing.
      if (view.element.contains(document.activeElement)) this.focus();
      view.element.remove();
      this.#unsent.delete(key);
    }
    for (const [key, item] of unsent) {
      let view = this.#unsent.get(key);
      if (!view) {
        view = new UnsentView(this.#room, item, this.#nick(), () => {
          this.#text.value = `${item.asks ? "@agent " : ""}${item.text}`;
          this.#room.discard(item);
        });
        this.#unsent.set(key, view);
        this.#below.append(view.element);
      }
      const held = view.element.contains(document.activeElement);
      view.draw(this.#connected());
      if (held && !view.element.contains(document.activeElement)) this.focus();
    }
    if (atEnd) this.#toEnd();
    this.#shown();
  }

  /** @param {boolean} asks */
  #write(asks) {
    const written = this.#text.value.trim();
    const text = written.replace(TO_AGENT, "");
    this.focus();
    if (!text) return;
    this.#text.value = "";
    this.#room.write(text, asks || text !== written);
    this.#toEnd();
  }

  #added() {
    const atEnd = this.#atEnd;
    const { log } = this.#room;
    this.#log.append(...drawEntry(log[log.length - 1], log.at(-2)));
    this.#shown();
    if (atEnd) this.#toEnd();
    else if (log.at(-1)?.entry === "message") set(this.#newer, "hidden", false);
  }

  /** What was said before is there: what is read stays where it is. */
  #prepended() {
    const atEnd = this.#atEnd;
    const { scrollTop, scrollHeight } = this.#scroller;
    this.#redraw();
    if (!atEnd) this.#scroller.scrollTop = scrollTop + this.#scroller.scrollHeight - scrollHeight;
  }

  #redraw() {
    const atEnd = this.#atEnd;
    const { log } = this.#room;
    // Nothing of it is new to whoever has it read out.
    set(this.#log, "aria-live", "off");
    put(this.#log, ...log.flatMap((entry, place) => drawEntry(entry, log[place - 1])));
    requestAnimationFrame(() => set(this.#log, "aria-live", null));
    this.#shown();
    if (atEnd) this.#toEnd();
  }

  #shown() {
    const { hasEarlier, log, unsent } = this.#room;
    this.#earlier.hidden = !hasEarlier;
    this.#empty.hidden = log.some(({ entry }) => entry === "message") || unsent.size > 0;
  }

  get #atEnd() {
    const { scrollTop, scrollHeight, clientHeight } = this.#scroller;
    return scrollHeight - scrollTop - clientHeight < NEAR;
  }

  #toEnd() {
    this.#scroller.scrollTop = this.#scroller.scrollHeight;
    set(this.#newer, "hidden", true);
  }

  #scrolled() {
    if (this.#atEnd) set(this.#newer, "hidden", true);
    if (this.#scroller.scrollTop < NEAR && this.#scroller.clientHeight > 0) void this.#room.earlier();
  }

  #drawPeople() {
    const { count, members } = this.#room;
    const named = members.map((member) => ({ name: nameOf(member), me: this.#room.isMe(member) }));
    named.sort((one, other) => Number(other.me) - Number(one.me) || one.name.localeCompare(other.name));
    say(this.#count, `${count} ${count === 1 ? "person" : "people"}`);
    for (const opener of this.element.querySelectorAll('[data-opens="people"]')) say(opener, `People (${count})`);
    put(
      this.#people,
      ...named.slice(0, LISTED).map(({ name, me }) =>
        h(
          "li",
          {},
          h("span", { class: `face small c${colour(name)}`, "aria-hidden": "true" }, initial(name)),
          h("span", { class: "name" }, name),
          me && h("span", { class: "soft" }, " (you)"),
        ),
      ),
      count > LISTED && h("li", { class: "soft" }, `and ${count - LISTED} more`),
    );
  }
}
