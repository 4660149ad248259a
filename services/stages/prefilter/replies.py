"""Decides what needs no document: small talk, and a person in distress. Next: handler.py, which asks first of all.

Promises that a person in distress never gets a bare refusal, and that a question is not taken for a greeting.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from tidegate.services.languages.pleasantries import take_pleasantries

FindReply = Callable[[str, str, str], str]
"""From an intent, its verdict and a language to the site's own text; empty where it has none."""
MOST_PLEASANT_CHARS = 500
"""A longer text is more than pleasantries, and looking for them takes a millisecond for so many characters."""
MAY_BE = 0.25
"""Of the threshold of distress: from there on it is not ruled out."""


class VerdictEstimate(NamedTuple):
    """The likeliest intent of one verdict, and the probability of all its intents together."""

    intent: str = ""
    probability: float = 0.0


class ReplyThresholds(NamedTuple):
    """From which probability a person is in distress, a text unsafe, and a short one small talk."""

    distress: float = 1.0
    unsafe: float = 1.0
    smalltalk: float = 1.0


class Occasion(NamedTuple):
    """What is replied to, in which language and how surely."""

    verdict: Literal["smalltalk", "distress"]
    intent: str
    probability: float
    language: str


def find_distress(
    distress: VerdictEstimate, unsafe: float, thresholds: ReplyThresholds, language: str
) -> Occasion | None:
    """Distress that is likely in itself, or likelier than anything unsafe where one of the two is likely."""
    together = distress.probability + unsafe
    if distress.probability >= thresholds.distress or (
        distress.intent and distress.probability >= unsafe and together >= thresholds.unsafe
    ):
        return Occasion("distress", distress.intent, distress.probability, language)
    return None


def may_be_distress(distress: VerdictEstimate, thresholds: ReplyThresholds) -> bool:
    """Whether a text that is refused as unsafe may be of a person in distress: then the help is what it is refused
    with. Being wrong costs a sentence of help too many."""
    return bool(distress.intent) and distress.probability >= thresholds.distress * MAY_BE


def find_pleasantry(text: str, language: str, languages: Sequence[str]) -> Occasion | None:
    """A text of nothing but pleasantries in a language that the site speaks: the detected one, where it is in that."""
    if len(text) > MOST_PLEASANT_CHARS:
        return None
    found = take_pleasantries(text)
    spoken = next((each for each in (language, *languages) if each in found.languages), "")
    return Occasion("smalltalk", found.kind, 1.0, spoken) if found.kind and spoken else None


def find_smalltalk(smalltalk: VerdictEstimate, thresholds: ReplyThresholds, language: str) -> Occasion | None:
    """Small talk in other words than the known ones, where that is likely."""
    if smalltalk.intent and smalltalk.probability >= thresholds.smalltalk:
        return Occasion("smalltalk", smalltalk.intent, smalltalk.probability, language)
    return None
