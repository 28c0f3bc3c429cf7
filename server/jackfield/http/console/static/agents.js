/** The panel of agents: who there is, what each can do, a form to call them, and their tasks. */

import { button, check, fact, form, h, labelled, put, say, set } from "./dom.js";
import { PayloadEditor } from "./editor.js";
import { blameWithin } from "./error_view.js";
import { jsonView } from "./json_view.js";
import { RunView } from "./run_view.js";
import { OWN } from "./session.js";
import { count, many, second } from "./words.js";

// Milliseconds between two looks at who is there, while the panel is looked at.
const LOOK = 5000;
// Tasks that are kept to look at; the oldest that has ended goes.
const KEPT = 30;

export class AgentsPanel {
  #session;
  #agents = [];
  #chosen = { agent: "", skill: "" };
  #drawn = "";
  #loads = new Map();
  #looks = 0;
  #list = h("nav", { class: "choices", "aria-label": "Agents" });
  #told = h("p", { class: "soft", role: "status" });
  #middle = h("section", { class: "column", "aria-label": "Call" });
  #head = h("div", { class: "stack" });
  #facts = h("dl", { class: "facts" });
  #form;
  #editor = new PayloadEditor("Input");
  #timeout = h("input", { type: "number", min: 1, step: "any", placeholder: "as the server says" });
  #detach = false;
  #called = h("p", { class: "soft", role: "status" });
  #trouble = h("div", {});
  #tasks = h("ul", { class: "choices", "aria-label": "Tasks" });
  #shown = h("div", {});
  #task = h("input", { type: "text", autocomplete: "off", spellcheck: "false" });
  /** @type {RunView[]} the newest first */
  #runs = [];
  /** @type {RunView | null} */
  #open = null;

  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.#session = session;
    this.#form = form(
      "Call",
      () => this.#call(),
      this.#editor.element,
      labelled("Time limit in seconds", this.#timeout),
      check("Goes on without this page (detached)", false, (checked) => (this.#detach = checked)),
      h("div", { class: "row actions" }, h("button", { type: "submit", class: "main" }, "Call"), this.#called),
      this.#trouble,
    );
    const attach = () => {
      const task = this.#task.value.trim();
      if (!task) return this.#task.focus();
      this.#task.value = "";
      this.#follow(this.#session.client.attach(task), `Task ${task}`);
    };
    this.element = h(
      "div",
      { class: "panel" },
      h(
        "section",
        { class: "column side", "aria-label": "Choose an agent" },
        h("div", { class: "row" }, this.#told, button("Refresh", () => void this.#look(), { class: "small quiet" })),
        this.#list,
      ),
      this.#middle,
      h(
        "section",
        { class: "column", "aria-label": "Tasks" },
        form(
          "Attach to a task",
          attach,
          labelled("Task id", this.#task),
          h("div", {}, h("button", { type: "submit" }, "Attach")),
        ),
        h("h2", {}, "Tasks"),
        this.#tasks,
        this.#shown,
      ),
    );
    session.on("described", () => void this.#look());
    setInterval(() => {
      if (!this.element.hidden && !document.hidden) void this.#look();
    }, LOOK);
    this.#show(null);
    this.#drawSkill();
    void this.#look();
  }

  /** @param {string[]} rest of the address */
  show([agent = "", skill = ""]) {
    this.#chosen = { agent, skill };
    this.#draw();
    this.#drawSkill();
  }

  async #look() {
    const { client, state, described } = this.#session;
    if (state !== "open" || !described.types.length) return;
    if (!described.types.some(({ type }) => type === "agent.list")) {
      this.#agents = [];
      say(this.#told, "Agents are not for you here.");
    } else {
      try {
        const agents = [];
        let page = {};
        do {
          const id = `${OWN}agents-${++this.#looks}`;
          const behind = page.next ? { after: page.next } : {};
          page = await client.request("agent.list", behind, { id, retry: false });
          agents.push(...page.agents);
        } while (page.next);
        this.#agents = agents;
        say(this.#told, many(agents.length, "agent"));
      } catch (error) {
        say(this.#told, `${error.code}: ${error.message}`);
      }
    }
    this.#draw();
    this.#drawSkill();
  }

  #draw() {
    const link = ({ name }, { id }) =>
      h(
        "a",
        {
          class: "choice",
          href: `#/agents/${encodeURIComponent(name)}/${encodeURIComponent(id)}`,
          "aria-current": name === this.#chosen.agent && id === this.#chosen.skill && "page",
        },
        h("span", {}, id),
      );
    const load = ({ running, capacity, queued }) => ` ${running} of ${capacity} busy${queued ? `, ${queued} waiting` : ""}`;
    const skills = this.#agents.map((agent) => [agent.name, agent.skills.map(({ id }) => id)]);
    const drawn = JSON.stringify([skills, this.#chosen]);
    // Drawn anew only where there are others: what has the focus keeps it, and a click is not lost.
    if (drawn !== this.#drawn) {
      this.#drawn = drawn;
      this.#drawList(link);
    }
    for (const agent of this.#agents) say(this.#loads.get(agent.name), load(agent));
  }

  #drawList(link) {
    this.#loads = new Map(this.#agents.map(({ name }) => [name, h("span", { class: "soft" })]));
    const focused = this.#list.contains(document.activeElement) && document.activeElement.getAttribute("href");
    put(
      this.#list,
      this.#agents.map((agent) => [
        h("h2", {}, agent.name, this.#loads.get(agent.name)),
        agent.skills.map((skill) => link(agent, skill)),
      ]),
      !this.#agents.length && h("p", { class: "empty" }, "No agent is connected. One that registers appears here."),
    );
    if (focused) this.#list.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
  }

  #described = "";

  #drawSkill() {
    const agent = this.#agents.find(({ name }) => name === this.#chosen.agent);
    const skill = agent?.skills.find(({ id }) => id === this.#chosen.skill);
    if (!agent || !skill) {
      // One that is gone for a moment takes nothing away that somebody has typed.
      if (this.#described && this.#chosen.agent) return;
      const words = this.#chosen.agent
        ? `${this.#chosen.agent} is not there, or has no such skill.`
        : "Choose a skill of an agent to call it.";
      put(this.#middle, h("h1", {}, "Agents"), h("p", { class: "soft" }, words));
      return;
    }
    put(
      this.#facts,
      fact("Instances", count(agent.instances)),
      fact("Load", `${agent.running} of ${agent.capacity} busy, ${agent.queued} waiting`),
    );
    const described = JSON.stringify([agent.name, skill]);
    if (described === this.#described) return;
    this.#described = described;
    const schema = skill.input ?? { type: "object" };
    put(
      this.#head,
      h("h1", { class: "mono" }, `${agent.name} · ${skill.id}`),
      h("p", {}, skill.description || "The agent says nothing about it."),
      skill.idempotent && h("p", { class: "chips" }, h("span", { class: "badge" }, "idempotent")),
    );
    this.#editor.load(schema);
    this.#editor.blame([]);
    put(this.#trouble);
    say(this.#called, "");
    put(
      this.#middle,
      this.#head,
      this.#facts,
      this.#form,
      h("details", {}, h("summary", {}, "Schema of the input"), jsonView(schema, "Schema of the input")),
    );
  }

  #call() {
    const editor = this.#editor;
    editor.blame(editor.faults);
    put(this.#trouble);
    if (editor.faults.length) {
      editor.reach(editor.faults[0].pointer);
      return say(this.#called, "Not called: what is typed is no JSON.");
    }
    const { agent, skill } = this.#chosen;
    const seconds = Number(this.#timeout.value);
    const options = { detach: this.#detach, ...(seconds > 0 && { timeout: 1000 * seconds }) };
    const run = this.#session.client.call({ agent, skill }, structuredClone(editor.value), options);
    say(this.#called, "");
    const view = this.#follow(run, `${agent} · ${skill}`);
    run.task.catch((error) => {
      // It has never begun: what is wrong is the call, and there is no task to look at.
      this.#runs = this.#runs.filter((each) => each !== view);
      if (this.#open === view) this.#show(this.#runs[0] ?? null);
      say(this.#called, "Not called");
      put(this.#trouble, blameWithin(error, "/input", editor));
    });
    // On a phone it is below the form.
    run.task.then(
      () => this.#tasks.scrollIntoView({ block: "nearest" }),
      () => {}, // told above
    );
  }

  #follow(run, title) {
    const view = new RunView(run, title, () => this.#drawTasks());
    this.#runs = [view, ...this.#runs];
    if (this.#runs.length > KEPT) {
      const last = this.#runs.findLast(({ ended }) => ended);
      this.#runs = this.#runs.filter((each) => each !== last);
    }
    this.#show(view);
    return view;
  }

  #show(view) {
    this.#open = view;
    put(this.#shown, view ? view.element : h("p", { class: "empty" }, "No task was called or attached to yet."));
    this.#drawTasks();
  }

  #drawTasks() {
    const line = (view) =>
      h(
        "li",
        {},
        h(
          "button",
          {
            type: "button",
            class: "choice",
            "aria-current": view === this.#open && "true",
            on: { click: () => this.#show(view) },
          },
          // The spaces are for who hears it.
          h("span", { class: "soft mono" }, second(view.at)),
          " ",
          h("span", {}, view.title),
          " ",
          h("span", { class: `badge ${view.tone}` }, view.state),
        ),
      );
    put(this.#tasks, this.#runs.map(line));
    set(this.#tasks, "hidden", !this.#runs.length);
  }
}
