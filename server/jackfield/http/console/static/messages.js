/** The panel of message types: what they are, a form for each, and what comes of what is sent. */

import { button, form, h, put, say } from "./dom.js";
import { PayloadEditor } from "./editor.js";
import { errorView } from "./error_view.js";
import { Exchange } from "./exchange.js";
import { jsonBlock } from "./json_view.js";
import { chunkList } from "./list_view.js";
import { duration, many, second } from "./words.js";

// What was sent and is still shown: as much as anybody scrolls through.
const KEPT = 50;
// Chunks of one stream that are kept.
const CHUNKS = 2000;

export class MessagesPanel {
  #session;
  #search = h("input", { type: "search", "aria-label": "Search message types", placeholder: "Search" });
  #list = h("nav", { class: "choices", "aria-label": "Message types" });
  #middle = h("section", { class: "column", "aria-label": "Message" });
  #answer = h("div", { class: "stack" });
  #sent = h("ul", { class: "choices", "aria-label": "Sent messages" });
  #history = h("div", { class: "stack" }, h("h2", {}, "Sent"), this.#sent);
  #results;
  #status = h("p", { class: "soft", role: "status" });
  #editor = new PayloadEditor("Payload");
  #editorBox;
  #send = h("button", { type: "submit", class: "main" }, "Send");
  /** @type {string} */
  #chosen = "";
  #described = null;
  /** What was written for each type. @type {Map<string, any>} */
  #drafts = new Map();
  /** @type {{ exchange: Exchange, chunks: import("./list_view.js").ListView | null }[]} the newest first */
  #entries = [];
  #shown = null;

  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.#session = session;
    this.#editorBox = form(
      "Message to send",
      () => this.#submit(),
      this.#editor.element,
      h(
        "div",
        { class: "row actions" },
        this.#send,
        button("Reset", () => this.#reset()),
        h("span", { class: "soft" }, "Ctrl+Enter sends"),
      ),
    );
    this.#editor.changed = () => this.#drafts.set(this.#chosen, this.#editor.value);
    this.#search.addEventListener("input", () => this.#draw());
    this.#results = h(
      "section",
      { class: "column", "aria-label": "Answer" },
      h("h2", {}, "Answer"),
      this.#status,
      this.#answer,
      this.#history,
    );
    this.element = h(
      "div",
      { class: "panel" },
      h("section", { class: "column side", "aria-label": "Choose a message type" }, this.#search, this.#list),
      this.#middle,
      this.#results,
    );
    session.on("described", () => this.#told());
    session.on("client", () => this.#told());
    this.#showEntry(null);
    this.#drawSent();
    this.#told();
  }

  /** @param {string[]} rest of the address */
  show([type = ""]) {
    if (type === this.#chosen) return;
    this.#chosen = type;
    this.#open();
    this.#draw();
  }

  #told() {
    const { types } = this.#session.described;
    if (!types.length && this.#described) return; // not connected for now: what is known stays
    this.#draw();
    this.#open();
  }

  #draw() {
    const { types } = this.#session.described;
    const words = this.#search.value.trim().toLowerCase().split(/\s+/);
    const fits = ({ type, doc }) => words.every((word) => `${type} ${doc}`.toLowerCase().includes(word));
    const plugins = [...grouped(types.filter(fits))].sort(([one], [other]) => isOwn(one) - isOwn(other) || one.localeCompare(other));
    const link = ({ type, streams }) =>
      h(
        "a",
        { class: "choice", href: `#/messages/${encodeURIComponent(type)}`, "aria-current": type === this.#chosen && "page" },
        h("span", {}, type),
        streams && [" ", h("span", { class: "end" }, "streams")],
      );
    put(
      this.#list,
      plugins.map(([plugin, members]) => [h("h2", {}, plugin), members.map(link)]),
      !plugins.length && h("p", { class: "empty" }, types.length ? "No message type is like that." : "Nothing is known yet."),
    );
  }

  #open() {
    const described = this.#session.described.types.find(({ type }) => type === this.#chosen);
    if (!described) {
      this.#described = null;
      const unknown = this.#chosen && this.#session.described.types.length;
      const words = unknown
        ? `There is no message type ${this.#chosen}, or none for you.`
        : "Choose a message type to see what it does and to send it.";
      put(this.#middle, h("h1", {}, "Messages"), h("p", { class: "soft" }, words));
      return;
    }
    if (this.#described && JSON.stringify(this.#described) === JSON.stringify(described)) return;
    this.#described = described;
    const { type, doc, plugin, streams, scopes, payload, reply } = described;
    this.#editor.load(payload, this.#drafts.get(type));
    put(
      this.#middle,
      h("h1", { class: "mono" }, type),
      h("p", {}, doc || "Its plugin says nothing about it."),
      h(
        "p",
        { class: "chips" },
        h("span", { class: "badge" }, `plugin ${plugin}`),
        streams && h("span", { class: "badge accent" }, "streams"),
        scopes.map((scope) => h("span", { class: "badge" }, `scope ${scope}`)),
      ),
      this.#editorBox,
      h(
        "details",
        {},
        h("summary", {}, "Schemas"),
        jsonBlock(payload, "Schema of the payload"),
        reply && jsonBlock(reply, "Schema of the reply"),
      ),
    );
  }

  #reset() {
    this.#drafts.delete(this.#chosen);
    this.#editor.load(this.#described.payload);
    this.#editor.blame([]);
  }

  #submit() {
    const { faults } = this.#editor;
    if (faults.length) {
      this.#editor.blame(faults);
      this.#editor.reach(faults[0].pointer);
      say(this.#status, "Not sent: what is typed is no JSON.");
      return;
    }
    this.#start(this.#described, this.#editor.value);
  }

  /** Send a message, and show what comes of it. */
  #start(described, value) {
    const { client } = this.#session;
    const payload = structuredClone(value);
    if (described === this.#described) this.#editor.blame([]);
    const exchange = new Exchange(client, described, payload);
    const chunks = described.streams ? chunkList(CHUNKS) : null;
    const entry = { exchange, chunks };
    exchange.on("chunk", (chunk) => chunks?.push(chunk));
    exchange.on("change", () => {
      if (exchange.error && exchange.type === this.#chosen) this.#editor.blame(exchange.error.fields ?? []);
      if (entry === this.#shown) this.#showEntry(entry);
      this.#drawSent();
    });
    this.#entries = [entry, ...this.#entries].slice(0, KEPT);
    this.#showEntry(entry);
    this.#drawSent();
    // On a phone it is below the form.
    this.#results.firstElementChild.scrollIntoView({ block: "nearest" });
  }

  #showEntry(entry) {
    this.#shown = entry;
    if (!entry) {
      say(this.#status, "Nothing was sent yet.");
      put(this.#answer);
      return;
    }
    const { exchange, chunks } = entry;
    const took = exchange.took === null ? "" : ` in ${duration(exchange.took)}`;
    const told = exchange.streams ? `, ${many(exchange.chunks, "chunk")}` : "";
    const words = {
      running: `${exchange.type} is under way.`,
      reply: `${exchange.type}: reply${took}${told}.`,
      error: `${exchange.type}: error ${exchange.error?.code}${took}${told}.`,
    };
    say(this.#status, words[exchange.state]);
    const reach = exchange.type === this.#chosen ? (pointer) => this.#editor.reach(pointer) : undefined;
    put(
      this.#answer,
      exchange.state === "running" && h("div", {}, button("Cancel", () => exchange.cancel())),
      exchange.state === "error" && errorView(exchange.error, reach),
      exchange.state === "reply" && jsonBlock(exchange.reply, "Reply"),
      chunks && h("div", {}, h("p", { class: "label" }, "Chunks"), chunks.element),
    );
  }

  #drawSent() {
    const line = (entry) => {
      const { exchange } = entry;
      const { type, at, took, state, outcome } = exchange;
      const tone = { running: "accent", reply: "good", error: "bad" }[state];
      const label = `${type}, ${second(at)}, ${outcome}`;
      return h(
        "li",
        { class: "row" },
        h(
          "button",
          {
            type: "button",
            class: "choice grow",
            "aria-current": entry === this.#shown && "true",
            on: { click: () => this.#look(entry) },
          },
          // The spaces are for who hears it.
          h("span", { class: "soft mono" }, second(at)),
          " ",
          h("span", {}, type),
          " ",
          h("span", { class: `badge ${tone}` }, outcome),
          " ",
          h("span", { class: "end" }, took === null ? "" : duration(took)),
        ),
        button("Resend", () => this.#resend(exchange), { class: "small quiet", "aria-label": `Resend ${label}` }),
      );
    };
    put(this.#sent, this.#entries.map(line));
    this.#history.hidden = !this.#entries.length;
  }

  /** Show an entry, with its payload to be changed. */
  #look(entry) {
    const { type, payload, error } = entry.exchange;
    this.#drafts.set(type, structuredClone(payload));
    if (type === this.#chosen && this.#described) this.#editor.load(this.#described.payload, payload);
    else location.hash = `#/messages/${encodeURIComponent(type)}`;
    this.show([type]);
    this.#editor.blame(error?.fields ?? []);
    this.#showEntry(entry);
    this.#drawSent();
  }

  #resend({ type, streams, payload }) {
    const known = this.#session.described.types.find((each) => each.type === type);
    this.#start(known ?? { type, streams }, payload);
  }
}

// What every server has comes last.
const isOwn = (plugin) => Number(["agent", "auth", "request", "session", "topic"].includes(plugin));

function grouped(types) {
  const groups = new Map();
  for (const each of types) groups.set(each.plugin, [...(groups.get(each.plugin) ?? []), each]);
  return groups;
}
