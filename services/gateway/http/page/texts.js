// Every text of the page in its four languages; a text that is missing in one would show in English.

export const TEXTS = {
  en: {
    access_key: "This site needs an access key", use_key: "Use it",
    skip: "Skip to the question", motto: "Answered on site where possible, in the cloud where necessary.",
    sites: "Sites", language: "Language", link_up: "Cloud link up", link_down: "Cloud link down", link_unknown: "Site not reached",
    ask_title: "Ask", question: "Your question", examples: "For example", time_limit: "Time limit",
    keys: "Ctrl + Enter sends", send: "Ask", answer: "Answer", sources: "Sources", receipt: "Receipt", record: "The whole record",
    stages: "Stages", waited: "waited", worked: "worked", worked_cloud: "in the cloud", unneeded: "not needed", instead: "by {stage}",
    asking: "The question was sent.", is_provisional: "A provisional answer is shown; it may still change.",
    provisional: "provisional", committed: "being written", taken_back: "Taken back",
    was_taken_back: "The provisional text was taken back.", was_withdrawn: "The answer was stopped, and what was shown of it taken back.", broken: "The connection was lost. Going on where it broke.",
    gone: "The connection was lost. Please ask again.", no_site: "The site cannot be reached. Please try again.",
    answered: "answered", withheld: "withheld", abstained: "no answer", edge: "on site", cloud: "cloud", sure: "{share} sure",
    rid: "Request", site: "Site", plan: "Plan", reason: "Reason", degradations: "Reduced", decisions: "Rules", checks: "Checks", lineage: "Made with",
    related: "Related, not vouched for", rewriting: "Understood as",
    finished_by: "Finished by", cut: "cut off before its end", page: "page",
    recognised: "recognised in an image; characters may be misread",
    knowledge: "What this site knows", collections: "Collections", rung: "Level", rung_full: "full", "rung_local-only": "local only",
    "rung_evidence-only": "evidence only", rung_closed: "closed", fenced: "fenced", quotes_only: "Quotations only", lease: "Lease ends in", ended: "ended",
    policies: "Policy epochs", offered: "{epoch} offered", fresh: "up to date", outdated: "out of date", never_whole: "not complete yet",
    generation: "generation", documents: "documents", behind: "behind by", conflicts: "conflicts", unsent: "not sent yet",
    signed: "signed by {who}", aged: "may be out of date",
  },
  de: {
    access_key: "Dieser Standort verlangt einen Zugangsschlüssel", use_key: "Verwenden",
    skip: "Zur Frage springen", motto: "Vor Ort beantwortet, wo möglich, in der Cloud, wo nötig.",
    sites: "Standorte", language: "Sprache", link_up: "Cloud verbunden", link_down: "Cloud nicht verbunden",
    link_unknown: "Standort nicht erreichbar", ask_title: "Fragen", question: "Ihre Frage", examples: "Zum Beispiel",
    time_limit: "Zeitlimit", keys: "Strg + Eingabe sendet", send: "Fragen", answer: "Antwort", sources: "Quellen",
    receipt: "Beleg", record: "Der ganze Datensatz", stages: "Stufen", waited: "gewartet", worked: "gearbeitet",
    worked_cloud: "in der Cloud", unneeded: "nicht nötig", instead: "durch {stage}", asking: "Die Frage wurde gesendet.",
    is_provisional: "Eine vorläufige Antwort wird gezeigt; sie kann sich noch ändern.", provisional: "vorläufig",
    committed: "wird geschrieben", taken_back: "Zurückgenommen", was_taken_back: "Der vorläufige Text wurde zurückgenommen.", was_withdrawn: "Die Antwort wurde angehalten und das Gezeigte zurückgenommen.",
    broken: "Die Verbindung ist abgerissen. Es geht dort weiter, wo sie abriss.",
    gone: "Die Verbindung ist abgerissen. Bitte noch einmal fragen.",
    no_site: "Der Standort ist nicht erreichbar. Bitte noch einmal versuchen.", answered: "beantwortet",
    withheld: "zurückgehalten", abstained: "keine Antwort", edge: "vor Ort", cloud: "Cloud", sure: "zu {share} sicher",
    rid: "Anfrage", site: "Standort", plan: "Plan", reason: "Grund", degradations: "Eingeschränkt", decisions: "Regeln", checks: "Prüfungen",
    lineage: "Beteiligt", related: "Verwandt, ohne Gewähr", rewriting: "Verstanden als",
    finished_by: "Beendet durch", cut: "vor dem Ende abgebrochen", page: "Seite",
    recognised: "in einem Bild erkannt; Zeichen können falsch gelesen sein",
    knowledge: "Was dieser Standort weiß", collections: "Sammlungen", rung: "Stufe", rung_full: "voll", "rung_local-only": "nur lokal",
    "rung_evidence-only": "nur Belege", rung_closed: "geschlossen", fenced: "gesperrt", quotes_only: "Nur Zitate", lease: "Berechtigung endet in", ended: "abgelaufen",
    policies: "Regelstände", offered: "{epoch} angeboten", fresh: "aktuell", outdated: "veraltet", never_whole: "noch nicht vollständig",
    generation: "Generation", documents: "Dokumente", behind: "im Rückstand um", conflicts: "Konflikte", unsent: "noch nicht gesendet",
    signed: "unterzeichnet von {who}", aged: "möglicherweise veraltet",
  },
  fr: {
    access_key: "Ce site demande une clé d’accès", use_key: "L’utiliser",
    skip: "Aller à la question", motto: "Répondu sur place si possible, dans le cloud si nécessaire.",
    sites: "Sites", language: "Langue", link_up: "Cloud relié", link_down: "Cloud non relié", link_unknown: "Site injoignable",
    ask_title: "Demander", question: "Votre question", examples: "Par exemple", time_limit: "Délai",
    keys: "Ctrl + Entrée envoie", send: "Demander", answer: "Réponse", sources: "Sources", receipt: "Reçu",
    record: "L’enregistrement complet", stages: "Étapes", waited: "attente", worked: "travail", worked_cloud: "dans le cloud",
    unneeded: "inutile", instead: "par {stage}", asking: "La question a été envoyée.",
    is_provisional: "Une réponse provisoire est affichée ; elle peut encore changer.", provisional: "provisoire",
    committed: "en cours d’écriture", taken_back: "Retiré", was_taken_back: "Le texte provisoire a été retiré.", was_withdrawn: "La réponse a été arrêtée et le texte affiché retiré.",
    broken: "La connexion a été coupée. Reprise là où elle s’est arrêtée.",
    gone: "La connexion a été coupée. Veuillez redemander.", no_site: "Le site est injoignable. Veuillez réessayer.",
    answered: "répondu", withheld: "retenu", abstained: "sans réponse", edge: "sur place", cloud: "cloud", sure: "sûr à {share}",
    rid: "Demande", site: "Site", plan: "Plan", reason: "Motif", degradations: "Réduit", decisions: "Règles", checks: "Contrôles",
    lineage: "Réalisé avec", related: "En rapport, sans garantie", rewriting: "Compris comme",
    finished_by: "Terminé par", cut: "interrompu avant la fin", page: "page",
    recognised: "reconnu dans une image ; des caractères peuvent être mal lus",
    knowledge: "Ce que ce site sait", collections: "Collections", rung: "Niveau", rung_full: "complet", "rung_local-only": "local seulement",
    "rung_evidence-only": "preuves seulement", rung_closed: "fermé", fenced: "isolé", quotes_only: "Citations seulement", lease: "Le bail finit dans", ended: "expiré",
    policies: "Époques des règles", offered: "{epoch} proposée", fresh: "à jour", outdated: "périmé", never_whole: "pas encore complet",
    generation: "génération", documents: "documents", behind: "en retard de", conflicts: "conflits", unsent: "pas encore envoyés",
    signed: "signé par {who}", aged: "peut-être périmé",
  },
  es: {
    access_key: "Este sitio pide una clave de acceso", use_key: "Usarla",
    skip: "Ir a la pregunta", motto: "Respondido en el sitio si es posible, en la nube si es necesario.",
    sites: "Sitios", language: "Idioma", link_up: "Nube conectada", link_down: "Nube no conectada",
    link_unknown: "Sitio inaccesible", ask_title: "Preguntar", question: "Su pregunta", examples: "Por ejemplo",
    time_limit: "Tiempo límite", keys: "Ctrl + Intro envía", send: "Preguntar", answer: "Respuesta", sources: "Fuentes",
    receipt: "Recibo", record: "El registro completo", stages: "Etapas", waited: "espera", worked: "trabajo",
    worked_cloud: "en la nube", unneeded: "no hizo falta", instead: "por {stage}", asking: "La pregunta se ha enviado.",
    is_provisional: "Se muestra una respuesta provisional; aún puede cambiar.", provisional: "provisional",
    committed: "escribiéndose", taken_back: "Retirado", was_taken_back: "El texto provisional se ha retirado.", was_withdrawn: "La respuesta se ha detenido y lo mostrado se ha retirado.",
    broken: "Se cortó la conexión. Continúa donde se cortó.", gone: "Se cortó la conexión. Pregunte otra vez.",
    no_site: "No se puede acceder al sitio. Inténtelo de nuevo.", answered: "respondido", withheld: "retenido",
    abstained: "sin respuesta", edge: "en el sitio", cloud: "nube", sure: "{share} seguro", rid: "Solicitud", site: "Sitio",
    plan: "Plan", reason: "Motivo", degradations: "Reducido", decisions: "Reglas", checks: "Controles", lineage: "Hecho con",
    related: "Relacionado, sin garantía", rewriting: "Entendido como",
    finished_by: "Terminado por", cut: "cortado antes del final", page: "página",
    recognised: "reconocido en una imagen; puede haber caracteres mal leídos",
    knowledge: "Lo que sabe este sitio", collections: "Colecciones", rung: "Nivel", rung_full: "completo", "rung_local-only": "solo local",
    "rung_evidence-only": "solo pruebas", rung_closed: "cerrado", fenced: "aislado", quotes_only: "Solo citas", lease: "El permiso acaba en", ended: "vencido",
    policies: "Épocas de las reglas", offered: "{epoch} ofrecida", fresh: "al día", outdated: "desactualizado", never_whole: "aún incompleto",
    generation: "generación", documents: "documentos", behind: "con retraso de", conflicts: "conflictos", unsent: "sin enviar",
    signed: "firmado por {who}", aged: "puede estar anticuado",
  },
};

export const NAMES = { en: "English", de: "Deutsch", fr: "Français", es: "Español" };

let language = navigator.languages.map((tag) => tag.slice(0, 2)).find((tag) => tag in TEXTS) ?? "en";

export const currentLanguage = () => language;

// The text under `key` in the language of the page, with its `{gaps}` filled.
export function textOf(key, gaps = {}) {
  const text = TEXTS[language][key] ?? TEXTS.en[key] ?? key;
  return text.replace(/\{(\w+)\}/g, (whole, gap) => gaps[gap] ?? whole);
}

// Shows every text that stands in the document in this language.
export function translate(chosen = language) {
  language = chosen;
  document.documentElement.lang = language;
  for (const node of document.querySelectorAll("[data-text]")) node.textContent = textOf(node.dataset.text);
}
