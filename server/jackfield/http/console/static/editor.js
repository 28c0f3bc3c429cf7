/** A payload to write, as a form and as JSON: two views of one value. */

import { button, h, set, uid } from "./dom.js";
import { SchemaForm } from "./form.js";
import { initial } from "./schema.js";
import { tabs } from "./tabs.js";

export class PayloadEditor {
  #schema = {};
  /** Called when something was typed. @type {() => void} */
  changed = () => {};
  #form = new SchemaForm(() => {
    this.#write();
    this.changed();
  });
  #text;
  #fault = h("p", { class: "fault", id: uid(), hidden: true });
  #tabs;
  #broken = "";

  /** @param {string} label what it is for: the name of its tabs, and part of the JSON's */
  constructor(label) {
    const id = uid();
    this.#text = h("textarea", {
      class: "mono",
      id,
      rows: 12,
      spellcheck: "false",
      "aria-describedby": this.#fault.id,
      on: { input: () => this.#typed() },
    });
    const form = h("div", {}, this.#form.element);
    const json = h(
      "div",
      { class: "field" },
      h("div", { class: "row" }, h("label", { for: id, class: "grow" }, `${label} as JSON`), this.#tidyButton()),
      this.#text,
      this.#fault,
    );
    this.#tabs = tabs(label, [
      { name: "Form", panel: form, shown: () => this.#draw() },
      { name: "JSON", panel: json },
    ]);
    this.element = h("div", { class: "stack" }, this.#tabs.bar, form, json);
  }

  /**
   * Begin with a value, or with what the schema asks for at least.
   * @param {Record<string, any>} schema
   * @param {Record<string, any>} [value]
   */
  load(schema, value) {
    this.#schema = schema;
    this.#form.value = structuredClone(value ?? initial(schema, schema));
    this.#broken = "";
    this.#blameText("");
    this.#draw();
    this.#write();
  }

  get value() {
    return this.#form.value;
  }

  /** What is typed and can't be sent; none if all of it can. */
  get faults() {
    if (this.#broken) return [{ pointer: "", code: "invalid_json", message: this.#broken }];
    return this.#form.broken;
  }

  /**
   * Show what is wrong where it is wrong.
   * @param {{ pointer: string, message: string }[]} faults none to show nothing
   */
  blame(faults) {
    this.#form.blame(faults);
    const words = faults.map(({ pointer, message }) => (pointer ? `${pointer}: ${message}` : message));
    this.#blameText(words.join(" "));
  }

  /** Go to what a pointer is about. @param {string} pointer */
  reach(pointer) {
    if (!this.#broken) this.#tabs.show("Form");
    if (this.#broken || !this.#form.reach(pointer)) {
      this.#tabs.show("JSON");
      this.#text.focus();
    }
  }

  #draw() {
    if (!this.#broken) this.#form.show(this.#schema, this.#form.value);
  }

  #write() {
    this.#text.value = JSON.stringify(this.#form.value, null, 2);
  }

  #typed() {
    this.#broken = "";
    try {
      const value = this.#text.value.trim() === "" ? {} : JSON.parse(this.#text.value);
      if (value === null || typeof value !== "object" || Array.isArray(value)) {
        this.#broken = "A payload is an object.";
      } else this.#form.value = value;
    } catch (error) {
      this.#broken = `This is not JSON: ${error.message}`;
    }
    this.#blameText(this.#broken);
    this.changed();
  }

  #blameText(words) {
    this.#fault.textContent = words;
    this.#fault.hidden = !words;
    set(this.#text, "aria-invalid", words ? "true" : null);
  }

  #tidyButton() {
    const tidy = () => {
      if (!this.#broken) this.#write();
    };
    return button("Tidy", tidy, { class: "quiet small" });
  }
}
