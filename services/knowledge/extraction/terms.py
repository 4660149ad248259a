"""What a field asks for, as terms to look for in a text, and how well each word of a text matches them.

Promises nothing about values. Next: features.py."""

from __future__ import annotations

import re
from functools import cache

import jsonschema_rs
import msgspec
import numpy as np
import numpy.typing as npt

from tidegate.schemas.vault_token import without_tokens
from tidegate.services.knowledge.extraction.candidates import ValueCandidate
from tidegate.services.knowledge.extraction.numbers import unit_names
from tidegate.services.knowledge.extraction.schema import Field
from tidegate.services.knowledge.extraction.text_view import TextView
from tidegate.services.languages.extraction_words import all_words, concepts_by_word, fold, stem
from tidegate.services.languages.words import LANGUAGES, load_words

PERSONS = frozenset(
    (
        "person",
        "name",
        "contact",
        "technician",
        "signature",
        "tenant",
        "landlord",
        "student",
        "patient",
        "employee",
        "customer",
    )
)
_HIDDEN = {
    "email": frozenset(("email",)),
    "phone": frozenset(("phone",)),
    "iban": frozenset(("account",)),
    "name": PERSONS,
    "card": frozenset(("number",)),
    "address": frozenset(("address", "place", "city", "postcode")),
}
OWN, _DESCRIBED, _PARENT = 1.0, 0.5, 0.4
_LEAST_COMPOUND = 4
_NAMED, _NEAR = 0.8, 32
"""How well a word must match a field's to name it, and the characters behind it that may say that there is nothing."""


class Term(msgspec.Struct, frozen=True):
    """A word of a field's name or description, and how much it counts."""

    folded: str
    stem: str
    concepts: frozenset[str]
    weight: float


class FieldQuery(msgspec.Struct, frozen=True):
    """A field with its terms, the unit that its name ends in, and the concepts that it names."""

    field: Field
    terms: tuple[Term, ...]
    unit: str
    concepts: frozenset[str]
    family: str

    @property
    def question(self) -> str:
        """The field in words, for a model that compares meanings."""
        words = " ".join(name_words(self.field.name)) or "values"
        return ". ".join(part for part in (words, self.field.title, self.field.description) if part)


def asked_of(field: Field, parents: tuple[str, ...] = ()) -> FieldQuery:
    """The terms of a field's name, title and description, and of the names that it stands under."""
    title = name_words(without_tokens(field.title))
    own = name_words(field.name) + [word for word in title if word not in name_words(field.name)]
    unit = next((name for word in reversed(own) if (name := unit_names().get(word, ""))), "")
    stops = _stop_words()
    described = [
        word
        for word in name_words(without_tokens(field.description))
        if word not in stops and word not in own and len(word) > 2
    ]
    above = [word for name in parents for word in name_words(name) if word not in own]
    terms = tuple(
        Term(word, stem(word), concepts_by_word().get(stem(word), frozenset()), weight)
        for words, weight in ((own, OWN), (described, _DESCRIBED), (above, _PARENT))
        for word in dict.fromkeys(words)
        if word not in all_words("articles") or len(words) == 1
    )
    concepts = frozenset(concept for term in terms if term.weight == OWN for concept in term.concepts)
    return FieldQuery(field, terms, unit, concepts, family_of(field))


def family_of(field: Field) -> str:
    """Which features decide about a field's values."""
    if field.options is not None:
        return "enum"
    if field.kind in ("number", "integer"):
        return "number"
    if field.kind != "string":
        return field.kind
    if field.format in ("date", "date-time", "time"):
        return field.format
    if field.format in ("email", "idn-email", "uri", "url", "iri"):
        return "address"
    pattern = field.part.get("pattern")
    if isinstance(pattern, str):
        samples = {"time": "09:30", "date": "2026-03-14"}
        for family, sample in samples.items():
            if _matches(pattern, sample) and not _matches(pattern, "abc"):
                return family
        return "pattern"
    return "string"


def _matches(pattern: str, sample: str) -> bool:
    return bool(jsonschema_rs.is_valid({"pattern": pattern}, sample, pattern_options=jsonschema_rs.RegexOptions()))


def token_fits(asked: FieldQuery, token: ValueCandidate) -> bool:
    """Whether the personal data that a vault token hides is of the kind that the field asks for."""
    kind = token.shape.removeprefix("token_")
    of = _HIDDEN.get(kind, frozenset())
    return bool(asked.concepts & of) or asked.field.format == kind or kind in fold(asked.field.name)


def match_words(asked: FieldQuery, view: TextView) -> npt.NDArray[np.float64]:
    """How well each word matches each term, 0 … 1: (terms, words)."""
    scores = np.zeros((len(asked.terms), len(view.words)))
    seen: dict[tuple[int, str], float] = {}
    for column, word in enumerate(view.words):
        for row, term in enumerate(asked.terms):
            key = (row, word.folded)
            if key not in seen:
                seen[key] = _match(term, word.folded, word.stem, word.concepts)
            scores[row, column] = seen[key]
    return scores


def nothing_said(asked: FieldQuery, view: TextView) -> tuple[float, float]:
    """Whether a word for nothing stands behind the field's own words, as in `VAT number: none`, and whether a denial
    stands right before them, as in `no deposit`."""
    own = [row for row, term in enumerate(asked.terms) if term.weight == OWN]
    matches = match_words(asked, view)[own]
    stated = denied = 0.0
    for n in range(len(view.words)) if len(own) else ():
        if matches[-1, n] < _NAMED or (
            len(own) > 1 and matches[:, max(0, n + 1 - len(own)) : n + 1].max(axis=1).min() < _NAMED
        ):
            continue
        behind = fold(view.text[view.words[n].end : view.words[n].end + _NEAR])
        stated = max(stated, float(bool(_nothing().match(behind))))
        first = n + 1 - len(own)
        denied = max(denied, float(first > 0 and view.words[first - 1].folded in all_words("negations")))
    return stated, denied


@cache
def _nothing() -> re.Pattern[str]:
    """A word for nothing behind a name, and nothing else in its clause."""
    words = "|".join(re.escape(word) for word in sorted(all_words("missing"), key=len, reverse=True))
    return re.compile(rf"\s*[:=]?\s*(?:{words})(?=\s*(?:[.,;|(\n]|$))")


def _match(term: Term, folded: str, own: str, concepts: frozenset[str]) -> float:
    if term.folded == folded:
        return 1.0
    if term.stem == own and len(own) >= 3:
        return 0.95
    if concepts and term.concepts and not concepts & term.concepts:
        return 0.0  # `subtotal` is a word of its own, and no kind of total
    if len(term.folded) >= _LEAST_COMPOUND and term.folded in folded:
        return 0.8
    if len(folded) >= _LEAST_COMPOUND + 1 and folded in term.folded:
        return 0.8
    shared = term.concepts & concepts
    return 0.65 if shared else 0.0


def name_words(name: str) -> list[str]:
    """The folded words of `snake_case`, `camelCase` or plain text; at most fourteen."""
    spread = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    return [fold(word) for word in re.findall(r"[^\W_]+", spread)][:14]


def _stop_words() -> frozenset[str]:
    return frozenset(fold(word) for code in LANGUAGES for word in load_words(code).stop_words.split()) | (
        all_words("articles") | all_words("links") | all_words("negations")
    )
