/**
 * A list of any length, of which only the rows in sight are in the page. What is added is drawn once
 * a frame, however much it is.
 */

import { h, set, uid } from "./dom.js";
import { Ring } from "./ring.js";

// Pixels: `.line` in parts.css has this height.
const ROW = 30;
// Rows beyond what is in sight, so that scrolling shows no blanks.
const SPARE = 6;
// Pixels from the end that still count as the end.
const NEAR = 4;

/** @template Item */
export class VirtualList {
  #ring;
  /** @type {Ring} What is shown: the ring itself, or a copy while it is paused. */
  #view;
  #draw;
  #changed;
  #id = uid();
  #rows = [];
  #inner = h("div", { role: "presentation" });
  #scheduled = false;
  #follow = true;
  #drawnFirst = 0;
  #drawnHeight = -1;
  #selected = -1;
  /** Where this put it last: any other place the reader has scrolled to. */
  #top = 0;

  /**
   * @param {object} options
   * @param {string} options.label
   * @param {number} [options.capacity] how many items are kept
   * @param {boolean} [options.short]
   * @param {(item: Item) => { class?: string, cells: (Node | string)[] }} options.draw
   * @param {(item: Item | undefined) => void} options.pick called with what the reader has chosen
   * @param {() => void} options.changed called when it follows no longer, or again
   */
  constructor({ label, capacity = 10_000, short = false, draw, pick, changed }) {
    this.#ring = this.#view = new Ring(capacity);
    this.#draw = draw;
    this.#changed = changed;
    this.pick = pick;
    this.element = h(
      "div",
      {
        class: short ? "long short" : "long",
        role: "listbox",
        tabindex: 0,
        "aria-label": label,
        on: {
          scroll: () => this.#scrolled(),
          keydown: (event) => this.#key(event),
          click: (event) => this.#click(event),
        },
      },
      this.#inner,
    );
    new ResizeObserver(() => this.#schedule()).observe(this.element);
  }

  get items() {
    return this.#ring;
  }

  /** How many have come since it was paused. */
  get behind() {
    return this.#ring.end - this.#view.end;
  }

  get paused() {
    return this.#view !== this.#ring;
  }

  set paused(paused) {
    if (paused === this.paused) return;
    this.#view = paused ? this.#ring.copy() : this.#ring;
    this.#schedule();
  }

  /** Whether it stays at the end as items are added. */
  get follow() {
    return this.#follow;
  }

  set follow(follow) {
    this.#follow = follow;
    this.#schedule();
  }

  push(item) {
    this.#ring.push(item);
    if (!this.paused) this.#schedule();
  }

  /** @returns {number} how many there was room for */
  prepend(items) {
    if (this.paused) this.#view.prepend(items);
    const room = this.#ring.prepend(items);
    this.#schedule();
    return room;
  }

  clear() {
    this.#ring.clear();
    this.#view = this.#ring;
    this.#drawnFirst = this.#ring.first;
    this.#select(-1);
    this.#schedule();
  }

  #schedule() {
    if (this.#scheduled) return;
    this.#scheduled = true;
    requestAnimationFrame(() => {
      this.#scheduled = false;
      this.#render();
    });
  }

  /** All that is read is read first and the scrolling comes last, so that it takes one layout. */
  #render() {
    const { element } = this;
    const view = this.#view;
    const height = element.clientHeight;
    if (!height) return; // not shown: the observer tells when it is
    const before = element.scrollTop;
    const all = view.length * ROW;
    const end = Math.max(0, all - height);
    let top = end;
    // What is in sight stays where it is, though others before it went or came.
    if (!this.#follow) top = Math.min(Math.max(0, before - (view.first - this.#drawnFirst) * ROW), end);
    this.#drawnFirst = view.first;
    if (all !== this.#drawnHeight) {
      this.#inner.style.height = `${all}px`;
      this.#drawnHeight = all;
    }
    const from = view.first + Math.max(0, Math.floor(top / ROW) - SPARE);
    const to = Math.min(view.end, view.first + Math.ceil((top + height) / ROW) + SPARE);
    this.#show(view, from, to);
    this.#top = top;
    if (Math.abs(top - before) >= 1) element.scrollTop = top;
  }

  /** Rows stand in the page in the order they are seen in, as that is how they are read out. */
  #show(view, from, to) {
    const rows = this.#rows;
    while (rows.length < to - from) {
      const element = h("div", { class: "line", role: "option", id: `${this.#id}-${rows.length}` });
      rows.push({ element, number: -1, item: undefined, y: -1 });
      this.#inner.append(element);
    }
    let active = null;
    rows.forEach((row, at) => {
      const { element } = row;
      const number = from + at;
      const item = number < to ? view.get(number) : undefined;
      if (row.item !== item) {
        const { class: name = "", cells } = item === undefined ? { cells: [] } : this.#draw(item);
        element.className = `line ${name}`;
        // The spaces are for who hears it.
        element.replaceChildren(...cells.flatMap((cell) => [cell, " "]));
        element.hidden = item === undefined;
        row.item = item;
      }
      row.number = number;
      if (item === undefined) return;
      const y = (number - view.first) * ROW;
      if (row.y !== y) {
        element.style.transform = `translateY(${y}px)`;
        row.y = y;
      }
      set(element, "aria-posinset", number - view.first + 1);
      set(element, "aria-setsize", view.length);
      set(element, "aria-selected", String(number === this.#selected));
      if (number === this.#selected) active = element.id;
    });
    set(this.element, "aria-activedescendant", active);
  }

  #scrolled() {
    const { scrollTop, scrollHeight, clientHeight } = this.element;
    if (Math.abs(scrollTop - this.#top) < 1) return; // it was us
    const end = scrollTop + clientHeight >= scrollHeight - NEAR;
    if (end !== this.#follow) {
      this.#follow = end;
      this.#changed();
    }
    this.#schedule();
  }

  #select(number) {
    this.#selected = number;
    this.pick(this.#view.get(number));
    this.#schedule();
  }

  #click(event) {
    const element = event.target.closest(".line");
    const row = this.#rows.find((each) => each.element === element);
    if (row) this.#select(row.number);
  }

  #key(event) {
    const view = this.#view;
    if (!view.length || event.altKey || event.ctrlKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.element.clientHeight / ROW) - 1);
    const here = this.#selected >= view.first && this.#selected < view.end;
    const at = here ? this.#selected : view.end;
    const next = {
      ArrowDown: at + 1,
      ArrowUp: at - 1,
      PageDown: at + page,
      PageUp: at - page,
      Home: view.first,
      End: view.end - 1,
    }[event.key];
    if (event.key === "Escape" && here) return this.#select(-1);
    if (next === undefined) return;
    event.preventDefault();
    const number = Math.min(Math.max(next, view.first), view.end - 1);
    this.#follow = number === view.end - 1;
    this.#changed();
    const y = (number - view.first) * ROW;
    const { scrollTop, clientHeight } = this.element;
    if (y < scrollTop) this.element.scrollTop = y;
    else if (y + ROW > scrollTop + clientHeight) this.element.scrollTop = y + ROW - clientHeight;
    this.#top = this.element.scrollTop;
    this.#select(number);
  }
}
