"""Tells an answer about another thing of the same kind by its code: screws `5x60` where `6x80` are asked for. Pure.

Next: reader.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.languages.noun_phrases import shape

_CODE = re.compile(
    r"(?<![\w-])(?!(?:eur|usd|gbp|chf|pln)\d)"
    r"(?:[a-z]{1,4}-?\d{1,6}(?:x\d+)*[a-z]?|\d+(?:[.,]\d+)?(?: ?x ?\d+(?:[.,]\d+)?)+)(?!\w)",
    re.IGNORECASE,
)
"""Up to four letters with a number, or numbers with an `x` between them. A number with its unit is none."""
_SPAN = re.compile(r"\s*(?:[-–—]|[^\W\d_]{1,7}(?: [^\W\d_]{1,3}){0,2})\s*")
"""What stands between the ends of a span, as `M4 to M12`, which holds codes that it does not name."""


def names_another_code(question: str, units: Sequence[Candidate]) -> bool:
    """Whether the units name codes of the same form as one that the question names, and none of the question's; no
    span of codes is taken to leave any out."""
    asked = {_plain(found[0]) for found in _CODE.finditer(_with_x(question))}
    if not asked:
        return False
    texts = [_with_x(" | ".join((each.passage.title, each.unit.heading, each.statement))) for each in units]
    found = [list(_CODE.finditer(text)) for text in texts]
    stated = {_plain(match[0]) for matches in found for match in matches}
    if any(_is_stated(code, stated) for code in asked) or any(map(_has_span, texts, found)):
        return False
    return not {shape(code) for code in asked}.isdisjoint(map(shape, stated))


def _with_x(text: str) -> str:
    return text.replace("×", "x")


def _plain(code: str) -> str:
    return code.replace(" ", "").upper()


def _is_stated(code: str, stated: set[str]) -> bool:
    """Whether a code is stated, or the beginning of one that is: `M10` by `M10x40`."""
    return any(each.startswith(code) and not each[len(code) :][:1].isdigit() for each in stated)


def _has_span(text: str, codes: Sequence[re.Match[str]]) -> bool:
    return any(_SPAN.fullmatch(text, one.end(), other.start()) for one, other in pairwise(codes))
