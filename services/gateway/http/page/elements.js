// What every part of the page builds with. Text is set as text, never as markup.

import { currentLanguage } from "/texts.js";

export const byId = (id) => document.getElementById(id);
export const number = (value, digits) => value.toLocaleString(currentLanguage(), { maximumFractionDigits: digits });
export const ms = (value) => `${number(value, value < 10 ? 1 : 0)} ms`;

const UNITS = [[120, "second", 1], [7200, "minute", 60], [172800, "hour", 3600], [Infinity, "day", 86400]];

// So many seconds, in the largest unit of which there are two at least.
export function duration(seconds) {
  const [, unit, size] = UNITS.find(([limit]) => seconds < limit);
  const options = { style: "unit", unit, maximumFractionDigits: 0 };
  return Math.floor(seconds / size).toLocaleString(currentLanguage(), options);
}

export function element(name, text = "", className = "") {
  const node = document.createElement(name);
  node.textContent = text;
  if (className) node.className = className;
  return node;
}
