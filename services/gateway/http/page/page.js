// Asks one question and shows its way through the stages. Whatever comes from a server is set as text, never as markup.

const STAGES = ["prefilter", "router", "retriever", "drafter", "cloud-verifier", "policy", "publisher"];

const WORDS = {
  en: {},
  de: {
    skip: "Zur Frage springen", motto: "Hier beantwortet, wenn es geht, in der Cloud, wenn es sein muss.",
    ask_title: "Fragen", question: "Ihre Frage", patience: "Geduld", keys: "Strg + Eingabe fragt", send: "Fragen",
    answer: "Antwort", evidence: "Wo es steht", receipt: "Beleg", whole: "Der ganze Datensatz",
    way: "Der Weg der Frage", waited: "gewartet", worked: "gearbeitet", asking: "Die Frage ist unterwegs.",
    answered: "beantwortet", withheld: "zurückgehalten", abstained: "enthalten", edge: "vor Ort", cloud: "Cloud",
    sure: "sicher", gone: "Die Verbindung ist abgebrochen. Bitte noch einmal fragen.", skipped: "nicht nötig",
    rid: "Anfrage", site: "Standort", plan: "Plan", reason: "Grund", decisions: "Regeln", checks: "Prüfungen", lineage: "Beteiligt",
  },
  fr: {
    skip: "Aller à la question", motto: "Répondu sur place si possible, dans le nuage s’il le faut.",
    ask_title: "Demander", question: "Votre question", patience: "Patience", keys: "Ctrl + Entrée envoie", send: "Demander",
    answer: "Réponse", evidence: "Où c’est écrit", receipt: "Reçu", whole: "L’enregistrement complet",
    way: "Le chemin de la question", waited: "attente", worked: "travail", asking: "La question est en route.",
    answered: "répondu", withheld: "retenu", abstained: "abstenu", edge: "sur place", cloud: "nuage",
    sure: "sûr", gone: "La connexion a été coupée. Veuillez redemander.", skipped: "inutile",
    rid: "Demande", site: "Site", plan: "Plan", reason: "Motif", decisions: "Règles", checks: "Contrôles", lineage: "Participants",
  },
  es: {
    skip: "Ir a la pregunta", motto: "Respondido aquí si se puede, en la nube si hace falta.",
    ask_title: "Preguntar", question: "Su pregunta", patience: "Paciencia", keys: "Ctrl + Intro pregunta", send: "Preguntar",
    answer: "Respuesta", evidence: "Dónde lo dice", receipt: "Recibo", whole: "El registro completo",
    way: "El camino de la pregunta", waited: "espera", worked: "trabajo", asking: "La pregunta está en camino.",
    answered: "respondido", withheld: "retenido", abstained: "abstenido", edge: "local", cloud: "nube",
    sure: "seguro", gone: "Se cortó la conexión. Pregunte otra vez.", skipped: "no hizo falta",
    rid: "Solicitud", site: "Sitio", plan: "Plan", reason: "Motivo", decisions: "Reglas", checks: "Controles", lineage: "Participantes",
  },
};
const ENGLISH = {
  asking: "The question is on its way.", answered: "answered", withheld: "withheld", abstained: "abstained",
  edge: "edge", cloud: "cloud", sure: "sure", gone: "The connection broke. Please ask again.", skipped: "not needed",
  rid: "Request", site: "Site", plan: "Plan", reason: "Reason", decisions: "Rules", checks: "Checks", lineage: "Made with",
};

const at = (id) => document.getElementById(id);
const language = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag in WORDS) ?? "en";
const say = (key) => WORDS[language][key] ?? ENGLISH[key] ?? key;
const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;

function element(name, text = "", className = "") {
  const made = document.createElement(name);
  made.textContent = text;
  made.className = className;
  return made;
}

function translate() {
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-say]")) {
    node.textContent = WORDS[language][node.dataset.say] ?? node.textContent;
  }
}

function layStages() {
  at("stages").replaceChildren(...STAGES.map((stage) => {
    const row = element("li");
    row.dataset.stage = stage;
    row.dataset.place = stage === "cloud-verifier" ? "cloud" : "edge";
    const bar = element("span", "", "bar");
    bar.append(element("span", "", "waited"), element("span", "", "worked"));
    row.append(element("span", stage, "name"), element("span", "", "ms"), bar);
    return row;
  }));
}

const rowOf = (stage) => at("stages").querySelector(`[data-stage="${CSS.escape(stage)}"]`);

// The ledger so far, by stage. Bars are drawn against its sum, so that the stage that overspent is seen at once.
let ledger = new Map();

function light(stage, spent) {
  if (rowOf(stage)) ledger.set(stage, spent);
  draw(false);
}

function draw(isOver) {
  const total = [...ledger.values()].reduce((sum, spent) => sum + spent.waited_ms + spent.worked_ms, 0) || 1;
  const furthest = Math.max(-1, ...[...ledger.keys()].map((stage) => STAGES.indexOf(stage)));
  STAGES.forEach((stage, index) => {
    const row = rowOf(stage);
    const spent = ledger.get(stage);
    row.dataset.state = spent ? "done" : index < furthest || isOver ? "passed" : index === furthest + 1 ? "next" : "";
    row.querySelector(".ms").textContent = spent ? ms(spent.waited_ms + spent.worked_ms)
      : row.dataset.state === "passed" ? say("skipped") : "";
    row.querySelector(".bar .waited").style.width = `${spent ? (100 * spent.waited_ms) / total : 0}%`;
    row.querySelector(".bar .worked").style.width = `${spent ? (100 * spent.worked_ms) / total : 0}%`;
  });
}

function watch(rid) {
  const source = new EventSource(`/v1/requests/${rid}/events`);
  source.addEventListener("stage", (event) => {
    const { stage, spent } = JSON.parse(event.data);
    light(stage, spent);
  });
  source.addEventListener("end", () => source.close());
  return source;
}

// Yields the JSON of each event of an OpenAI stream, across every way in which the network may cut it.
async function* eventsOf(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    const lines = (rest + value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
    }
  }
}

async function ask(question, budgetMs, rid) {
  const response = await fetch("/v1/chat/completions", {
    method: "POST",
    headers: { "content-type": "application/json", "x-request-id": rid, "x-tidegate-budget-ms": budgetMs },
    body: JSON.stringify({ model: "tidegate", stream: true, messages: [{ role: "user", content: question }] }),
  });
  if (!response.ok) throw new Refused((await response.json()).error.message);
  for await (const chunk of eventsOf(response)) {
    if (chunk.error) throw new Refused(chunk.error.message);
    const delta = chunk.choices[0]?.delta.content;
    if (delta) {
      at("answer").hidden = false;
      at("text").textContent += delta;
    }
    if (chunk.tidegate) return chunk.tidegate;
  }
  throw new Error("the stream ended before the answer");
}

class Refused extends Error {}

function chip(id, kind, text) {
  at(id).dataset.kind = kind;
  at(id).textContent = text;
}

function show(published) {
  const { receipt } = published;
  at("answer").hidden = false;
  at("text").textContent = published.text;
  at("text").lang = published.language || "";
  chip("outcome", published.outcome, say(published.outcome));
  chip("route", receipt.route, say(receipt.route));
  at("confidence").textContent = published.confidence ? `${Math.round(published.confidence * 100)} % ${say("sure")}` : "";
  ledger = new Map((published.ledger ?? []).map((line) => [line.stage, line]));
  const spent = [...ledger.values()].reduce((sum, line) => sum + line.waited_ms + line.worked_ms, 0);
  at("total").textContent = ms(spent);
  draw(true);
  showCitations(published.citations ?? []);
  showReceipt(published);
  at("status").textContent = `${say(published.outcome)}, ${say(receipt.route)}, ${ms(spent)}. ${published.text}`;
}

function showCitations(citations) {
  at("evidence").hidden = citations.length === 0;
  at("citations").replaceChildren(...citations.map((citation) => {
    const item = element("li");
    const { document_id, document_version, start, end } = citation;
    item.append(element("q", citation.quote), element("cite", `${document_id}@${document_version} ${start}–${end}`));
    return item;
  }));
}

function showReceipt(published) {
  const { receipt } = published;
  const named = (list, of) => list?.map(of).join(", ");
  const facts = {
    rid: published.rid,
    site: receipt.site,
    plan: receipt.plan && `${receipt.plan.where}, ${receipt.plan.model}, k = ${receipt.plan.k}: ${receipt.plan.reason}`,
    reason: published.reason,
    decisions: named(receipt.decisions, ({ rule, verb }) => `${rule}: ${verb}`),
    checks: named(receipt.checks, ({ name, passed, score }) => `${passed ? "✓" : "✗"} ${name} ${score.toFixed(2)}`),
    lineage: named(receipt.lineage, ({ kind, id, version }) => `${kind} ${id}@${version}`),
  };
  at("facts").replaceChildren(...Object.entries(facts).filter(([, value]) => value)
    .flatMap(([key, value]) => [element("dt", say(key)), element("dd", value)]));
  at("record").textContent = JSON.stringify(published, null, 2);
}

function clear() {
  ledger = new Map();
  draw(false);
  at("answer").hidden = at("evidence").hidden = at("fault").hidden = true;
  at("receipt").open = false;
  for (const id of ["text", "outcome", "route", "confidence", "total", "record", "fault"]) at(id).textContent = "";
  at("status").textContent = say("asking");
}

let isAsking = false;

async function submit() {
  const question = at("question").value;
  if (isAsking || !question.trim()) return;
  setAsking(true);
  clear();
  const rid = [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  const source = watch(rid);
  try {
    show(await ask(question, at("budget").value, rid));
  } catch (error) {
    at("status").textContent = "";
    at("fault").textContent = error instanceof Refused ? error.message : say("gone");
    at("fault").hidden = false;
  } finally {
    source.close();
    setAsking(false);
  }
}

function setAsking(now) {
  isAsking = now;
  document.body.classList.toggle("asking", now);
  at("send").setAttribute("aria-disabled", String(now));
}

translate();
layStages();
at("form").addEventListener("submit", (event) => { event.preventDefault(); submit(); });
at("question").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); at("form").requestSubmit(); }
});
