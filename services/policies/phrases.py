"""Matches the phrases of content rules: a text is normalised once, and a phrase that it denies does not count.

Pure; next: services/languages/data/en.toml, the phrases; services/policies/content_rules.py."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping

from tidegate.services.languages.words import LANGUAGES, ContentRule, join_patterns, load_words

DENIAL = re.compile(
    rf"(?:\b(?:{join_patterns(lambda words: words.content.denials)})\b)(?:[^\w,]+[\w'-]+){{0,3}}[^\w,]+$"
)
DENIES_NOTHING = re.compile(
    rf"(?:{join_patterns(lambda words: words.content.doubt_denials)})\W+"
    rf"(?:{join_patterns(lambda words: words.content.doubts)})\b"
)
DENIAL_INSIDE = re.compile(rf"\b(?:{join_patterns(lambda words: words.content.inner_denials)})\b")
LOSS = re.compile(join_patterns(lambda words: words.content.losses))
CLAUSE_END = re.compile(rf"[.;:!?\n]|\b(?:{join_patterns(lambda words: words.content.clause_ends)})\b")
INVISIBLE = re.compile(r"[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")
FAR = 120
"""Characters before a phrase that may hold its denial: a few words, so that a long text costs no more per phrase."""
DOSES = [dose for language in LANGUAGES for dose in load_words(language).content.dose]
WORD = re.compile(r"[\w'&+-]+")
FEW = r"(?:\W+[\w'-]+){0,3}?\W+"
GAP = r"[^\w.;:!?\n]+"
"""What lies between two words of a phrase: never the end of a sentence."""


def compile_phrases(rule: ContentRule, language: str) -> tuple[re.Pattern[str], ...]:
    r"""A rule's phrases in a language, for a normalised text; a `\W+` in a phrase matches no end of a sentence."""
    content = load_words(language).content
    words = {"gain": content.gain, "surely": content.surely, "rise": content.rise, "dose": DOSES}
    patterns = {f"{{{name}}}": f"(?:{'|'.join(alternatives)})" for name, alternatives in words.items()}
    patterns |= {"{few}": FEW, r"\W+": GAP}
    return tuple(re.compile(rf"(?<!\w)(?:{_insert(patterns, phrase)})(?!\w)") for phrase in content.phrases[rule])


def compile_plain_phrases(phrases: Mapping[str, Iterable[str]]) -> re.Pattern[str]:
    """Phrases of a tenant, of all languages: plain words with anything but the end of a sentence between them."""
    listed = [list(WORD.findall(normalise(phrase))) for each in phrases.values() for phrase in each]
    return re.compile(rf"(?<!\w)(?:{'|'.join(GAP.join(map(re.escape, words)) for words in listed if words)})(?!\w)")


def _insert(patterns: Mapping[str, str], phrase: str) -> str:
    for name, pattern in patterns.items():
        phrase = phrase.replace(name, pattern)
    return phrase


def states_any(normalised: str, patterns: Iterable[re.Pattern[str]]) -> bool:
    """Whether the text has one of the phrases and does not deny it."""
    return any(not is_denied(normalised, match) for pattern in patterns for match in pattern.finditer(normalised))


def normalise(text: str) -> str:
    """The text in the form of the phrases: compatibility forms, case and accents do not matter, nothing is invisible.

    A number has no point or comma in it, for those end clauses.
    """
    if text.isascii():  # as most English answers are: nothing to decompose, and nothing invisible
        bare = text.casefold()
    else:
        plain = unicodedata.normalize("NFKD", INVISIBLE.sub("", text)).casefold().replace("’", "'")
        bare = "".join(mark for mark in plain if not unicodedata.combining(mark))
    return re.sub(r"(?<=\d)[.,](?=\d)", "", bare)


def is_denied(text: str, match: re.Match[str]) -> bool:
    """Whether the clause denies the phrase, just before it or between its words."""
    shortly_before = text[max(0, match.start() - FAR) : match.start()]
    clause = DENIES_NOTHING.sub(" ", CLAUSE_END.split(shortly_before)[-1])
    inside = DENIES_NOTHING.sub(" ", match.group())
    return bool(DENIAL.search(clause)) or (bool(DENIAL_INSIDE.search(inside)) and not LOSS.search(inside))
