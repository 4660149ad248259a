"""Our questions that are answered with yes or no, as fields that are true or false of what stands around the evidence.

Next: training/field_reader.py."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tidegate.infra.models.data.field_texts import AskedOfText, AskedText
from tidegate.infra.models.data.qa import TRAIN, own_files
from tidegate.services.knowledge.extraction.field_windows import cut_text, encode_asked
from tidegate.services.knowledge.reader.windows import Encode
from tidegate.services.languages.extraction_words import fold
from tidegate.services.languages.words import LANGUAGES, load_words

AROUND = 240
"""Characters of a document that are read before the evidence and behind it."""
MOST = 1200
"""Evidence that is further apart is left out."""


def read_yes_no(directory: Path, encode: Encode) -> Iterator[AskedText]:
    """The questions of our documents whose answer begins with yes or no, each with a part of its document."""
    yes, no = ({fold(word) for code in LANGUAGES for word in getattr(load_words(code), kind)} for kind in ("yes", "no"))
    for path in own_files(directory, TRAIN):
        for line in path.read_text("utf-8").splitlines():
            record = json.loads(line)
            for each in record["questions"]:
                first = fold(each.get("answer", "")).replace(",", " ").split()[:1]
                if (
                    each["kind"] == "yes_no"
                    and first
                    and first[0] in yes | no
                    and (part := _around(record["text"], each))
                ):
                    asked = encode_asked(each["text"], (True, False), encode)
                    right = (first[0] in yes, first[0] in no)
                    field = AskedOfText(each["text"], "boolean", asked, asked, (), right, False)
                    yield AskedText(-1, tuple(cut_text(part, encode)[:1]), (field,))


def _around(text: str, asked: dict[str, Any]) -> str:
    """The evidence of a question with what stands around it; "" where it is far apart."""
    starts = [text.find(each) for each in asked["evidence"]]
    ends = [start + len(each) for start, each in zip(starts, asked["evidence"], strict=True)]
    if not starts or min(starts) < 0 or max(ends) - min(starts) > MOST:
        return ""
    first, last = max(0, min(starts) - AROUND), min(len(text), max(ends) + AROUND)
    first = text.find(" ", first) + 1 if first else 0
    return text[first:last]
