// The stages of a question, as the site lists them, with the time that each took. Read next: page.js.

import { fetchWithKey } from "/access.js";
import { byId, element, ms } from "/elements.js";
import { blocksOf } from "/stream.js";
import { textOf } from "/texts.js";

let stages = [];
let timings = new Map();
let newestFact = "";

// Shows these stages, none of them begun.
export function layStages(listed) {
  stages = listed;
  timings = new Map();
  newestFact = "";
  byId("stages").replaceChildren(...stages.map(stageRow));
  drawStages(false);
}

function stageRow({ name, where }) {
  const row = element("li");
  row.dataset.stage = name;
  row.dataset.where = where;
  const bar = element("span", "", "bar");
  bar.append(element("span", "", "waited"), element("span", "", "worked"));
  row.append(element("span", name, "name"), element("span", "", "ms"), bar);
  return row;
}

const rowOf = (stage) => byId("stages").querySelector(`[data-stage="${CSS.escape(stage)}"]`);

// Takes in what a stage took. One that is not listed stands before the last one.
function setTiming({ stage, waited_ms, worked_ms }) {
  if (!rowOf(stage)) {
    const row = { name: stage, where: "edge", reads: [] };
    stages = [...stages.slice(0, -1), row, ...stages.slice(-1)];
    byId("stages").lastElementChild.before(stageRow(row));
  }
  timings.set(stage, { waited_ms, worked_ms });
}

// The stage that did the work of this one: it reads the same facts, and it was faster.
const substituteOf = (stage) => stages.find((other) =>
  other !== stage && timings.has(other.name) && other.reads.some((fact) => stage.reads.includes(fact)));

// Shows all times, and returns their sum: those of the finished answer.
export function showTimings(lines) {
  timings = new Map();
  lines.forEach(setTiming);
  drawStages(true);
  return [...timings.values()].reduce((sum, { waited_ms, worked_ms }) => sum + waited_ms + worked_ms, 0);
}

// Bars are drawn against the sum of all times, so that the stage that took most is seen at once.
export function drawStages(isOver) {
  const total = [...timings.values()].reduce((sum, spent) => sum + spent.waited_ms + spent.worked_ms, 0) || 1;
  const furthest = stages.findLastIndex(({ name }) => timings.has(name));
  stages.forEach((stage, index) => {
    const row = rowOf(stage.name);
    const spent = timings.get(stage.name);
    const isNext = stage.reads.includes(newestFact);
    row.dataset.state = spent ? "done" : index < furthest || isOver ? "passed" : isNext ? "next" : "";
    const substitute = row.dataset.state === "passed" && substituteOf(stage);
    row.querySelector(".ms").textContent = spent ? ms(spent.waited_ms + spent.worked_ms)
      : substitute ? textOf("instead", { stage: substitute.name })
      : row.dataset.state === "passed" ? textOf("unneeded") : "";
    row.querySelector(".bar .waited").style.width = `${spent ? (100 * spent.waited_ms) / total : 0}%`;
    row.querySelector(".bar .worked").style.width = `${spent ? (100 * spent.worked_ms) / total : 0}%`;
  });
}

// Shows each stage as it is done; the source is to be closed.
export function watchStages(rid) {
  const control = new AbortController();
  readStages(rid, control.signal).catch(() => {}); // the answer has all times: they are shown with it
  return { close: () => control.abort() };
}

// An event source cannot show a key: the events are read as what they are, blocks of lines.
async function readStages(rid, signal) {
  const response = await fetchWithKey(`/v1/requests/${rid}/events`, { signal });
  if (!response.ok) return;
  for await (const block of blocksOf(response.body, () => {})) {
    const lines = block.split("\n");
    if (!lines.includes("event: stage")) continue;
    const { stage, fact, spent } = JSON.parse(lines.find((line) => line.startsWith("data:")).slice(5));
    newestFact = fact || newestFact;
    if (stage !== "gateway") setTiming({ stage, ...spent });
    drawStages(false);
  }
}
