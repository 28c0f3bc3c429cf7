/** A line over the last minute, drawn anew once a second. */

import { h, say, set, svg } from "./dom.js";

const WIDTH = 300;
const HEIGHT = 100;

export class Chart {
  #now = h("output", {});
  #area = svg("path", { class: "area" });
  #lines;
  #span;

  /**
   * @param {object} options
   * @param {string} options.title
   * @param {number} options.span how many values wide it is
   * @param {string[]} [options.names] what its lines are, if there are two
   */
  constructor({ title, span, names = [] }) {
    this.#span = span;
    this.#lines = [svg("path", {}), ...(names.length > 1 ? [svg("path", { class: "second" })] : [])];
    const swatch = (name, at) => h("span", {}, h("span", { class: at ? "swatch second" : "swatch" }), name);
    this.element = h(
      "figure",
      { class: "chart" },
      h("figcaption", {}, h("strong", {}, title), names.map(swatch), this.#now),
      // What it shows stands in the caption, in words.
      svg(
        "svg",
        { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true", focusable: "false" },
        this.#area,
        this.#lines,
      ),
    );
  }

  /**
   * @param {(number | null)[][]} series the values of each line, the newest last; null where there is none
   * @param {string} words the same in words
   */
  draw(series, words) {
    say(this.#now, words);
    const top = roof(Math.max(1, ...series.flat().filter((value) => value !== null)));
    series.forEach((values, at) => set(this.#lines[at], "d", this.#path(values, top)));
    set(this.#area, "d", closed(this.#path(series[0], top)));
  }

  #path(values, top) {
    const start = this.#span - values.length;
    let path = "";
    values.forEach((value, at) => {
      if (value === null) return;
      const x = ((start + at) / (this.#span - 1)) * WIDTH;
      const y = HEIGHT - 4 - (value / top) * (HEIGHT - 12);
      path += `${path ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
    });
    return path;
  }
}

/** A round number that is no less: the line does not jump with each new highest value. */
function roof(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return power * ([1, 2, 5, 10].find((step) => step * power >= value) ?? 10);
}

function closed(path) {
  const points = path.match(/[\d.]+ [\d.]+/g);
  if (!points) return "";
  const x = (point) => point.split(" ")[0];
  return `${path}L${x(points.at(-1))} ${HEIGHT}L${x(points[0])} ${HEIGHT}Z`;
}
