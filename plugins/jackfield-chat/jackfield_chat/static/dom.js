/** Elements, made in one expression. Text only ever becomes text: nothing here reads markup. */

/**
 * Make an element.
 * @param {string} tag
 * @param {Record<string, any>} [attributes] null and false leave one out, a function listens
 * @param {...(Node | string | null | false)} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else set(element, name, value);
  }
  put(element, ...children);
  return element;
}

/**
 * Put these in the place of all that an element has.
 * @param {Element} element
 * @param {...(Node | string | null | false)} children
 */
export function put(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== false));
}

/**
 * Set a text, and touch the page only where it differs: what is read aloud is read once.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Set an attribute; null and false remove it.
 * @param {Element} element
 * @param {string} name
 * @param {string | number | boolean | null | undefined} value
 */
export function set(element, name, value) {
  if (value == null || value === false) element.removeAttribute(name);
  else element.setAttribute(name, value === true ? "" : String(value));
}

/**
 * @param {string} text
 * @param {() => void} click
 * @param {Record<string, any>} [attributes]
 */
export const button = (text, click, attributes = {}) => h("button", { type: "button", click, ...attributes }, text);

/**
 * What has this id in the page.
 * @param {string} id
 * @returns {any}
 */
export const at = (id) => document.getElementById(id);
