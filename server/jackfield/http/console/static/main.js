/** Where the console starts: its session, its panels by address, the theme, and what it has to say. */

import { AgentsPanel } from "./agents.js";
import { ConnectionPanel } from "./connection.js";
import { button, h, say, set } from "./dom.js";
import { MessagesPanel } from "./messages.js";
import { Session } from "./session.js";
import { TopicsPanel } from "./topics.js";
import { duration } from "./words.js";

const PANELS = {
  messages: MessagesPanel,
  topics: TopicsPanel,
  agents: AgentsPanel,
  connection: ConnectionPanel,
};
// Notices that are shown at once; the oldest goes.
const NOTICES = 3;

const main = document.getElementById("main");
const session = new Session();
/** @type {Map<string, any>} */
const panels = new Map();

function route() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/").map(decode);
  const known = Object.hasOwn(PANELS, name) ? name : "messages";
  for (const link of document.querySelectorAll(".panels a")) {
    const here = link.getAttribute("href").split("/")[1] === known;
    set(link, "aria-current", here && "page");
    // Whoever comes back finds what was looked at last.
    if (here && known === name) set(link, "href", location.hash);
  }
  const panel = panels.get(known) ?? begin(known);
  for (const [each, { element }] of panels) element.hidden = each !== known;
  panel.show(known === name ? rest : []);
  document.title = `${[rest[0], known[0].toUpperCase() + known.slice(1)].filter(Boolean).join(" · ")} · Jackfield console`;
}

function begin(name) {
  const panel = new PANELS[name](session);
  panels.set(name, panel);
  main.append(panel.element);
  return panel;
}

function decode(word) {
  try {
    return decodeURIComponent(word);
  } catch {
    return word;
  }
}

function standing() {
  const { state, identity, beats } = session;
  const lamp = document.getElementById("lamp");
  set(lamp, "data-state", state);
  const words = { connecting: "Connecting", open: "Open", waiting: "Reconnecting", offline: "Offline", idle: "Idle", closed: "Closed" };
  const who = state === "open" && identity ? ` · ${identity.user ?? "anonymous"}` : "";
  say(document.getElementById("standing"), `${words[state] ?? state}${who}`);
  const latency = beats.findLast((beat) => beat.latency !== null)?.latency;
  set(lamp, "title", state === "open" && latency != null ? duration(latency) : null);
}

/** `passing` is what the next welcome makes untrue. */
function notice({ text, bad, passing }) {
  const list = document.getElementById("notices");
  for (const each of list.children) if (each.firstElementChild.textContent === text) each.remove();
  const element = h("div", { class: bad ? "notice bad" : "notice", "data-passing": passing }, h("p", {}, text));
  element.append(button("Dismiss", () => element.remove(), { class: "small quiet", "aria-label": `Dismiss: ${text}` }));
  list.append(element);
  while (list.children.length > NOTICES) list.firstElementChild.remove();
}

function theme() {
  const root = document.documentElement;
  const toggle = document.getElementById("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
  const draw = () => set(toggle, "aria-pressed", String(dark()));
  toggle.addEventListener("click", () => {
    root.dataset.theme = dark() ? "light" : "dark";
    try {
      localStorage.setItem("jackfield.theme", root.dataset.theme);
    } catch {
      // Storage is forbidden here: it lasts as long as the page.
    }
    draw();
  });
  system.addEventListener("change", draw);
  draw();
}

document.getElementById("skip").addEventListener("click", (event) => {
  event.preventDefault(); // the address names the panel
  main.focus();
});
session.on("state", standing);
session.on("known", standing);
session.on("beat", standing);
session.on("notice", notice);
session.on("known", () => {
  for (const each of document.querySelectorAll("[data-passing]")) each.remove();
});
addEventListener("hashchange", route);
theme();
// Made at once, as it logs what goes over the line from the first frame on.
session.open();
begin("connection");
route();
