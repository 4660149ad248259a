"""What of a question is worth looking for."""

from __future__ import annotations

import re

from services.search.markdown import sentences

_TOKEN = re.compile(r"<[A-Z][A-Z_]*_[0-9a-f]{6,}>")
_FEWEST_WORDS = 3


def sought(text: str) -> str:
    """The asking part of a question: its sentences with a question mark, without vault tokens.

    The whole text where nothing is asked with a mark, or where too little would be left.
    """
    bare = " ".join(_TOKEN.sub(" ", text).split())
    asked = [bare[start:end] for start, end in sentences(bare, 0, len(bare)) if "?" in bare[start:end]]
    focus = " ".join(asked)
    return focus if len(focus.split()) >= _FEWEST_WORDS else bare
