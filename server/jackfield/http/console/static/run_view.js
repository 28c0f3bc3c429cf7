/** One task of an agent: its state, what it streams, what it asks for, and what it comes to. */

import { button, fact, form, h, put, say } from "./dom.js";
import { PayloadEditor } from "./editor.js";
import { blameWithin, errorView } from "./error_view.js";
import { jsonBlock } from "./json_view.js";
import { chunkList } from "./list_view.js";
import { duration, second } from "./words.js";

// Chunks of one task that are kept.
const KEPT = 10_000;
// Characters of streamed text that are shown: longer than anybody reads in a console.
const PROSE = 100_000;

const TONES = {
  completed: "good",
  failed: "bad",
  rejected: "bad",
  canceled: "bad",
  input_required: "warn",
  auth_required: "warn",
};
const ENDS = ["completed", "failed", "rejected", "canceled"];

export class RunView {
  /** @type {string | null} The task's id, once it is known. */
  task = null;
  at = Date.now();
  #run;
  #changed;
  #begun = performance.now();
  #state = h("p", { class: "chips", role: "status" });
  #facts = h("dl", { class: "facts" });
  #controls = h("div", {}, button("Cancel task", () => void this.#cancel()));
  #ask = h("div", {});
  #asked = "";
  #prose = h("div", { class: "prose", tabindex: 0, role: "group", "aria-label": "Streamed text", hidden: true });
  #pending = "";
  #written = 0;
  #chunks = chunkList(KEPT);
  #end = h("div", {});
  #ended = false;

  /**
   * @param {any} run of the client
   * @param {string} title
   * @param {() => void} changed called when its state has
   */
  constructor(run, title, changed) {
    this.#run = run;
    this.title = title;
    this.#changed = changed;
    this.element = h(
      "div",
      { class: "stack" },
      h("h2", {}, title),
      this.#state,
      this.#facts,
      this.#controls,
      this.#ask,
      this.#prose,
      this.#end,
      this.#chunks.element,
    );
    run.on("state", (task) => this.#tell(task));
    run.task.then(
      (id) => {
        this.task = id;
        this.#draw();
      },
      () => {}, // the reading tells
    );
    void this.#read();
    this.#draw();
  }

  /** Its state, or what kept it from having one. */
  get state() {
    return this.#failure?.code && !this.#run.state ? this.#failure.code : (this.#run.state ?? "calling");
  }
  #failure = null;

  get tone() {
    return this.#failure ? "bad" : (TONES[this.#run.state] ?? "accent");
  }

  get ended() {
    return this.#ended;
  }

  async #read() {
    let seq = 0;
    try {
      for await (const chunk of this.#run) {
        this.#chunks.push({ seq: seq++, payload: chunk, at: Date.now() });
        this.#write(chunk);
      }
      this.#finish(jsonBlock(await this.#run.result, "Output"));
    } catch (error) {
      this.#failure = error;
      this.#finish(errorView(error));
    }
  }

  /** Chunks that are text read on as one. */
  #write(chunk) {
    const text = chunk && Object.values(chunk).length === 1 && (chunk.text ?? chunk.delta ?? chunk.token);
    if (typeof text !== "string" || this.#written > PROSE) return;
    this.#written += text.length;
    if (!this.#pending) {
      requestAnimationFrame(() => {
        const box = this.#prose;
        const atEnd = box.scrollTop + box.clientHeight >= box.scrollHeight - 4;
        box.hidden = false;
        box.append(this.#pending);
        this.#pending = "";
        if (atEnd) box.scrollTop = box.scrollHeight;
      });
    }
    this.#pending += text;
  }

  #finish(view) {
    this.#ended = true;
    put(this.#end, view);
    put(this.#ask);
    this.#draw();
    this.#changed();
  }

  #tell(task) {
    if (["input_required", "auth_required"].includes(task.state)) this.#prompt(task.prompt ?? {});
    else {
      this.#asked = "";
      put(this.#ask);
    }
    if (ENDS.includes(task.state)) this.#ended = true;
    this.#draw();
    this.#changed();
  }

  #draw() {
    const took = this.#ended ? ` after ${duration(performance.now() - this.#begun)}` : "";
    put(this.#state, h("span", { class: `badge ${this.tone}` }, this.state), took && h("span", { class: "soft" }, took));
    put(this.#facts, this.task && fact("Task", h("code", {}, this.task)), fact("Since", second(this.at)));
    this.#controls.hidden = this.#ended;
    this.#chunks.element.hidden = this.#ended && !this.#chunks.items.length;
  }

  async #cancel() {
    try {
      await this.#run.cancel("Cancelled in the console.");
    } catch (error) {
      put(this.#end, errorView(error));
    }
  }

  /** A form for what the agent wants to know. */
  #prompt({ message, schema, expires_at: expires }) {
    const asked = JSON.stringify([message, schema, expires]);
    if (asked === this.#asked) return; // what is being typed stays
    this.#asked = asked;
    const editor = new PayloadEditor("Your answer");
    const told = h("p", { class: "soft", role: "status" });
    const trouble = h("div", {});
    editor.load(schema ?? { type: "object" });
    const submit = async () => {
      editor.blame(editor.faults);
      put(trouble);
      if (editor.faults.length) return;
      try {
        say(told, "Sending");
        await this.#run.answer(structuredClone(editor.value));
        say(told, "Sent");
      } catch (error) {
        say(told, "Not sent");
        put(trouble, blameWithin(error, "/input", editor));
      }
    };
    const answering = form(
      "Answer to the agent",
      submit,
      h("p", { role: "status" }, message ?? "The agent waits for an answer."),
      expires && h("p", { class: "hint" }, `It waits until ${second(1000 * expires)}.`),
      editor.element,
      h("div", { class: "row" }, h("button", { type: "submit", class: "main" }, "Answer"), told),
      trouble,
    );
    answering.classList.add("ask");
    put(this.#ask, answering);
  }
}
