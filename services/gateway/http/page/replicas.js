// What the site holds, how old it is and what it may do with it, as its sync worker says. Nothing is shown where none
// runs. Read next: page.js, which asks; texts.js.

import { byId, duration, element } from "/elements.js";
import { textOf } from "/texts.js";

// Shows a summary; null: the site was not reached, so that nothing is known.
export function drawReplicas(summary) {
  byId("knowledge").hidden = !summary?.is_known;
  if (!summary?.is_known) return;
  byId("standing").replaceChildren(...Object.entries(standingOf(summary)).filter(([, value]) => value)
    .flatMap(([key, value]) => [element("dt", textOf(key)), element("dd", value)]));
  byId("standing").querySelector("dd").dataset.rung = summary.rung;
  const hasSeveral = new Set(summary.collections.map(({ tenant }) => tenant)).size > 1;
  byId("collections").replaceChildren(...summary.collections.map((each) => collectionRow(each, hasSeveral)));
}

export const rungText = (summary) => textOf(`rung_${summary.rung}`);

function standingOf(summary) {
  const { lease_s: lease, policies, rung_reason: reason, switches } = summary;
  return {
    rung: rungText(summary) + (reason ? `: ${reason}` : "") + (summary.is_fenced ? `, ${textOf("fenced")}` : ""),
    quotes_only: switches.map(({ scope, why }) => `${scope}: ${why}`).join(", "),
    lease: lease === null ? "" : lease > 0 ? duration(lease) : textOf("ended"),
    policies: policies.map(({ name, epoch, offered }) =>
      `${name} ${epoch}${offered > epoch ? ` (${textOf("offered", { epoch: offered })})` : ""}`).join(", "),
  };
}

function collectionRow(collection, hasSeveral) {
  const { tenant, name, generation, lag, documents, conflicts, pending } = collection;
  const row = element("li");
  const title = element("div", "", "title");
  const chip = element("span", freshnessOf(collection), "chip");
  chip.dataset.kind = collection.is_fresh ? "fresh" : "stale";
  title.append(element("span", hasSeveral ? `${tenant}/${name}` : name, "name"), chip);
  const counts = { generation, documents, ...filled({ behind: lag, conflicts, unsent: pending }) };
  const text = Object.entries(counts).map(([key, count]) => `${textOf(key)} ${count}`).join(" · ");
  row.append(title, element("div", text, "counts"));
  return row;
}

const filled = (counts) => Object.fromEntries(Object.entries(counts).filter(([, count]) => count > 0));

function freshnessOf({ is_fresh: isFresh, age_s: age }) {
  if (age === null) return textOf(isFresh ? "fresh" : "never_whole");
  return `${textOf(isFresh ? "fresh" : "outdated")}, ${duration(age)}`;
}
