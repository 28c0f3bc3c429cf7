/** An error as the server tells it, whole. */

import { button, h } from "./dom.js";
import { jsonView } from "./json_view.js";
import { within } from "./pointer.js";
import { duration } from "./words.js";

/** The error object as it stands on the wire. @param {any} error a JackfieldError */
const asObject = ({ code, message, retryable, fields, incident, retryAfter, extra }) => ({
  code,
  message,
  retryable,
  ...(fields?.length && { fields }),
  ...(incident && { incident }),
  ...(retryAfter != null && { retry_after: retryAfter / 1000 }),
  ...extra,
});

/**
 * @param {any} error a JackfieldError, or any other
 * @param {(pointer: string) => void} [reach] goes to the control that a pointer is about
 */
export function errorView(error, reach) {
  const { code = error.name, message, retryable, fields = [], incident, retryAfter } = error;
  const place = ({ pointer }) =>
    reach
      ? button(pointer || "/", () => reach(pointer), { class: "small mono", "aria-label": `Go to ${pointer || "/"}` })
      : h("code", {}, pointer || "/");
  return h(
    "div",
    { class: "trouble", role: "group", "aria-label": "Error" },
    h("p", {}, h("span", { class: "code mono" }, code), " ", message),
    h(
      "p",
      { class: "chips" },
      h("span", { class: "badge" }, retryable ? "may be tried again" : "not to be tried again"),
      retryAfter != null && h("span", { class: "badge" }, `after ${duration(retryAfter)}`),
      incident && h("span", { class: "badge" }, `incident ${incident}`),
    ),
    fields.length > 0 &&
      h(
        "ul",
        { "aria-label": "Fields" },
        fields.map((field) => h("li", { class: "row" }, place(field), h("span", {}, field.message), h("code", { class: "soft" }, field.code))),
      ),
    h("details", {}, h("summary", {}, "The whole error"), jsonView(asObject(error), "The whole error")),
  );
}

/**
 * The same of a message whose payload has in it what an editor has: its faults are shown there too.
 * @param {any} error
 * @param {string} part where in the payload that is: a pointer
 * @param {import("./editor.js").PayloadEditor} editor
 */
export function blameWithin(error, part, editor) {
  const known = Object.assign(error, { fields: within(error.fields ?? [], part) });
  editor.blame(known.fields);
  return errorView(known, (pointer) => editor.reach(pointer));
}
