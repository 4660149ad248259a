"""What blocks an answer: advice that only a doctor or a lawyer may give, in English, German, French or Spanish.

General information passes ("see a doctor", "the period of notice is 14 days"); telling one person what to take, what
they suffer from, or how their case will end, does not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from tidegate.schemas import Answer, Question
from tidegate.services.policies.financial_promises import folded, is_denied

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
GAP = r"[^\w.;:!?\n]+"


def compiled(phrases: Iterable[str]) -> tuple[re.Pattern[str], ...]:
    return tuple(re.compile(rf"(?<!\w)(?:{phrase})(?!\w)".replace(r"\W+", GAP)) for phrase in phrases)


MEDICAL_PATTERNS, LEGAL_PATTERNS = compiled(MEDICAL), compiled(LEGAL)


def medical_advice(question: Question, answer: Answer) -> str:  # noqa: ARG001 - a block sees both
    """Why the answer is a doctor's to give; empty when it is not."""
    return "it gives medical advice" if says(answer.text, MEDICAL_PATTERNS) else ""


def legal_advice(question: Question, answer: Answer) -> str:  # noqa: ARG001 - a block sees both
    """Why the answer is a lawyer's to give; empty when it is not."""
    return "it gives legal advice" if says(answer.text, LEGAL_PATTERNS) else ""


def says(text: str, patterns: Iterable[re.Pattern[str]]) -> bool:
    """Whether the text says one of the phrases and does not deny it."""
    plain = folded(text)
    return any(not is_denied(plain, match) for pattern in patterns for match in pattern.finditer(plain))
