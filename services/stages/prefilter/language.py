"""Detects the language of a text, and whether the site speaks it."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from importlib.metadata import version

from tidegate.schemas.vault_token import without_tokens
from tidegate.services.languages.detection import load_restricted_model
from tidegate.services.stages.prefilter.handler import DetectedLanguage

OTHERS = (
    "ar bg ca cs da de el en es et fa fi fr he hi hr hu id it ja ko lt lv nl no pl pt ro ru sk sl sq sr sv th tr uk ur "
    "vi zh"
)
"""What people here may speak, whether a site does or not. Fewer names tell short texts apart better than all 140 do."""

LEAST_LETTERS = 12
MOST_CHARS = 1000
SURE = 0.6
"""Share of the probability at which another language than the site's is believed."""
LEAD = 4.0
"""And how many times as likely as the site's likeliest it must be."""


class LanguageModel:
    """py3langid (Lui & Baldwin, "langid.py", ACL 2012), restricted. Loading takes about a second: do it at start."""

    def __init__(self, languages: Sequence[str]) -> None:
        """`languages`: what the site speaks, its own first. Raises `ValueError` for one the model does not know."""
        self._languages = tuple(languages)
        if not languages:
            raise ValueError("a site speaks no language")
        model = load_restricted_model(frozenset({*OTHERS.split(), *languages}))
        self._rank = lru_cache(maxsize=256)(model.rank)  # a question's language is asked for twice
        self.version = f"{version('py3langid')}/{'+'.join(self._languages)}"

    def detect(self, text: str, hint: str = "") -> DetectedLanguage:
        """The site's language that the text is in, or another one if it clearly is in that.

        A `hint` that the site speaks is believed. A text of fewer than 12 letters is in the site's first language,
        unless its script says otherwise. Vault tokens and other angle brackets' contents do not count.
        """
        if hint[:2].lower() in self._languages:
            return DetectedLanguage(hint[:2].lower(), True)
        words = without_tokens(text)[:MOST_CHARS]
        letters = [letter for letter in words if letter.isalpha()]
        if len(letters) < LEAST_LETTERS and not _is_foreign_script(letters):
            return DetectedLanguage(self._languages[0], True)
        ranked: list[tuple[str, float]] = self._rank(words)
        own, likely = next((code, share) for code, share in ranked if code in self._languages)
        top, share = ranked[0]
        if top != own and share >= SURE and share >= LEAD * likely:
            return DetectedLanguage(top, False)
        if _is_foreign_script(letters) and not _shares_script(ranked, self._languages):
            return DetectedLanguage(top, False)
        return DetectedLanguage(own, True)


def _is_foreign_script(letters: Sequence[str]) -> bool:
    """Whether most letters are not Latin."""
    latin = sum(letter < "\u0250" or unicodedata.name(letter, "").startswith("LATIN") for letter in letters)
    return latin * 2 < len(letters)


def _shares_script(ranked: Sequence[tuple[str, float]], languages: Sequence[str]) -> bool:
    """Whether the model gives the site's languages any real share: it gives next to none across scripts."""
    return sum(share for code, share in ranked if code in languages) >= 0.05
