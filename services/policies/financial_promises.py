"""The content rule against promises of gain that nobody can keep, in English, German, French or Spanish.

A promise claims a certain gain, a sure rise, or that nothing can be lost; denied phrases ("returns are not guaranteed")
and plain features of a product (a guaranteed rate, a deposit guarantee scheme) are none. Next: phrases.py."""

from __future__ import annotations

from tidegate.schemas import Answer, Question
from tidegate.services.policies.phrases import compile_phrases, normalise, states_any

GAIN = {
    "en": r"(?:returns?|profits?|gains?|earnings|winnings|growth|yields?)",
    "de": r"(?:renditen?|gewinne?s?|ertrage?n?|kursgewinne?|wertzuwachs(?:es)?|zuwachse?)",
    "fr": r"(?:rendements?|profits?|gains?|benefices?|plus-values?|retours? sur investissement)",
    "es": r"(?:rentabilidad(?:es)?|rendimientos?|ganancias?|beneficios?|retornos?|plusvalias?)",
}
SURELY = {
    "en": r"(?:definitely|certainly|surely|undoubtedly|inevitably|assuredly|absolutely|without (?:a )?doubt"
    r"|no doubt|for sure|for certain|guaranteed to|bound to|sure to|certain to)",
    "de": r"(?:definitiv|garantiert|sicher|sicherlich|bestimmt|zweifellos|zweifelsfrei|unweigerlich"
    r"|mit (?:absoluter )?sicherheit|auf jeden fall|ohne (?:jeden )?zweifel|hundertprozentig)",
    "fr": r"(?:certainement|surement|assurement|forcement|sans aucun doute|sans nul doute|a coup sur|garanti"
    r"|inevitablement|immanquablement|avec certitude)",
    "es": r"(?:definitivamente|seguramente|ciertamente|sin (?:ninguna )?duda|con (?:total )?seguridad|con certeza"
    r"|inevitablemente|garantizado)",
}
RISE = {
    "en": r"(?:rise|grow|increase|go up|double|triple|outperform|gain(?: value)?|appreciate|climb|make (?:you )?money"
    r"|pay off)",
    "de": r"(?:steigen|wachsen|zulegen|(?:sich )?verdoppeln|gewinne? (?:machen|abwerfen|bringen)|klettern|zunehmen)",
    "fr": r"(?:monter|augmenter|croitre|doubler|progresser|rapporter|prendre de la valeur|grimper)",
    "es": r"(?:subir|aumentar|crecer|duplicar(?:se)?|revalorizar(?:se)?|dar beneficios|ganar valor)",
}
FEW = r"(?:\W+[\w'-]+){0,3}?\W+"

PHRASES: dict[str, tuple[str, ...]] = {
    "en": (
        rf"guarantee[ds]?{FEW}{GAIN['en']}",
        rf"guaranteeing{FEW}{GAIN['en']}",
        rf"{GAIN['en']}\W+(?:is|are|will be)\W+(?:\w+\W+)?(?:guaranteed|certain|assured)",
        rf"(?:sure-?fire|assured|risk-?free|no-?risk)\W+(?:\w+\W+)?{GAIN['en']}",
        r"(?:a|an|your)\W+(?:certain|sure)\W+(?:\w+\W+)?(?:return|profit|gain)",
        r"risk-?free\W+(?:\w+\W+)?(?:investments?|money|way to)",
        rf"(?:will|would|shall|'ll)\W+{SURELY['en']}{FEW}?{RISE['en']}",
        rf"(?:is|are){FEW}?(?:guaranteed|bound|sure|certain)\W+to\W+{RISE['en']}",
        rf"{SURELY['en']}\W+(?:will|going to)\W+(?:\w+\W+)?{RISE['en']}",
        r"(?:cannot|can't|can ?not|can never|never|impossible to)\W+lose\W+(?:your |any )?"
        r"(?:money|capital|investment|value)",
        r"(?:you|investors?|customers?)\W+(?:cannot|can't|can never|will never)\W+lose"
        r"(?=\s*(?:[.,;:!?]|$|with|on|here))",
        r"no (?:risk|chance|possibility) of (?:a )?loss(?:es)?",
        r"(?:will|can|guaranteed to|sure to)\W+(?:double|triple)\W+your\W+(?:money|savings|investment|capital)",
    ),
    "de": (
        rf"(?:garantier(?:te[nmrs]?|t|en)|sichere[nmrs]?|gesicherte[nmrs]?|risikolose[nmrs]?|risikofreie[nmrs]?)"
        rf"\W+(?:\w+\W+){{0,2}}?{GAIN['de']}",
        rf"{GAIN['de']}\W+(?:ist|sind|wird|werden)\W+(?:\w+\W+)?(?:garantiert|sicher|gewiss)",
        r"(?:gewinn|rendite|ertrags|kurs)garantie",
        r"risiko(?:lose|freie)[nmrs]?\W+(?:\w+\W+)?(?:geld)?(?:anlage|investition|investment)",
        rf"(?:wird|werden)\W+(?:[\w-]+\W+){{0,4}}?{SURELY['de']}\W+(?:[\w-]+\W+){{0,3}}?{RISE['de']}",
        rf"(?:steigt|steigen|wachst|verdoppelt sich)\W+(?:\w+\W+)?{SURELY['de']}",
        r"(?:konnen|kann|konnt|kannst)\W+(?:\w+\W+){0,3}?(?:nichts|kein geld|nie etwas|niemals)\W+(?:\w+\W+)?verlieren",
        r"(?:kein|ohne)\W+verlustrisiko",
    ),
    "fr": (
        rf"{GAIN['fr']}\W+(?:\w+\W+)?(?:garantie?s?|assure?e?s?|certaine?s?|surs?|sans (?:aucun )?risque)",
        rf"{GAIN['fr']}\W+(?:est|sont|sera|seront)\W+(?:\w+\W+)?(?:garantie?s?|assure?e?s?|certaine?s?)",
        rf"garanti(?:r|t|ssons|ssent|e)?{FEW}{GAIN['fr']}",
        r"(?:placements?|investissements?)\W+(?:\w+\W+)?(?:sans (?:aucun )?risque|sans danger)",
        rf"(?:va|vont|allez)\W+{SURELY['fr']}{FEW}?{RISE['fr']}",
        rf"(?:va|vont)\W+{RISE['fr']}\W+(?:\w+\W+)?{SURELY['fr']}",
        rf"(?:montera|augmentera|doublera|croitra|progressera|rapportera|grimpera|monteront|augmenteront|doubleront)\W+"
        rf"(?:\w+\W+)?{SURELY['fr']}",
        r"(?:ne (?:pouvez|peux|peut|pouvons) (?:pas|jamais|rien)|impossible de)\W+(?:\w+\W+)?perdre",
        r"(?:aucun|sans) risque de perte",
    ),
    "es": (
        rf"{GAIN['es']}\W+(?:\w+\W+)?(?:(?:garantizad|asegurad|segur|ciert)[oa]s?|sin (?:ningun )?riesgo)",
        rf"{GAIN['es']}\W+(?:es|son|esta|estan|sera|seran)\W+(?:\w+\W+)?(?:garantizad|asegurad|segur)[oa]s?",
        rf"garantiza(?:mos|n|r|do|da)?{FEW}{GAIN['es']}",
        r"inversion(?:es)?\W+(?:\w+\W+)?(?:sin (?:ningun )?riesgo|libres? de riesgo)",
        rf"(?:va|van)\W+a\W+{RISE['es']}\W+(?:\w+\W+)?{SURELY['es']}",
        rf"{SURELY['es']}\W+(?:\w+\W+){{0,3}}?(?:(?:va|van) a\W+{RISE['es']}"
        r"|subiran?|aumentaran?|creceran?|duplicaran?)",
        rf"(?:subiran?|aumentaran?|creceran?|se duplicara)\W+(?:\w+\W+)?(?:{SURELY['es']}|seguro)",
        r"seguro que\W+(?:\w+\W+){0,3}?(?:subira|subiran|aumentara|crecera|ganara|duplicara)n?",
        r"(?:no (?:puede|puedes|pueden)|imposible|nunca)\W+(?:\w+\W+)?perder(?:a|as|an)?\W+"
        r"(?:\w+\W+)?(?:dinero|nada|capital)",
        r"(?:ningun|sin) riesgo de perdidas?",
    ),
}

PATTERNS = {language: compile_phrases(phrases) for language, phrases in PHRASES.items()}


def speculative_financial_promises(question: Question, answer: Answer) -> str:  # noqa: ARG001 - a block rule gets both
    """In which language the answer promises a gain; empty when in none."""
    text = normalise(answer.text)
    for language, patterns in PATTERNS.items():
        if states_any(text, patterns):
            return f"it promises a gain that nobody can promise ({language})"
    return ""
