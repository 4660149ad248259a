"""What a question is made of and a document is not, by language. Next: data/stop_words.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from tidegate.services.languages.words import LANGUAGES, load_words


def load_stop_words(language: str) -> list[str]:
    """The words of a language that are not looked for, beyond an analyzer's own list; none for one that is not known.

    Those of `LANGUAGES` stand among their other words.
    """
    return (load_words(language).stop_words if language in LANGUAGES else _others().get(language, "")).split()


@cache
def _others() -> dict[str, str]:
    text = (files("tidegate.services.languages") / "data" / "stop_words.toml").read_text("utf-8")
    found: dict[str, str] = tomllib.loads(text)
    return found
