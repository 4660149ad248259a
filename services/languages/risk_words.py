"""By what words a question is of a high-risk class, from one data file per language. Next: data/risks/en.toml.

Promises that a file that is wrong is found when it is first read. Rather too many questions than too few: what is taken
for one of high risk is answered less readily, and never refused for that alone."""

from __future__ import annotations

import re
import tomllib
from functools import cache, lru_cache
from importlib.resources import files

import msgspec

from tidegate.services.languages.words import LANGUAGES, Patterns


class RiskWords(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One language's patterns for each class, searched without regard to case."""

    medical_dose: Patterns
    legal: Patterns
    payment: Patterns
    """Money that may be lost: a payment to be undone, a credit to be had or not paid back."""
    machine_safety: Patterns


RISK_CLASSES = RiskWords.__struct_fields__
"""The classes that are shipped."""


@lru_cache(maxsize=1024)
def find_risks(text: str, language: str) -> frozenset[str]:
    """The classes that a question is of; in a language without words, by those of all the others."""
    read = (language,) if language in LANGUAGES else LANGUAGES
    return frozenset(name for each in read for name, pattern in _patterns(each).items() if pattern.search(text))


@cache
def _patterns(language: str) -> dict[str, re.Pattern[str]]:
    text = (files("tidegate.services.languages") / "data" / "risks" / f"{language}.toml").read_text("utf-8")
    words = msgspec.convert(tomllib.loads(text), RiskWords)
    return {name: re.compile("|".join(getattr(words, name)), re.IGNORECASE) for name in RISK_CLASSES}
