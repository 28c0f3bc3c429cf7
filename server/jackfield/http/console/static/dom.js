/** Elements, made in one expression. Text only ever becomes text: nothing here reads markup. */

const PROPERTIES = new Set(["value", "checked", "disabled", "hidden"]);
const SVG = "http://www.w3.org/2000/svg";

let made = 0;

/** An id that no other element has. */
export const uid = () => `e${++made}`;

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] null and false leave one out; `on` has listeners by event
 * @param {...(Node | string | number | null | undefined | false | any[])} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same for SVG. */
export function svg(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "on") {
      for (const [event, listener] of Object.entries(value)) element.addEventListener(event, listener);
    } else if (PROPERTIES.has(name)) {
      element[name] = value;
    } else if (value != null && value !== false) {
      element.setAttribute(name, value === true ? "" : value);
    }
  }
  element.append(...kept(children));
  return element;
}

const kept = (children) => children.flat(Infinity).filter((child) => child != null && child !== false);

/** Put these in the place of all that an element has. */
export function put(element, ...children) {
  element.replaceChildren(...kept(children));
  return element;
}

/** Set a text, and touch the page only where it differs. */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Set an attribute; null and false remove it. */
export function set(element, name, value) {
  const text = value === true ? "" : String(value);
  if (value == null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== text) element.setAttribute(name, text);
}

/** A button. */
export const button = (text, click, attributes = {}) =>
  h("button", { type: "button", ...attributes, on: { click } }, text);

/** A form that does something of the page's own when it is submitted, which Ctrl+Enter does anywhere in it. */
export function form(label, submit, ...children) {
  const on = {
    submit: (event) => {
      event.preventDefault();
      void submit();
    },
    keydown: (event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      element.requestSubmit();
    },
  };
  // What is wrong with its values the server tells, in words that are the same everywhere.
  const element = h("form", { class: "stack", novalidate: true, "aria-label": label, on }, ...children);
  return element;
}

/** A name and what stands for it, for a `dl`. */
export const fact = (name, ...value) => [h("dt", {}, name), h("dd", {}, ...value)];

/** A control beneath its label. */
export function labelled(text, control, hint) {
  control.id ||= uid();
  const note = hint && h("p", { class: "hint", id: uid() }, hint);
  if (note) control.setAttribute("aria-describedby", note.id);
  return h("div", { class: "field" }, h("label", { for: control.id }, text), note, control);
}

/** A checkbox before its label. */
export function check(text, checked, change) {
  const box = h("input", { type: "checkbox", checked, on: { change: () => change(box.checked) } });
  return h("label", { class: "check" }, box, text);
}
