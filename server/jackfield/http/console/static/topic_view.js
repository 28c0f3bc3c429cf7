/** One topic: what happens in it, what happened, who is there, and a form to publish. */

import { button, form, h, put, say } from "./dom.js";
import { PayloadEditor } from "./editor.js";
import { blameWithin, errorView } from "./error_view.js";
import { jsonBlock, jsonView } from "./json_view.js";
import { ListView } from "./list_view.js";
import { matches } from "./schema.js";
import { count, many, time } from "./words.js";

// Events that are kept of one topic, and those that one page of its history has.
const KEPT = 10_000;
const PAGE = 100;
// Members that are shown by name.
const SHOWN = 200;

export class TopicView {
  /** How many events have come. */
  events = 0;
  #session;
  #changed;
  #subscription = null;
  #family;
  #standing = h("p", { class: "soft", role: "status" });
  #trouble = h("div", {});
  #position = h("dd", { class: "mono" });
  #members = h("div", {});
  #publish = h("div", {});
  #older = button("Load older events", () => void this.#loadOlder(), { class: "small" });
  #list;
  #present = -1;

  /**
   * @param {import("./session.js").Session} session
   * @param {string} name
   * @param {() => void} changed called when its number of events or its state has
   */
  constructor(session, name, changed) {
    this.#session = session;
    this.name = name;
    this.#changed = changed;
    this.#list = new ListView({
      label: `Events of ${name}`,
      noun: "event",
      empty: "Nothing has happened since you subscribed.",
      capacity: KEPT,
      draw: line,
      detail: (item) =>
        item.kind === "event" ? jsonBlock(item.payload, `Event ${item.offset}`) : h("p", { class: "soft" }, item.text),
      extra: [this.#older],
    });
    this.middle = h(
      "div",
      { class: "stack" },
      h("h1", { class: "mono" }, name),
      this.#standing,
      this.#trouble,
      h("dl", { class: "facts" }, h("dt", {}, "Position"), this.#position),
      this.#list.element,
    );
    this.right = h(
      "div",
      { class: "stack" },
      h("section", { class: "stack", "aria-label": "Members" }, h("h2", {}, "Members"), this.#members),
      h("section", { class: "stack", "aria-label": "Publish" }, h("h2", {}, "Publish"), this.#publish),
    );
    this.follow();
  }

  /** Subscribe on the session's client, from where this was before. */
  follow() {
    const { client } = this.#session;
    const since = this.#subscription?.position ?? undefined;
    this.#subscription?.close();
    this.describe();
    put(this.#trouble);
    const subscription = client.subscribe(this.name, { since });
    this.#subscription = subscription;
    this.stand(client.state);
    const ours = (listener) => (value) => {
      if (subscription === this.#subscription) listener(value);
    };
    subscription.on("event", ours((event) => this.#take(event)));
    subscription.on("gap", ours((gap) => this.#gap(gap)));
    subscription.on("error", ours((error) => this.#fail(error)));
    subscription.on("close", ours((error) => error && this.#end(error)));
    if (!this.#family || this.#family.presence) subscription.on("presence", ours((change) => this.#drawMembers(change)));
    subscription.on(
      "ready",
      ours((position) => {
        put(this.#trouble);
        say(this.#standing, "Subscribed");
        this.#stand(position);
        this.#changed();
      }),
    );
  }

  /** What is known of its kind, which may have changed. */
  describe() {
    const family = this.#session.described.topics.find(({ pattern }) => matches(pattern, this.name));
    if (family && JSON.stringify(family) === JSON.stringify(this.#family)) return;
    this.#family = family;
    if (family && !family.presence) put(this.#members, h("p", { class: "soft" }, "Its members do not see each other."));
    else if (this.#present < 0) put(this.#members, h("p", { class: "soft" }, "Nobody is known yet."));
    this.#drawPublish();
  }

  /** The connection has come or gone: the client subscribes again by itself. @param {string} state */
  stand(state) {
    if (!this.#subscription) return;
    const joined = this.#subscription.position ? "Subscribed" : "Subscribing";
    say(this.#standing, state === "open" ? joined : "Not connected. It goes on where it was once the connection is back.");
  }

  close() {
    this.#subscription?.close();
    this.#subscription = null;
  }

  #take({ offset, payload }) {
    this.events++;
    this.#list.push({ kind: "event", offset, payload, at: Date.now() });
    this.#soon();
  }

  /** The position is drawn with the list, once a frame at most. */
  #soon() {
    if (this.#drawing) return;
    this.#drawing = true;
    requestAnimationFrame(() => {
      this.#drawing = false;
      if (this.#subscription?.position) this.#stand(this.#subscription.position);
      this.#changed();
    });
  }
  #drawing = false;

  #stand({ epoch, offset }) {
    say(this.#position, `offset ${count(offset)} of epoch ${epoch}`);
  }

  #gap({ position, from }) {
    const missed = from && from.epoch === position.epoch ? `: up to ${many(position.offset - from.offset, "event")}` : "";
    const text = `Events are lost here${missed}. It goes on behind offset ${position.offset} of epoch ${position.epoch}.`;
    this.#list.push({ kind: "gap", text, at: Date.now() });
    say(this.#standing, text);
    this.#soon();
  }

  /** It is tried again, or there is no presence, or it ends. */
  #fail(error) {
    put(this.#trouble, errorView(error));
    this.#changed();
  }

  #end(error) {
    if (error.code !== "connection_closed") say(this.#standing, "Not subscribed");
    put(this.#trouble, errorView(error), button("Try again", () => this.follow(), { class: "small" }));
    this.#changed();
  }

  #drawMembers({ members, count: all }) {
    this.#present = all;
    const name = ({ user, connection, info, connections = 1 }) =>
      h(
        "li",
        { class: "row" },
        h("span", {}, user ?? "anonymous"),
        connection && h("code", { class: "soft" }, connection),
        connections > 1 && h("span", { class: "badge" }, many(connections, "connection")),
        info && h("code", { class: "soft" }, JSON.stringify(info)),
      );
    put(
      this.#members,
      h("p", { class: "soft", role: "status" }, many(all, "member")),
      h("ul", { class: "stack", "aria-label": `Members of ${this.name}` }, members.slice(0, SHOWN).map(name)),
      all > SHOWN && h("p", { class: "soft" }, `${count(all - SHOWN)} more are not shown.`),
    );
  }

  async #loadOlder() {
    const items = this.#list.items;
    let before;
    for (const item of items) {
      if (item.kind === "event") {
        before = item.offset;
        break;
      }
    }
    // With nothing shown, the newest that there were before this was subscribed.
    before ??= (this.#subscription?.position?.offset ?? 0) + 1;
    try {
      const page = await this.#session.client.history(this.name, { before: Math.max(before, 1), limit: PAGE });
      put(this.#trouble);
      const older = page.events.map(({ offset, payload }) => ({ kind: "event", offset, payload, at: null }));
      const taken = this.#list.prepend(older);
      if (!older.length) say(this.#standing, "There are no older events.");
      else if (taken < older.length) say(this.#standing, "The list is full: clear it to go further back.");
      else say(this.#standing, `${many(taken, "older event")} loaded.`);
    } catch (error) {
      put(this.#trouble, errorView(error));
    }
  }

  #drawPublish() {
    const family = this.#family;
    if (family && !family.publish) {
      put(this.#publish, h("p", { class: "soft" }, `Clients do not publish to ${family.pattern}.`));
      if (family.event) this.#publish.append(details("Schema of its events", family.event));
      return;
    }
    const editor = new PayloadEditor("Event");
    const told = h("p", { class: "soft", role: "status" });
    const trouble = h("div", {});
    editor.load(family?.event ?? { type: "object" });
    const submit = async () => {
      const { faults } = editor;
      editor.blame(faults);
      put(trouble);
      if (faults.length) return say(told, "Not published: what is typed is no JSON.");
      say(told, "Publishing");
      try {
        const { epoch, offset } = await this.#session.client.publish(this.name, structuredClone(editor.value));
        say(told, `Published at offset ${count(offset)} of epoch ${epoch}.`);
      } catch (error) {
        say(told, "Not published");
        put(trouble, blameWithin(error, "/payload", editor));
      }
    };
    put(
      this.#publish,
      form(
        `Publish to ${this.name}`,
        submit,
        editor.element,
        h("div", { class: "row" }, h("button", { type: "submit", class: "main" }, "Publish"), told),
        trouble,
      ),
    );
  }
}

const details = (label, schema) => h("details", {}, h("summary", {}, label), jsonView(schema, label));

function line(item) {
  const when = h("span", { class: "dim" }, item.at ? time(item.at) : "earlier");
  if (item.kind === "gap") return { class: "warn", cells: [h("span", {}, "gap"), h("span", {}, item.text)] };
  return {
    cells: [h("span", { class: "number" }, item.offset), when, h("span", {}, JSON.stringify(item.payload))],
  };
}
