/** A long list with what one does to it: follow, pause, clear, and look at one item. */

import { button, h, say, set } from "./dom.js";
import { jsonBlock } from "./json_view.js";
import { VirtualList } from "./virtual_list.js";
import { count, many, time } from "./words.js";

// Milliseconds between two looks at how many there are: faster, and nobody reads it.
const LOOK = 250;

export class ListView {
  #count = h("p", { class: "soft count" });
  #follow;
  #pause;
  #detail = h("div", {});
  #empty;
  #timer = 0;
  #noun;
  #rates = [];
  #total = 0;

  /**
   * @param {object} options
   * @param {string} options.label
   * @param {string} options.noun what one item is called
   * @param {string} options.empty what to say while there is none
   * @param {(item: any) => { class?: string, cells: any[] }} options.draw
   * @param {(item: any) => any} options.detail what to show of the item that is chosen
   * @param {number} [options.capacity]
   * @param {boolean} [options.short]
   * @param {any[]} [options.extra] further controls for the bar
   */
  constructor({ label, noun, empty, draw, detail, capacity, short, extra = [] }) {
    this.#noun = noun;
    this.list = new VirtualList({
      label,
      capacity,
      short,
      draw,
      pick: (item) => this.#detail.replaceChildren(...(item === undefined ? [] : [detail(item)])),
      changed: () => this.#buttons(),
    });
    this.#follow = button("Follow", () => this.#toggle("follow"), { class: "small" });
    this.#pause = button("Pause", () => this.#toggle("paused"), { class: "small" });
    const clear = button("Clear", () => this.clear(), { class: "small" });
    for (const each of [this.#follow, this.#pause, clear]) {
      each.setAttribute("aria-label", `${each.textContent} ${label.toLowerCase()}`);
    }
    this.#empty = h("p", { class: "empty" }, empty);
    this.element = h(
      "div",
      {},
      h("div", { class: "bar" }, this.#count, extra, this.#follow, this.#pause, clear),
      this.#empty,
      this.list.element,
      this.#detail,
    );
    this.#detail.className = "detail";
    this.#buttons();
    this.#look();
  }

  get items() {
    return this.list.items;
  }

  push(item) {
    this.list.push(item);
    this.#total++;
    this.#soon();
  }

  prepend(items) {
    const room = this.list.prepend(items);
    this.#total += room;
    for (const each of this.#rates) each[1] += room; // these did not come just now
    this.#soon();
    return room;
  }

  clear() {
    this.list.clear();
    this.#total = 0;
    this.#buttons();
    this.#look();
  }

  #toggle(what) {
    this.list[what] = !this.list[what];
    this.#buttons();
    this.#look();
  }

  #buttons() {
    set(this.#follow, "aria-pressed", String(this.list.follow));
    set(this.#pause, "aria-pressed", String(this.list.paused));
  }

  #soon() {
    this.#timer ||= setTimeout(() => {
      this.#timer = 0;
      this.#look();
    }, LOOK);
  }

  #look() {
    const { items, behind, paused } = this.list;
    const shown = items.length > 0;
    this.#empty.hidden = shown;
    this.list.element.hidden = !shown;
    const words = [many(this.#total, this.#noun)];
    if (this.#total > items.length && shown) words.push(`the last ${count(items.length)} kept`);
    const rate = this.#rate();
    if (rate) words.push(`${count(rate)}/s`);
    if (paused && behind > 0) words.push(`${count(behind)} more since the pause`);
    say(this.#count, words.join(" · "));
    if (rate) this.#soon();
  }

  /** How many a second came in the last second or so. */
  #rate() {
    const now = performance.now();
    this.#rates.push([now, this.#total]);
    while (this.#rates.length > 2 && now - this.#rates[0][0] > 1000) this.#rates.shift();
    const [at, total] = this.#rates[0];
    return now - at < 200 ? 0 : Math.max(0, Math.round(((this.#total - total) * 1000) / (now - at)));
  }
}

/** A list of chunks: `{ seq, at, payload }` each. @param {number} capacity how many are kept */
export const chunkList = (capacity) =>
  new ListView({
    label: "Chunks",
    noun: "chunk",
    empty: "No chunk has come yet.",
    capacity,
    short: true,
    draw: ({ seq, at, payload }) => ({
      cells: [
        h("span", { class: "number dim" }, seq),
        h("span", { class: "dim" }, time(at)),
        h("span", {}, JSON.stringify(payload)),
      ],
    }),
    detail: ({ seq, payload }) => jsonBlock(payload, `Chunk ${seq}`),
  });
