/** The panel of the connection: how it is, whose it is, how fast it is, and what goes over it. */

import { Chart } from "./chart.js";
import { button, check, fact, form, h, labelled, put, say } from "./dom.js";
import { jsonBlock } from "./json_view.js";
import { ListView } from "./list_view.js";
import { Session, SPAN } from "./session.js";
import { count, duration, second, size, time } from "./words.js";

// Frames that are kept: enough to scroll back through a minute of haste.
const FRAMES = 2000;

const WORDS = {
  connecting: "Connecting",
  open: "Open",
  waiting: "Waiting to connect again",
  offline: "The browser is offline",
  idle: "Closed as idle until something is asked",
  closed: "Closed",
};

export class ConnectionPanel {
  #session;
  #state = h("p", { role: "status" });
  #facts = h("dl", { class: "facts" });
  #token = h("input", { type: "password", autocomplete: "off", spellcheck: "false" });
  #forget = button("Forget token", () => this.#be(""));
  #told = h("p", { class: "soft", role: "status" });
  #latency = new Chart({ title: "Latency", span: SPAN });
  #rate = new Chart({ title: "Messages", span: SPAN, names: ["in", "out"] });
  #frames;
  #all = false;

  /** @param {Session} session */
  constructor(session) {
    this.#session = session;
    this.#frames = new ListView({
      label: "Frames",
      noun: "frame",
      empty: "No frame has gone over the line.",
      capacity: FRAMES,
      draw: ({ direction, message, bytes, at }) => ({
        cells: [
          h("span", { class: "way" }, direction),
          h("span", { class: "dim" }, time(at)),
          h("span", { class: "size dim" }, size(bytes)),
          h("span", {}, JSON.stringify(message)),
        ],
      }),
      detail: ({ direction, message }) => jsonBlock(message, direction === "in" ? "Received" : "Sent"),
      extra: [check("With the console's own", false, (checked) => (this.#all = checked))],
    });
    const submit = () => {
      const token = this.#token.value.trim();
      if (token) this.#be(token);
      else this.#token.focus();
    };
    this.element = h(
      "div",
      { class: "panel two" },
      h(
        "section",
        { class: "column", "aria-label": "Connection" },
        h("h1", {}, "Connection"),
        this.#state,
        h(
          "div",
          { class: "row" },
          button("Reconnect", () => session.reopen()),
          button("Close connection", () => session.close()),
        ),
        form(
          "Identity",
          submit,
          labelled("Token", this.#token, "It stays in this tab and is forgotten with it. It never stands in an address."),
          h("div", { class: "row" }, h("button", { type: "submit", class: "main" }, "Use token"), this.#forget),
          this.#told,
        ),
        this.#facts,
      ),
      h(
        "section",
        { class: "column", "aria-label": "Traffic" },
        h("div", { class: "charts" }, this.#latency.element, this.#rate.element),
        h("h2", {}, "Frames"),
        this.#frames.element,
      ),
    );
    session.on("state", () => this.#draw());
    session.on("known", () => this.#draw());
    session.on("beat", () => this.#beat());
    session.on("message", (frame) => {
      if (this.#all || !Session.isOwn(frame)) this.#frames.push({ ...frame, at: Date.now() });
    });
    this.#draw();
    this.#beat();
  }

  show() {}

  #be(token) {
    this.#token.value = "";
    this.#session.be(token);
    say(this.#told, token ? "The token is in use." : "The token is forgotten.");
    this.#draw();
  }

  #draw() {
    const { client, identity, state, ended } = this.#session;
    const retry = client?.retryAt ? `, at ${second(client.retryAt)}` : "";
    const why = ended && state !== "open" ? ` (${ended.code}${ended.reason ? `, ${ended.reason}` : ""})` : "";
    say(this.#state, `${WORDS[state] ?? state}${retry}${why}.`);
    this.#forget.disabled = !this.#session.token;
    const welcome = client?.welcome;
    const rest = welcome && Object.entries(welcome.limits ?? {});
    put(
      this.#facts,
      welcome && [
        fact("User", welcome.user ?? "anonymous"),
        fact("Scopes", identity?.scopes?.length ? identity.scopes.join(" ") : "none"),
        identity?.expires_at && fact("Good until", new Date(1000 * identity.expires_at).toLocaleString("en-GB")),
        fact("Connection", h("code", {}, welcome.connection)),
        fact("Protocol", welcome.protocol),
        fact("Heartbeat", duration(1000 * welcome.heartbeat)),
        rest.map(([name, value]) =>
          fact(title(name), name.endsWith("bytes") ? size(value) : typeof value === "number" ? count(value) : String(value)),
        ),
        fact("Topics", Object.keys(welcome.topics ?? {}).join(" ") || "none"),
      ],
    );
  }

  #beat() {
    const { beats } = this.#session;
    const known = beats.map(({ latency }) => latency).filter((latency) => latency !== null);
    const last = known.at(-1);
    const words =
      last === undefined
        ? "not measured"
        : `${duration(last)} now, ${duration(median(known))} median, ${duration(Math.max(...known))} at most`;
    this.#latency.draw([beats.map(({ latency }) => latency)], words);
    const { in: received = 0, out = 0, bytes = 0 } = beats.at(-1) ?? {};
    const rates = `${count(received)} in, ${count(out)} out a second, ${size(bytes)}`;
    this.#rate.draw([beats.map((beat) => beat.in), beats.map((beat) => beat.out)], rates);
  }
}

/** A name as it stands on the wire, for people. */
const title = (name) => name[0].toUpperCase() + name.slice(1).replaceAll("_", " ");

const median = (values) => [...values].sort((one, other) => one - other)[values.length >> 1];
