// What every part of the page builds with. Text is set as text, never as markup.

import { currentLanguage } from "/texts.js";

export const byId = (id) => document.getElementById(id);
export const number = (value, digits) => value.toLocaleString(currentLanguage(), { maximumFractionDigits: digits });
export const ms = (value) => `${number(value, value < 10 ? 1 : 0)} ms`;

export function element(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}
