/** JSON as it is read: in lines, with its keys and words marked. */

import { button, h } from "./dom.js";

// Characters. What is longer is shown without marks, as a page of spans takes its time.
const MARKED = 50_000;
const TOKEN = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(true|false|null)\b|-?\b\d[\d.eE+-]*/g;

/**
 * @param {any} value
 * @param {string} label what it is
 * @returns {HTMLElement}
 */
export function jsonView(value, label) {
  const text = JSON.stringify(value, null, 2) ?? "";
  // It may have to be scrolled, which takes the focus.
  const pre = h("pre", { class: "json", tabindex: 0, role: "group", "aria-label": label });
  if (text.length > MARKED) pre.append(text);
  else pre.append(...marked(text));
  return pre;
}

/**
 * The same below its name, with a button to copy it.
 * @param {any} value
 * @param {string} label
 */
export function jsonBlock(value, label) {
  return h(
    "div",
    { class: "block" },
    h("div", { class: "head" }, h("p", { class: "label" }, label), copyButton(() => JSON.stringify(value, null, 2), label)),
    jsonView(value, label),
  );
}

/** A button that copies a text; nothing where the browser has no clipboard for this page. */
function copyButton(text, label) {
  if (!navigator.clipboard) return null;
  const copy = button(
    "Copy",
    async () => {
      await navigator.clipboard.writeText(text());
      copy.textContent = "Copied";
      setTimeout(() => (copy.textContent = "Copy"), 1500);
    },
    { class: "quiet small", "aria-label": `Copy ${label.toLowerCase()}` },
  );
  return copy;
}

function* marked(text) {
  let at = 0;
  for (const match of text.matchAll(TOKEN)) {
    const [whole, string, colon] = match;
    if (string && !colon) continue;
    yield text.slice(at, match.index);
    const mark = string ?? whole;
    yield h("span", { class: colon ? "key" : "word" }, mark);
    at = match.index + mark.length;
  }
  yield text.slice(at);
}
