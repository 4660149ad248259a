"""Whether a sentence of a document asks whoever reads it for a secret, or tells a machine to forget its instructions.

Pure. Promises that a warning against such requests is none: it says never, or who asks. Next: words.py."""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

import msgspec

DENIAL_REACH = 24
"""Characters behind the secret in which a denial still belongs to the verb."""
LANGUAGES = ("en", "de", "fr", "es")
DESTINATION = re.compile(r"\d(?:[ ()./-]{0,2}\d){4}|@|https?:|www\.", re.IGNORECASE)
"""A number to call, an address or a link to which it is to be sent."""


class RequestWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's words, as regular expressions to be searched without regard to case."""

    asks: tuple[str, ...]
    owners: tuple[str, ...]
    """Between the verb and the secret: whose it is."""
    secrets: tuple[str, ...]
    excuses: tuple[str, ...]
    """Before the verb, what makes it a warning, or the bank's own doing."""
    denials: tuple[str, ...]
    """What makes it a warning behind the verb, too."""
    overrides: tuple[str, ...]
    """What is said to a machine alone."""


class _RequestPatterns(NamedTuple):
    request: re.Pattern[str]
    excuse: re.Pattern[str]
    denial: re.Pattern[str]
    override: re.Pattern[str]


@cache
def _patterns(language: str) -> _RequestPatterns:
    text = (files("tidegate.services.languages") / "data" / "requests" / f"{language}.toml").read_text("utf-8")
    words = msgspec.convert(tomllib.loads(text), RequestWords)
    asks, owners, secrets = map("|".join, (words.asks, words.owners, words.secrets))
    request = rf"\b(?:{asks})\b(?:\W+\w+){{0,4}}?\W+(?:{owners})\W+(?:\w+\W+){{0,2}}?(?:{secrets})\b"
    excuses, denials = (rf"(?:\b|(?<=n))(?:{'|'.join(each)})(?!\w)" for each in (words.excuses, words.denials))
    patterns = (request, excuses, denials, "|".join(words.overrides))
    return _RequestPatterns(*(re.compile(pattern, re.IGNORECASE) for pattern in patterns))


@lru_cache(maxsize=16_384)  # a document's sentences are read again with every question that it may answer
def asks_for_secret(sentence: str) -> bool:
    """Whether the sentence, in any of `LANGUAGES`, is such a request: it says where to, or begins with the verb."""
    for language in LANGUAGES:
        words = _patterns(language)
        if words.override.search(sentence):
            return True
        for found in words.request.finditer(sentence):
            behind = found.end() + DENIAL_REACH
            if words.excuse.search(sentence, 0, found.start()) or words.denial.search(sentence, found.start(), behind):
                continue
            is_order = len(sentence[: found.start()].split()) <= 1
            if is_order or DESTINATION.search(sentence, found.end()):
                return True
    return False
