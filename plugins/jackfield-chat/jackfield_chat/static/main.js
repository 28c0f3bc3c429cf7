/** Where the page starts: who one is, which rooms one is in, and how the connection stands. */

import { connect } from "../jackfield/index.js";

import { at, button, h, put, say, set } from "./dom.js";
import { reason } from "./message_view.js";
import { Room } from "./room.js";
import { RoomView } from "./room_view.js";
import { recall, remember } from "./store.js";

const ROOM = /^[a-z0-9_-]{1,64}$/;
const FIRST_ROOM = "lobby";
// Closes that a token, or another one, would have prevented, by their codes.
const WANT_TOKEN = [4002, 4501, 4502, 4505];
// Milliseconds: longer than a server waits to be told who this is, so that it is its close that tells.
const OPENING = 15_000;
const WORDS = { connecting: "Connecting", open: "Connected", waiting: "Reconnecting", offline: "Offline", idle: "Idle", closed: "Closed" };

/** @type {any} */
let client = null;
let nick = recall("jackfield.chat.nick") ?? "";
/** @type {any} How the last connection ended. */
let ended = null;
/** @type {Map<string, { room: Room, view: RoomView }>} */
const rooms = new Map();

const hello = at("hello");
const chat = at("chat");

const connected = () => client?.state === "open";

function start() {
  const before = client;
  client = null; // what it has to say from now on is of no interest
  before?.close();
  ended = null;
  const token = () => recall("jackfield.token") || undefined;
  const mine = (client = connect(new URL("../ws", document.baseURI), { token, openTimeout: OPENING }));
  const on = (/** @type {any} */ name, /** @type {(value: any) => void} */ listener) =>
    mine.on(name, (/** @type {any} */ value) => mine === client && listener(value));
  on("welcome", () => {
    ended = null;
    void introduce(); // before the rooms are joined again, as others see it there
  });
  on("state", standing);
  on("close", (closed) => {
    ended = closed;
    if (WANT_TOKEN.includes(closed.code)) return wantToken(closed);
    standing();
  });
  on("error", (error) => standing(error));
  hello.hidden = true;
  chat.hidden = false;
  for (const { room, view } of rooms.values()) {
    room.leave();
    view.element.remove();
    view.people.remove();
  }
  rooms.clear();
  const known = JSON.parse(recall("jackfield.chat.rooms") ?? "[]");
  for (const name of known.length ? known : [FIRST_ROOM]) join(name);
  standing();
  route();
}

async function introduce() {
  try {
    await client.request("chat.nick", { nick });
  } catch (error) {
    const { code } = /** @type {any} */ (error);
    if (code === "invalid_payload" || code === "chat.name_taken") askName(reason(error));
  }
}

/** @param {string} [fault] */
function askName(fault = "") {
  hello.hidden = false;
  chat.hidden = true;
  const field = at("nick");
  field.value = nick;
  blame(field, at("nick-fault"), fault);
  field.select();
}

function wantToken({ code = 0, reason: why = "" }) {
  client.close();
  at("token-field").hidden = false;
  askName();
  blame(at("token"), at("token-fault"), `The server wants a token (${code}, ${why}).`);
  at("token").focus();
  standing();
}

/**
 * Say at a field what is wrong with it; nothing, if nothing is.
 * @param {HTMLElement} field
 * @param {HTMLElement} place
 * @param {string} fault
 */
function blame(field, place, fault) {
  set(field, "aria-invalid", fault ? "true" : null);
  say(place, fault);
}

hello.addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const name = at("nick").value.trim();
  blame(at("nick"), at("nick-fault"), name ? "" : "Enter a name.");
  if (!name) return at("nick").focus();
  nick = name;
  remember("jackfield.chat.nick", nick);
  const token = at("token").value.trim();
  if (token) remember("jackfield.token", token);
  at("token").value = "";
  if (!client || client.state === "closed" || token) start();
  else void rename();
  rooms.get(current())?.view.focus();
});

/** Others see the name that one had when one came in. */
async function rename() {
  hello.hidden = true;
  chat.hidden = false;
  standing();
  if (!connected()) return; // the next welcome tells
  await introduce();
  for (const { room } of rooms.values()) room.join();
}

/** @param {string} name */
function join(name) {
  if (rooms.has(name)) return;
  const room = new Room(client, name);
  const view = new RoomView(room, { nick: () => nick, connected, open });
  rooms.set(name, { room, view });
  at("middle").append(view.element);
  at("people").append(view.people);
  view.element.hidden = view.people.hidden = true;
  room.on("message", () => {
    if (isSeen(name)) room.unread = 0;
    drawRooms();
  });
  room.on("ended", (/** @type {any} */ error) => {
    leave(name);
    blame(at("room"), at("room-fault"), `${name}: ${reason(error)}`);
  });
  keep();
}

/** @param {string} name */
function leave(name) {
  const left = rooms.get(name);
  if (!left) return;
  rooms.delete(name);
  left.room.leave();
  left.view.element.remove();
  left.view.people.remove();
  keep();
  if (current() === name) location.hash = `#/${[...rooms.keys()][0] ?? ""}`;
  drawRooms();
}

const keep = () => remember("jackfield.chat.rooms", JSON.stringify([...rooms.keys()]));

/** The room that the address names. */
const current = () => location.hash.replace(/^#\/?/, "");

const isSeen = (/** @type {string} */ name) => name === current() && !document.hidden;

function route() {
  if (!client) return;
  const name = current();
  if (!ROOM.test(name)) {
    const [first] = rooms.keys();
    if (!first) return drawRooms();
    // Not by `location`, which is later: who comes in writes at once.
    history.replaceState(null, "", `#/${first}`);
    return route();
  }
  join(name);
  open("");
  for (const [each, { room, view }] of rooms) {
    const here = each === name;
    const was = view.element.hidden;
    view.element.hidden = view.people.hidden = !here;
    if (here && was) {
      room.unread = 0;
      view.show();
    }
  }
  drawRooms();
}

function drawRooms() {
  const here = current();
  let unread = 0;
  const items = [...rooms].map(([name, { room }]) => {
    const count = name === here && !document.hidden ? 0 : room.unread;
    unread += count;
    const news = count > 0 && h("span", { class: "badge" }, String(count), h("span", { class: "unseen" }, " unread"));
    return h(
      "li",
      {},
      h("a", { href: `#/${name}`, "aria-current": name === here && "page" }, h("span", { class: "name" }, `#${name}`), " ", news),
      button("×", () => leave(name), { class: "quiet icon", "aria-label": `Leave ${name}` }),
    );
  });
  put(at("rooms-list"), ...items);
  at("nowhere").hidden = rooms.size > 0;
  document.title = `${unread ? `(${unread}) ` : ""}${here ? `#${here} · ` : ""}Jackfield chat`;
}

at("join").addEventListener("submit", (/** @type {Event} */ event) => {
  event.preventDefault();
  const field = at("room");
  const name = field.value.trim().toLowerCase().replace(/^#/, "");
  const isName = ROOM.test(name);
  blame(field, at("room-fault"), isName ? "" : "1 to 64 of a-z, 0-9, “_” and “-”.");
  if (!isName) return field.focus();
  field.value = "";
  location.hash = `#/${name}`;
  route();
  rooms.get(name)?.view.focus();
});

/**
 * On a phone, rooms and people are opened, each over the conversation.
 * @param {string} what what is open already is closed
 */
function open(what) {
  const now = chat.dataset.open === what ? "" : what;
  chat.dataset.open = now;
  for (const opener of document.querySelectorAll("[data-opens]")) {
    set(opener, "aria-expanded", String(/** @type {HTMLElement} */ (opener).dataset.opens === now));
  }
}

/** @param {any} [error] */
function standing(error) {
  const state = /** @type {keyof typeof WORDS} */ (client?.state ?? "closed");
  set(at("lamp"), "data-state", client ? state : null);
  say(at("standing"), client ? WORDS[state] : "Not connected");
  at("name").hidden = !nick || !hello.hidden;
  say(at("name"), nick);
  set(at("name"), "aria-label", `Change your name, ${nick}`);
  at("away").hidden = !client || chat.hidden || state === "open" || (state === "connecting" && !ended);
  at("reconnect").hidden = state === "offline";
  say(at("away-words"), words(state, typeof error === "object" ? error : null));
  countdown();
  for (const { view } of rooms.values()) view.draw();
}

/**
 * @param {string} state
 * @param {any} error
 */
function words(state, error) {
  if (state === "offline") return "The browser is offline. What you write is sent once it is back.";
  if (state === "closed") return `The connection has ended${ended ? ` (${ended.code}, ${ended.reason || "no reason"})` : ""}.`;
  return error?.message ?? "The connection is lost. What you write is sent once it is back.";
}

function countdown() {
  const seconds = client?.retryAt ? Math.max(0, Math.ceil((client.retryAt - Date.now()) / 1000)) : 0;
  say(at("countdown"), client?.state === "waiting" ? `Reconnecting in ${seconds} s.` : client?.state === "connecting" ? "Reconnecting …" : "");
}

at("reconnect").addEventListener("click", () => (client.state === "closed" ? start() : client.reconnect()));
at("name").addEventListener("click", () => {
  askName();
  standing();
});
at("theme").addEventListener("click", () => {
  const root = document.documentElement;
  root.dataset.theme = isDark() ? "light" : "dark";
  try {
    localStorage.setItem("jackfield.theme", root.dataset.theme);
  } catch {
    // Storage is forbidden here: it lasts as long as the page.
  }
  drawTheme();
});
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => {
  const { theme } = document.documentElement.dataset;
  return theme ? theme === "dark" : system.matches;
};
const drawTheme = () => set(at("theme"), "aria-pressed", String(isDark()));
system.addEventListener("change", drawTheme);
addEventListener("hashchange", route);
addEventListener("keydown", ({ key }) => {
  if (key !== "Escape" || !chat.dataset.open) return;
  open("");
  rooms.get(current())?.view.focus();
});
document.addEventListener("visibilitychange", () => {
  const seen = rooms.get(current());
  if (seen && !document.hidden) seen.room.unread = 0;
  drawRooms();
});
// A second is what it counts in; where nothing is counted, nothing is drawn.
setInterval(() => client?.state === "waiting" && countdown(), 1000);
at("skip").addEventListener("click", (/** @type {Event} */ event) => {
  event.preventDefault(); // the address names the room
  at("main").focus();
});
drawTheme();
if (nick) start();
else {
  askName();
  standing();
}
