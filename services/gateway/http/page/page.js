// Asks one question, shows the answer as it comes, and the stages that it passes. Whatever a server sends is shown as
// text, never as markup. Read next: stream.js (the answer in the making), citations.js, texts.js.

import { currentKey, fetchWithKey, NoAccessError, useKey } from "/access.js";
import { linesOf, plainLine } from "/citations.js";
import { byId, element, ms, number } from "/elements.js";
import { drawReplicas, rungText } from "/replicas.js";
import { drawStages, layStages, showTimings, watchStages } from "/stages.js";
import { follow, RefusedError, ShownText } from "/stream.js";
import { currentLanguage, NAMES, textOf, translate } from "/texts.js";

const LINK_EVERY_MS = 5000;

async function getJson(path) {
  const response = await fetchWithKey(path);
  if (!response.ok) throw new Error(`${path}: ${response.status}`);
  return response.json();
}

// The site: its stages and tenant, the other sites of this machine, the link to the cloud, questions that it can answer.

let site = null;

async function loadSite() {
  site ??= await getJson("/v1/site");
  document.title = `Tidegate · ${site.site}`;
  byId("sites").querySelector("ul").replaceChildren(...site.sites.map(({ name, url }) => {
    const item = element("li");
    const link = element("a", name);
    link.href = name === site.site ? "/" : `${addressOf(url)}#${new URLSearchParams({ key: currentKey() })}`;
    if (name === site.site) link.setAttribute("aria-current", "page");
    item.append(link);
    return item;
  }));
  layStages(site.stages);
}

// A site that listens on the loopback of its machine is reached under the name by which this page was.
function addressOf(url) {
  const address = new URL(url, location.href);
  if (["127.0.0.1", "localhost", "[::1]"].includes(address.hostname)) address.hostname = location.hostname;
  return address.href;
}

let linkState = null;

async function checkLink() {
  const before = linkState?.is_up;
  linkState = await getJson("/v1/site/link").catch(() => null);
  drawLink();
  if (before !== undefined && linkState && linkState.is_up !== before) announce(byId("link-text").textContent);
}

function drawLink() {
  byId("link").dataset.state = linkState === null ? "unknown" : linkState.is_up ? "up" : "down";
  const rtt = linkState?.rtt_ms ?? null;
  byId("link-text").textContent = textOf(`link_${byId("link").dataset.state}`) + (rtt === null ? "" : `, ${ms(rtt)}`);
}

let replicas = null;

async function checkReplicas() {
  const before = replicas?.is_known && replicas.rung;
  replicas = await getJson("/v1/site/replicas").catch(() => null);
  drawReplicas(replicas);
  if (before && replicas?.is_known && replicas.rung !== before) announce(`${textOf("rung")}: ${rungText(replicas)}`);
}

async function keepLinkChecked() {
  for (;;) {
    if (document.visibilityState === "visible") await Promise.all([checkLink(), checkReplicas()]);
    await new Promise((resolve) => setTimeout(resolve, LINK_EVERY_MS));
  }
}

async function loadExamples() {
  const { language, questions } = await getJson(`/v1/site/questions?language=${currentLanguage()}`);
  byId("examples").hidden = questions.length === 0;
  byId("examples").querySelector("ul").replaceChildren(...questions.map((question) => {
    const item = element("li");
    const button = element("button", question);
    button.type = "button";
    button.lang = language;
    button.addEventListener("click", () => { byId("question").value = question; submit(); });
    item.append(button);
    return item;
  }));
}

// The answer in the making, and the answer.

let published = null;

function announce(text) {
  byId("status").textContent = text;
}

function chip(id, kind, text) {
  byId(id).dataset.kind = kind;
  byId(id).textContent = text;
}

function showDelta(shown, delta) {
  const wasProvisional = shown.provisional !== "";
  shown.take(delta);
  byId("answer").hidden = false;
  byId("committed").textContent = shown.committed;
  byId("provisional").textContent = shown.provisional;
  const state = shown.provisional ? "provisional" : "committed";
  chip("outcome", state, textOf(state));
  if (shown.provisional && !wasProvisional) announce(textOf("is_provisional"));
  const isTakenBack = delta.state === "retracted" || delta.state === "withdrawn";
  if (isTakenBack && shown.retracted) {
    byId("retracted").hidden = false;
    byId("retracted").querySelector("del").textContent = shown.retracted;
    announce(textOf(delta.state === "withdrawn" ? "was_withdrawn" : "was_taken_back"));
  }
}

function showAnswer() {
  const { receipt, text } = published;
  byId("answer").hidden = false;
  byId("committed").textContent = text;
  byId("provisional").textContent = "";
  byId("text").lang = published.language || "";
  chip("outcome", published.outcome, textOf(published.outcome));
  chip("route", receipt.route, textOf(receipt.route));
  const share = `${Math.round((published.confidence ?? 0) * 100)} %`;
  byId("confidence").textContent = published.confidence ? textOf("sure", { share }) : "";
  const total = showTimings(published.timings ?? []);
  byId("total").textContent = ms(total);
  showCitations(published);
  showSuggestions(published);
  showNotices(published);
  showReceipt(published);
  announce(`${textOf(published.outcome)}, ${textOf(receipt.route)}, ${ms(total)}. ${[text, ...(published.notices ?? [])].join(" ")}`);
}

function showCitations({ citations = [], text, language }) {
  byId("evidence").hidden = citations.length === 0;
  byId("citations").replaceChildren(...linesOf(citations, text).map(({ citation, lines }) => {
    const item = element("li");
    const { document_id, document_version, start, end, page } = citation;
    const where = page ? `${textOf("page")} ${page}` : `${start}–${end}`;
    const quote = element("q", lines.join("\n"));
    quote.lang = language || "";
    const about = [`${document_id}@${document_version} ${where}`, ...notesOn(citation)].join(", ");
    item.append(quote, element("cite", about));
    return item;
  }));
}

// What is to be known of a source: how it was read, who signed it, and whether it may be out of date.
function notesOn({ is_recognised, signer, is_fresh = true }) {
  return [
    is_recognised && textOf("recognised"), signer && textOf("signed", { who: signer }), !is_fresh && textOf("aged"),
  ].filter(Boolean);
}

// What is near to a question without an answer. Each can be opened by keyboard: a summary is in the tab order.
function showSuggestions({ suggestions = [], language }) {
  byId("related").hidden = suggestions.length === 0;
  byId("suggestions").replaceChildren(...suggestions.map((suggestion) => {
    const { document_id, title, heading, page, quote } = suggestion;
    const item = element("li");
    const details = element("details");
    const names = [title || document_id, heading, page && `${textOf("page")} ${page}`, ...notesOn(suggestion)];
    const where = names.filter(Boolean).join(" · ");
    const lines = linesOf([{ ...suggestion, document_id }], "").flatMap((each) => each.lines);
    const words = element("blockquote", lines.map(plainLine).join("\n"));
    words.lang = language || "";
    words.dir = "auto";
    details.append(element("summary", where), words);
    item.append(details);
    return item;
  }));
}

// What the policies oblige whoever shows the answer to show with it.
function showNotices({ notices = [], language }) {
  byId("notices").hidden = notices.length === 0;
  byId("notices").lang = language || "";
  byId("notices").textContent = notices.join("\n");
}

function showReceipt({ rid, reason, receipt }) {
  const { plan, is_cut } = receipt;
  const named = (list, of) => list?.map(of).join(", ");
  const facts = {
    rid,
    site: receipt.site,
    plan: plan && `${plan.where}, ${plan.mode ?? "edge_only"}, ${plan.model}, k = ${plan.k}: ${plan.reason}`,
    reason,
    rewriting: receipt.rewriting && `${receipt.rewriting.question} (${receipt.rewriting.by})`,
    finished_by: receipt.finished_by && textOf(receipt.finished_by) + (is_cut ? `, ${textOf("cut")}` : ""),
    degradations: named(receipt.degradations, ({ stage, level, reason }) => `${stage}: ${level}${reason ? `, ${reason}` : ""}`),
    decisions: named(receipt.decisions, ({ rule, verb }) => `${rule}: ${verb}`),
    checks: named(receipt.checks, ({ name, passed, score }) => `${passed ? "✓" : "✗"} ${name} ${number(score, 2)}`),
    lineage: named(receipt.lineage, ({ kind, id, version, epoch }) => `${kind} ${id}@${version}${epoch ? `, epoch ${epoch}` : ""}`),
  };
  byId("receipt").hidden = false;
  byId("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value)
    .flatMap(([key, value]) => [element("dt", textOf(key)), element("dd", value)]));
  byId("record").textContent = JSON.stringify(published, null, 2);
}

function clear() {
  published = null;
  for (const id of ["answer", "notices", "evidence", "related", "fault", "receipt", "retracted"]) byId(id).hidden = true;
  byId("receipt").open = false;
  for (const id of ["committed", "provisional", "outcome", "route", "confidence", "total", "record", "fault"]) {
    byId(id).textContent = "";
  }
  announce(textOf("asking"));
}

let isAsking = false;

async function submit() {
  const text = byId("question").value;
  if (isAsking || !text.trim()) return;
  setAsking(true);
  clear();
  let source = null;
  try {
    if (!site) await loadSite();
    layStages(site.stages);
    const rid = crypto.getRandomValues(new Uint8Array(16)).reduce((hex, byte) => hex + byte.toString(16).padStart(2, "0"), "");
    source = watchStages(rid);
    const shown = new ShownText();
    const asked = { rid, text, tenant: site.tenant, budget_ms: Number(byId("budget").value) };
    published = await follow(asked, (delta) => showDelta(shown, delta), () => announce(textOf("broken")));
    showAnswer();
  } catch (error) {
    showFault(error);
  } finally {
    source?.close();
    setAsking(false);
  }
}

// Without a key that the site takes, nothing can be asked: then one is asked for.
function showFault(error) {
  if (error instanceof NoAccessError) {
    announce("");
    byId("access").hidden = false;
    byId("access-key").focus();
    return;
  }
  const isRefused = error instanceof RefusedError;
  announce("");
  byId("provisional").textContent = byId("outcome").textContent = "";
  byId("answer").hidden = byId("committed").textContent === "";
  byId("fault").lang = isRefused ? "en" : currentLanguage();
  byId("fault").textContent = isRefused ? error.message : textOf(site ? "gone" : "no_site");
  byId("fault").hidden = false;
}

function setAsking(now) {
  isAsking = now;
  document.body.classList.toggle("asking", now);
  byId("send").setAttribute("aria-disabled", String(now));
}

function chooseLanguage(language) {
  translate(language);
  drawLink();
  drawReplicas(replicas);
  drawStages(published !== null);
  if (published) showAnswer();
  loadExamples().catch(() => { byId("examples").hidden = true; });
}

byId("language").append(...Object.entries(NAMES).map(([tag, name]) => new Option(name, tag, false, tag === currentLanguage())));
for (const option of byId("language").options) option.lang = option.value;
byId("language").addEventListener("change", (event) => chooseLanguage(event.target.value));
byId("form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
byId("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); byId("form").requestSubmit(); }
});
byId("access").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("access-key").value);
  byId("access-key").value = "";
  byId("access").hidden = true;
  enter();
});

function enter() {
  chooseLanguage(currentLanguage());
  loadSite().catch((error) => { drawLink(); if (error instanceof NoAccessError) showFault(error); });
}

enter();
keepLinkChecked();
