"""Finds names by what somebody has: "Lindners Konto", "die Lindner-Akte"; the filters know the form of neither word.

Promises that a common noun is no name here ("Kunden-Akte"), and that one that is in no list of names is found only
before what hardly anything but a person has. Pure. Next: person_model.py, which finds all others."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from tidegate.services.languages.compounds import is_part
from tidegate.services.languages.person_cues import list_cues
from tidegate.services.languages.person_names import plain_name
from tidegate.services.privacy.dlp.finding import PersonalSpan
from tidegate.services.privacy.dlp.person_context import NO_NAMES
from tidegate.services.privacy.dlp.person_words import SURNAME, look_up

LEAST_LETTERS, LEAST_SMALL = 3, 4
"""Letters of a name with a capital, and of one in small letters."""
_HISSING = ("s", "x", "z", "ce")
"""Ends of names that take an apostrophe and no further letter."""


def find_owned_names(text: str) -> Iterator[PersonalSpan]:
    """The names before what they own; of a compound the name alone, without its hyphen."""
    for found in _owned_pattern().finditer(text):
        owner, mark = found["owner"], found["mark"]
        if mark in "'’" and not plain_name(owner).endswith(_HISSING):
            continue
        is_sure = any(found["owned"].lower().endswith(each) for each in _sure_heads())
        name = owner[:-1] if mark.isspace() else owner
        if mark == "-" and not is_sure and not look_up(name) & SURNAME:
            continue  # of a given name nobody makes a compound; products have some
        if _is_name(name, is_sure=is_sure):
            yield PersonalSpan("NAME", found.start("owner"), found.end("owner"))


def _is_name(name: str, *, is_sure: bool) -> bool:
    low = plain_name(name)
    if len(low) < LEAST_LETTERS or low in NO_NAMES or is_part(name, "de"):
        return False
    known = look_up(name)
    if name[0].islower():
        return bool(known) and len(low) >= LEAST_SMALL
    return bool(known) or (is_sure and not name.isupper())


@cache
def _sure_heads() -> tuple[str, ...]:
    return tuple(list_cues(lambda cues: cues.owned_surely))


@cache
def _owned_pattern() -> re.Pattern[str]:
    heads = "|".join(map(re.escape, list_cues(lambda cues: (*cues.owned, *cues.owned_surely)))) or "(?!)"
    owned = rf"(?P<owned>(?:[^\W\d_]{{2,20}}?)?(?i:{heads}))(?![^\W_])"
    owner = r"(?<![\w'’.-])(?P<owner>[^\W\d_]{2,24}(?:-[^\W\d_]{2,24})?)"
    # One adjective may stand between: "Lindners altes Konto".
    adjective = r"(?:[a-zäöüß]{3,14}e[nsr]?\s{1,2})?"
    return re.compile(rf"{owner}(?P<mark>-|(?<=s)\s|['’](?=\s))(?:(?<!-)\s{{0,2}}{adjective})?{owned}")
