"""Whether a run of words is a whole value: what it begins and ends with, what it was cut from. Next: features.py."""

from __future__ import annotations

from functools import cache

from tidegate.services.knowledge.extraction.candidates import ValueCandidate, listed
from tidegate.services.knowledge.extraction.terms import PERSONS, FieldQuery
from tidegate.services.knowledge.extraction.text_view import TextView
from tidegate.services.languages.extraction_words import all_words, fold

EDGE_FEATURES = listed(
    "begins_small ends_small has_small all_small begins_label ends_label begins_lower has_role says_missing "
    "cut_before cut_behind number_before number_behind link_behind opens_clause bounded_before bounded_behind "
    "whole_line mixed_code"
)
_WANTS = {
    "person": PERSONS | {"signature"},
    "company": frozenset(("company", "landlord")),
    "place": frozenset(listed("address place city room postcode delivery pickup")),
    "code": frozenset(listed("number reference serial invoice order offer contract batch account meter error")),
    "thing": frozenset(listed("product machine vehicle food damage reason colour size department event work")),
}
_LOOKS = listed("nameish firm street mixed_code digits lower one_capital many_words opens_clause whole")


def edge_features(candidate: ValueCandidate, view: TextView, first: int, last: int) -> list[float]:
    """What stands at the ends of words `first` to `last` of a text and beside them; see `EDGE_FEATURES`."""
    words = view.words
    if first >= last:
        return [0.0] * len(EDGE_FEATURES)
    small, text = _small_words(), view.text
    inside = words[first:last]
    head, tail = inside[0], inside[-1]
    is_small = [word.folded in small and not (len(word.folded) == 1 and text[word.start].isupper()) for word in inside]
    before = words[first - 1] if first and text[words[first - 1].end : candidate.start] in (" ", "-") else None
    behind = words[last] if last < len(words) and text[candidate.end : words[last].start] in (" ", "-") else None
    farther = words[last + 1] if behind is not None and last + 1 < len(words) else None
    left, right = text[: candidate.start].rstrip(" ")[-1:], text[candidate.end : candidate.end + 1]
    capital = text[candidate.start].isupper()
    values = (
        is_small[0],
        is_small[-1],
        any(is_small[1:-1]),
        all(is_small),
        len(inside) > 1 and bool(head.concepts),
        len(inside) > 1 and bool(tail.concepts),
        text[candidate.start].islower() and any(char.isupper() for char in text[candidate.start : candidate.end]),
        any(word.folded in all_words("roles") for word in inside),
        fold(str(candidate.value)) in all_words("missing") or head.folded in all_words("missing"),
        before is not None and capital and text[before.start].isupper(),
        behind is not None and text[tail.start].isupper() and text[behind.start].isupper(),
        before is not None and before.folded.isdigit(),
        behind is not None and text[behind.start].isdigit(),
        farther is not None
        and behind is not None
        and behind.folded in all_words("links")
        and text[farther.start].isupper(),
        head.start - view.clauses[head.clause][0] <= 1,
        left in '\n,;:(.|-–—"„“«[',
        right in '\n,;:).|!?"“”»]' or not text[candidate.end : candidate.end + 2].strip(),
        left in "\n" and right in "\n",
        any(char.isdigit() for char in str(candidate.value)) and any(char.isalpha() for char in str(candidate.value)),
    )
    return [float(each) for each in values]


def wanted_looks(asked: FieldQuery, row: list[float], index: dict[str, int]) -> list[float]:
    """What kind of thing the field's name asks for, each with how the value looks; `index` tells a row's features."""
    wants = [float(bool(asked.concepts & concepts)) for concepts in _WANTS.values()]
    wants.append(float(not any(wants)))
    firm, capitals, digits, single, capital, whole, end = (
        row[index[name]]
        for name in ("firm", "capitals", "has_digits", "one_word", "capital", "bounded_before", "bounded_behind")
    )
    looks = [capitals * (1 - digits) * (1 - firm), firm]
    looks += [row[index[name]] for name in ("street", "mixed_code", "digits", "lower")]
    looks += [capital * single, row[index["many_words"]], row[index["opens_clause"]], whole * end]
    return [wanted * look for wanted in wants for look in looks]


def look_names() -> tuple[str, ...]:
    """The names of what `wanted_looks` returns."""
    return tuple(f"{wanted}×{look}" for wanted in (*_WANTS, "other") for look in _LOOKS)


@cache
def _small_words() -> frozenset[str]:
    return all_words("small_words") | all_words("articles") | all_words("negations")
