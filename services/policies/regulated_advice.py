"""The content rules against advice that only a doctor or a lawyer may give, in English, German, French or Spanish.

General information passes ("see a doctor", "the period of notice is 14 days"); telling one person what to take, what
they suffer from, or how their case will end, does not. Next: phrases.py."""

from __future__ import annotations

from tidegate.schemas import Answer, Question
from tidegate.services.policies.phrases import compile_phrases, normalise, states_any

DOSE = r"\d+\W*(?:mg|ml|mcg|milligrams?|milligramm|milligrammes?|miligramos?)\b"
MEDICAL = (
    rf"(?:take|swallow|inject)\W+(?:\w+\W+){{0,4}}?{DOSE}",
    r"you (?:should|must|can|may) (?:stop|start|increase|reduce|double|skip)\W+(?:\w+\W+){0,2}?"
    r"(?:taking|dose|dosage|medication|medicine|antibiotics?|insulin|antidepressants?)",
    r"(?:you|your symptoms)\W+(?:probably |clearly |most likely )?(?:have|suffer from|indicate|point to)\W+(?:a |an )?"
    r"(?:diabetes|cancer|depression|pneumonia|infection|asthma|migraine|tumou?r|stroke|heart attack)",
    rf"nehmen sie\W+(?:\w+\W+){{0,4}}?{DOSE}",
    r"(?:setzen sie|erhohen sie|verringern sie|verdoppeln sie)\W+(?:\w+\W+){0,2}?"
    r"(?:medikamente?|dosis|antibiotik\w+|insulin)",
    r"sie (?:haben|leiden (?:an|unter))\W+(?:\w+\W+)?(?:diabetes|krebs|depression\w*|asthma|migrane|lungenentzundung)",
    rf"(?:prenez|avalez|injectez)\W+(?:\w+\W+){{0,4}}?{DOSE}",
    r"(?:arretez|augmentez|reduisez|doublez)\W+(?:\w+\W+){0,3}?(?:traitement|dose|medicaments?|antibiotiques?|insuline)",
    r"vous (?:avez|souffrez)\W+(?:\w+\W+)?(?:diabete|cancer|depression|asthme|migraine|pneumonie)",
    rf"(?:tome|tomese|inyecte|inyectese)\W+(?:\w+\W+){{0,4}}?{DOSE}",
    r"(?:deje de tomar|aumente|reduzca|duplique)\W+(?:\w+\W+){0,3}?"
    r"(?:dosis|medicamentos?|medicacion|antibioticos?|insulina)",
    r"usted (?:tiene|padece|sufre)\W+(?:\w+\W+)?(?:diabetes|cancer|depresion|asma|migrana|neumonia)",
)
LEGAL = (
    r"you (?:should|must|ought to) (?:sue|press charges|plead|take (?:them|him|her|it|your \w+) to court)",
    r"you (?:will|would|are going to|are sure to) win\W+(?:\w+\W+){0,2}?(?:case|lawsuit|trial|claim|in court)",
    r"(?:legally|in law)\W+you (?:are|have|do)\W+(?:\w+\W+){0,3}?(?:liable|obliged|entitled|right)",
    r"(?:sie sollten|sie mussen)\W+(?:\w+\W+){0,4}?(?:verklagen|klage erheben|anzeige erstatten)",
    r"sie (?:werden|wurden)\W+(?:\w+\W+){0,3}?(?:prozess|verfahren|vor gericht)\W+gewinnen",
    r"vous (?:devriez|devez)\W+(?:\w+\W+){0,2}?"
    r"(?:porter plainte|poursuivre|assigner|saisir (?:le tribunal|la justice))",
    r"vous (?:gagnerez|allez gagner)\W+(?:\w+\W+){0,2}?(?:proces|affaire|justice)",
    r"(?:deberia|debe|tiene que)\W+(?:\w+\W+){0,2}?(?:demandar|denunciar|presentar una demanda)",
    r"(?:ganara|va a ganar)\W+(?:\w+\W+){0,2}?(?:juicio|caso|pleito|demanda)",
)
MEDICAL_PATTERNS, LEGAL_PATTERNS = compile_phrases(MEDICAL), compile_phrases(LEGAL)


def medical_advice(question: Question, answer: Answer) -> str:  # noqa: ARG001 - a block rule gets both
    """Why only a doctor may give the answer; empty when anybody may."""
    return "it gives medical advice" if states_any(normalise(answer.text), MEDICAL_PATTERNS) else ""


def legal_advice(question: Question, answer: Answer) -> str:  # noqa: ARG001 - a block rule gets both
    """Why only a lawyer may give the answer; empty when anybody may."""
    return "it gives legal advice" if states_any(normalise(answer.text), LEGAL_PATTERNS) else ""
