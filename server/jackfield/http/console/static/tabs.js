/** Tabs: one of several panels is shown (WAI-ARIA, tabs pattern). */

import { h, set, uid } from "./dom.js";

/**
 * @param {string} label what the tabs are about
 * @param {{ name: string, panel: HTMLElement, shown?: () => void }[]} tabs
 * @returns {{ bar: HTMLElement, show: (name: string) => void }}
 */
export function tabs(label, tabs) {
  let current = tabs[0].name;
  const buttons = tabs.map(({ name, panel }) => {
    const button = h("button", { type: "button", role: "tab", id: uid(), on: { click: () => show(name) } }, name);
    panel.id ||= uid();
    panel.setAttribute("role", "tabpanel");
    panel.setAttribute("aria-labelledby", button.id);
    button.setAttribute("aria-controls", panel.id);
    return button;
  });
  const draw = () =>
    tabs.forEach(({ name, panel }, at) => {
      const chosen = name === current;
      set(buttons[at], "aria-selected", String(chosen));
      set(buttons[at], "tabindex", chosen ? 0 : -1);
      panel.hidden = !chosen;
    });
  const show = (name) => {
    if (name === current) return;
    current = name;
    draw();
    tabs.find((tab) => tab.name === name)?.shown?.();
  };
  const keydown = (event) => {
    const at = buttons.indexOf(event.target);
    const next = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (next === undefined || at < 0) return;
    event.preventDefault();
    const wrapped = (next + buttons.length) % buttons.length;
    buttons[wrapped].focus();
    show(tabs[wrapped].name);
  };
  draw();
  return {
    bar: h("div", { class: "tabs", role: "tablist", "aria-label": label, on: { keydown } }, buttons),
    show,
  };
}
