/** The panel of topics: those that are followed, and one of them in full. */

import { button, form, h, labelled, put, say, set, uid } from "./dom.js";
import { TopicView } from "./topic_view.js";
import { count } from "./words.js";

// Milliseconds between two looks at the numbers beside the topics' names.
const LOOK = 500;

export class TopicsPanel {
  #session;
  /** @type {Map<string, { view: TopicView, link: HTMLElement, number: HTMLElement }>} */
  #topics = new Map();
  #chosen = "";
  #list = h("ul", { class: "choices", "aria-label": "Followed topics" });
  #known = h("div", { class: "chips" });
  #names = h("datalist", { id: uid() });
  #name = h("input", { type: "text", autocomplete: "off", spellcheck: "false", list: this.#names.id, placeholder: "room:lobby" });
  #middle = h("section", { class: "column", "aria-label": "Topic" });
  #right = h("section", { class: "column", "aria-label": "Members and publishing" });
  #timer = 0;

  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.#session = session;
    const submit = () => {
      const name = this.#name.value.trim();
      if (!name) return this.#name.focus();
      this.#name.value = "";
      this.#subscribe(name);
      this.#go(name);
    };
    this.element = h(
      "div",
      { class: "panel wide-middle" },
      h(
        "section",
        { class: "column side", "aria-label": "Choose a topic" },
        form(
          "Subscribe to a topic",
          submit,
          labelled("Topic name", this.#name),
          this.#names,
          this.#known,
          h("button", { type: "submit", class: "main" }, "Subscribe"),
        ),
        this.#list,
      ),
      this.#middle,
      this.#right,
    );
    session.on("described", () => this.#told());
    session.on("known", () => this.#told());
    session.on("client", () => {
      for (const { view } of this.#topics.values()) view.follow();
    });
    session.on("state", (state) => {
      for (const { view } of this.#topics.values()) view.stand(state);
    });
    this.#told();
    this.#draw();
  }

  /** @param {string[]} rest of the address */
  show([name = ""]) {
    // An address that names a topic follows it: it can be kept, and given to others.
    if (name && !this.#topics.has(name)) this.#subscribe(name);
    this.#chosen = name;
    this.#draw();
  }

  /** What there are: a pattern fills in its beginning, a whole name is one to follow. */
  #told() {
    const patterns = this.#session.described.topics.map(({ pattern }) => pattern);
    const welcome = Object.keys(this.#session.client?.welcome?.topics ?? {});
    const names = [...new Set([...welcome, ...patterns.filter((pattern) => !pattern.includes("{"))])];
    put(this.#names, [...names, ...patterns.map(beginning)].map((value) => h("option", { value })));
    const fill = (text) => () => {
      this.#name.value = text;
      this.#name.focus();
    };
    const open = patterns.filter((pattern) => pattern.includes("{") && !(pattern === "user:{id*}" && welcome.length > 1));
    put(
      this.#known,
      [...open, ...names].map((each) =>
        button(each, fill(beginning(each)), { class: "small mono", "aria-label": `Fill in ${each}` }),
      ),
    );
    for (const { view } of this.#topics.values()) view.describe();
  }

  #subscribe(name) {
    if (this.#topics.has(name)) return;
    const number = h("span", { class: "end" });
    const link = h("a", { class: "choice grow", href: `#/topics/${encodeURIComponent(name)}` }, h("span", {}, name), " ", number);
    const view = new TopicView(this.#session, name, () => this.#soon());
    this.#topics.set(name, { view, link, number });
    this.#draw();
  }

  #unsubscribe(name) {
    this.#topics.get(name)?.view.close();
    this.#topics.delete(name);
    if (name === this.#chosen) this.#go("");
    this.#draw();
    this.#name.focus();
  }

  #go(name) {
    const address = name ? `#/topics/${encodeURIComponent(name)}` : "#/topics";
    if (location.hash === address) this.show([name]);
    else location.hash = address;
  }

  #draw() {
    put(
      this.#list,
      [...this.#topics].map(([name, { link }]) => {
        set(link, "aria-current", name === this.#chosen && "page");
        const leave = () => this.#unsubscribe(name);
        const label = { class: "quiet small", "aria-label": `Leave ${name}` };
        return h("li", { class: "row" }, link, button("Leave", leave, label));
      }),
    );
    set(this.#list, "hidden", !this.#topics.size);
    const chosen = this.#topics.get(this.#chosen);
    if (chosen) {
      put(this.#middle, chosen.view.middle);
      put(this.#right, chosen.view.right);
    } else {
      const words = "Subscribe to a topic to see what happens in it, what happened before, and who is there.";
      put(this.#middle, h("h1", {}, "Topics"), h("p", { class: "soft" }, words));
      put(this.#right);
    }
    this.#right.hidden = !chosen;
  }

  #soon() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      for (const { view, number } of this.#topics.values()) say(number, view.events ? count(view.events) : "");
    }, LOOK);
  }
}

/** Of a pattern, all before its first part. */
const beginning = (pattern) => pattern.split("{")[0];
