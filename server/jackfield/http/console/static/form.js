/** A form made of a JSON Schema, which edits one value in place and shows errors where they belong. */

import { button, h, put, set, uid } from "./dom.js";
import * as pointer from "./pointer.js";
import { describe, initial, kind, options, read, resolve } from "./schema.js";

// Characters. What may be longer gets more than one line.
const LINE = 200;
// What nobody should read off a screen, by the end of its pointer.
const SECRET = /\/(token|password|secret)$/i;

/** @typedef {(string | number)[]} Path */
/** @typedef {import("./schema.js").Schema} Schema */

export class SchemaForm {
  element = h("div", { class: "form" });
  /** @type {Record<string, any>} What is edited. */
  value = {};
  #schema = {};
  #changed;
  /** @type {Map<string, { control: HTMLElement, fault: HTMLElement, group?: boolean }>} by pointer */
  #places = new Map();
  /** @type {Map<string, string>} What is typed and is no JSON, by pointer. */
  #broken = new Map();

  /** @param {() => void} changed called when the value has */
  constructor(changed) {
    this.#changed = changed;
  }

  /**
   * @param {Schema} schema
   * @param {Record<string, any>} value
   */
  show(schema, value) {
    this.#schema = schema;
    this.value = value;
    this.#places.clear();
    this.#broken.clear();
    const { schema: known } = resolve(schema, schema);
    if (kind(known) === "object") {
      const names = Object.keys(known.properties);
      const extra = Object.keys(value).filter((name) => !names.includes(name));
      put(
        this.element,
        this.#fault([], this.element),
        names.map((name) => this.#field(known, name, [name])),
        known.additionalProperties === false || !extra.length
          ? []
          : h("p", { class: "hint" }, `Also there, in the JSON only: ${extra.join(", ")}.`),
        !names.length && h("p", { class: "hint" }, "It takes no payload."),
      );
    } else {
      put(this.element, this.#leaf({ ...known, type: "object" }, [], "Payload", { required: true }));
    }
  }

  /** What is typed and is no JSON. @returns {{ pointer: string, code: string, message: string }[]} */
  get broken() {
    return [...this.#broken].map(([pointer, message]) => ({ pointer, code: "invalid_json", message }));
  }

  /**
   * Show what is wrong at the controls that it is about, and nothing at the others.
   * @param {{ pointer: string, message: string }[]} faults
   */
  blame(faults) {
    const told = new Map();
    for (const { pointer: where, message } of faults) {
      const place = pointer.nearest(this.#places.keys(), where);
      if (place === undefined) continue;
      const words = place === where ? message : `${where}: ${message}`;
      told.set(place, [...(told.get(place) ?? []), words]);
    }
    for (const [place, { control, fault, group }] of this.#places) {
      const words = told.get(place);
      fault.textContent = words?.join(" ") ?? "";
      fault.hidden = !words;
      if (group) set(control, "data-invalid", !!words);
      else set(control, "aria-invalid", words ? "true" : null);
    }
  }

  /**
   * Go to the control that is about a part of the value.
   * @param {string} where a pointer
   * @returns {boolean} whether there is one
   */
  reach(where) {
    const nearest = pointer.nearest(this.#places.keys(), where);
    // A key that the schema doesn't know is nowhere in the form.
    if (nearest === undefined || (nearest === "" && where !== "" && this.#places.size > 1)) return false;
    const place = this.#places.get(nearest);
    const control = place.group ? place.control.querySelector("input, select, textarea, button") : place.control;
    /** @type {HTMLElement | null} */ (control)?.focus();
    return !!control;
  }

  /**
   * A property of an object.
   * @param {Schema} parent a resolved schema
   * @param {string} name
   * @param {Path} path
   */
  #field(parent, name, path) {
    return this.#node(parent.properties[name], path, name, { required: !!parent.required?.includes(name) });
  }

  /**
   * @param {Schema} unresolved
   * @param {Path} path
   * @param {string} name
   * @param {{ required?: boolean, item?: boolean }} role
   */
  #node(unresolved, path, name, role) {
    const { schema, nullable } = resolve(unresolved, this.#schema);
    const what = kind(schema);
    if (what === "object" || what === "array") return this.#group(what, schema, nullable, path, name, role);
    return this.#leaf(schema, path, name, { ...role, nullable });
  }

  /** An object or a list: there, with its parts, or not. */
  #group(what, schema, nullable, path, name, { required = false, item = false }) {
    const group = h("fieldset", { class: "group" });
    const hint = this.#hint(schema, nullable);
    const fault = this.#fault(path, group, true);
    group.setAttribute("aria-describedby", `${hint.id} ${fault.id}`);
    const change = (value) => {
      pointer.put(this.value, path, value);
      draw();
      group.querySelector("input, select, textarea, button")?.focus();
      this.#changed();
    };
    const empty = what === "array" ? [] : initial(schema, this.#schema);
    const small = { class: "small" };
    const draw = () => {
      const here = `${pointer.format(path)}/`;
      for (const place of [...this.#places.keys()]) if (place.startsWith(here)) this.#places.delete(place);
      for (const place of [...this.#broken.keys()]) if (place.startsWith(here)) this.#broken.delete(place);
      const value = pointer.get(this.value, path);
      const fits = what === "array" ? Array.isArray(value) : isObject(value);
      const head = h("legend", {}, name, required && h("span", { class: "need" }, " required"));
      const parts = [];
      if (!fits) {
        if (value === null) parts.push(h("p", { class: "hint" }, "It is null."));
        else if (value !== undefined) parts.push(h("p", { class: "hint" }, "It is of another kind: see the JSON."));
        parts.push(
          h(
            "div",
            { class: "row" },
            button(`Add ${name}`, () => change(what === "array" ? added([]) : empty), small),
            nullable && value !== null && button(`Set ${name} to null`, () => change(null), small),
            value !== undefined && !item && button(`Leave out ${name}`, () => change(undefined), small),
          ),
        );
      } else {
        if (what === "object") {
          for (const key of Object.keys(schema.properties)) parts.push(this.#field(schema, key, [...path, key]));
        } else {
          value.forEach((_, at) => {
            const title = `${name} ${at + 1}`;
            const remove = () => change(value.filter((_, index) => index !== at));
            const node = this.#node(schema.items, [...path, at], title, { item: true });
            const label = { class: "quiet small", "aria-label": `Remove ${title}` };
            parts.push(h("div", { class: "item" }, node, button("Remove", remove, label)));
          });
        }
        parts.push(
          h(
            "div",
            { class: "row" },
            what === "array" && button(`Add to ${name}`, () => change(added(value)), small),
            !item && button(`Leave out ${name}`, () => change(undefined), { class: "quiet small" }),
          ),
        );
      }
      hint.hidden = hint.textContent === "object"; // as anyone sees
      put(group, head, hint, parts, fault);
    };
    const added = (value) => {
      const { schema: inner } = resolve(schema.items, this.#schema);
      const first = { object: () => initial(inner, this.#schema), array: () => [], string: () => "" };
      return [...value, inner.default ?? (first[kind(inner)] ?? (() => null))()];
    };
    draw();
    return group;
  }

  /** One control. */
  #leaf(schema, path, name, { required = false, item = false, nullable = false }) {
    const where = pointer.format(path);
    const what = kind(schema);
    const value = path.length ? pointer.get(this.value, path) : this.value;
    const write = (next) => {
      // An item of a list can't be left out; it is null until it is something.
      if (path.length) pointer.put(this.value, path, next === undefined && item ? null : next);
      else this.value = next ?? {};
      this.#changed();
    };
    const control = this.#control(what, schema, nullable, value, write, where);
    const id = (control.id = uid());
    const hint = this.#hint(schema, nullable);
    const fault = this.#fault(path, control);
    control.setAttribute("aria-describedby", `${hint.id} ${fault.id}`);
    if (required) control.setAttribute("aria-required", "true");
    const extra = [];
    if (schema.format === "uuid" && crypto.randomUUID) {
      const make = () => {
        control.value = crypto.randomUUID();
        write(control.value);
      };
      extra.push(button("New", make, { class: "small", "aria-label": `New ${name}` }));
    }
    if (nullable && !["enum", "boolean", "json"].includes(what)) {
      const box = h("input", { type: "checkbox", checked: value === null, "aria-label": `${name} is null` });
      const change = () => {
        control.disabled = box.checked;
        write(box.checked ? null : read(what, control.value));
      };
      box.addEventListener("change", change);
      control.disabled = box.checked;
      extra.push(h("span", { class: "row" }, box, h("span", { class: "soft", "aria-hidden": "true" }, "null")));
    }
    return h(
      "div",
      { class: "field" },
      h("div", { class: "head" }, h("label", { for: id }, name), required && h("span", { class: "need" }, "required")),
      hint,
      extra.length ? h("div", { class: "with" }, control, extra) : control,
      fault,
    );
  }

  #control(what, schema, nullable, value, write, where) {
    if (what === "enum" || what === "boolean") {
      const choices = what === "boolean" ? [true, false] : options(schema);
      const all = [undefined, ...choices, ...(nullable ? [null] : [])];
      const label = (each) => (each === undefined ? "(left out)" : typeof each === "string" ? each : JSON.stringify(each));
      const chosen = all.findIndex((each) => JSON.stringify(each) === JSON.stringify(value));
      const select = h(
        "select",
        { on: { change: () => write(all[Number(select.value)]) } },
        all.map((each, at) => h("option", { value: at }, label(each))),
      );
      select.value = String(Math.max(chosen, 0));
      return select;
    }
    if (what === "json") {
      const area = h("textarea", { class: "mono", spellcheck: "false", rows: 3 });
      area.value = value === undefined ? "" : JSON.stringify(value, null, 2);
      area.addEventListener("input", () => {
        this.#broken.delete(where);
        try {
          write(area.value.trim() === "" ? undefined : JSON.parse(area.value));
        } catch (error) {
          this.#broken.set(where, `This is not JSON: ${error.message}`);
          this.#changed();
        }
      });
      return area;
    }
    const number = what === "number" || what === "integer";
    const long = what === "string" && schema.maxLength > LINE;
    const control = long ? h("textarea", { rows: 2 }) : h("input", { type: number ? "number" : "text" });
    if (number) set(control, "step", what === "integer" ? 1 : "any");
    if (schema.writeOnly || schema.format === "password" || SECRET.test(where)) control.type = "password";
    set(control, "autocomplete", "off");
    control.value = value == null ? "" : typeof value === "object" ? JSON.stringify(value) : String(value);
    control.addEventListener("input", () => write(read(what, control.value)));
    return control;
  }

  #hint(schema, nullable) {
    const { description } = schema;
    const words = describe(schema, nullable);
    return h("p", { class: "hint", id: uid() }, description && [h("span", { class: "doc" }, description), " "], words);
  }

  #fault(path, control, group = path.length === 0 && control === this.element) {
    const fault = h("p", { class: "fault", id: uid(), hidden: true });
    this.#places.set(pointer.format(path), { control, fault, group });
    return fault;
  }
}

const isObject = (value) => value !== null && typeof value === "object" && !Array.isArray(value);
