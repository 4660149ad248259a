"""Reads what was encoded for a link, a page or a mail: percent signs, HTML entities, escapes of JSON, base64.

Promises bounded work: each round of decoding makes a text shorter, and there are three at most. Next: folding.py."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

from tidegate.services.privacy.dlp.folding import FoldedText, fold

ROUNDS = 3
"""What was encoded more often than this is not what anybody writes by accident."""
ENCODED = re.compile(
    r"(?:%[0-9A-Fa-f]{2}){1,400}|&(?:#[0-9]{1,7}|#[xX][0-9A-Fa-f]{1,6}|[A-Za-z]{2,10});|\\u[0-9A-Fa-f]{4}|\\x[0-9A-Fa-f]{2}"
)
BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,8192}={0,2}(?![A-Za-z0-9+/_=-])")
"""From 12 characters on: nine bytes, the shortest e-mail address or number that is worth finding."""
TO_STANDARD = str.maketrans("-_", "+/")


class DecodedBlock(NamedTuple):
    """Characters `start` to `end` are `text` in base64."""

    start: int
    end: int
    text: str


def decode_marks(view: FoldedText) -> FoldedText | None:
    """The view with percent signs, entities and escapes decoded, at most `ROUNDS` times; None where there are none."""
    if not any(mark in view.text for mark in "%&\\"):
        return None
    decoded = view
    for _ in range(ROUNDS):
        marks = [each for found in ENCODED.finditer(decoded.text) for each in _decode(found)]
        if not marks:
            break
        decoded = decoded.replaced(marks)
    if decoded is view:
        return None
    folded = fold(decoded.text)
    spans = [decoded.locate(start, end) for start, end in zip(folded.starts, folded.ends, strict=True)]
    return FoldedText(folded.text, [start for start, _ in spans], [end for _, end in spans])


def _decode(found: re.Match[str]) -> Iterator[tuple[int, int, str]]:
    written, start = found.group(), found.start()
    if written[0] == "&":
        text = unescape(written)
        if text != written:
            yield start, found.end(), text
    elif written[0] == "\\":
        yield start, found.end(), chr(int(written[2:], 16))
    else:
        data = bytes.fromhex(written.replace("%", ""))
        try:
            text = data.decode()
        except UnicodeDecodeError:
            text = data.decode("latin-1")
            yield from ((start + 3 * index, start + 3 * index + 3, each) for index, each in enumerate(text))
            return
        for character in text:
            end = start + 3 * len(character.encode())
            yield start, end, character
            start = end


def decode_blocks(text: str) -> Iterator[DecodedBlock]:
    """Runs of base64, either alphabet, that hold a text that can be read."""
    for found in BASE64.finditer(text):
        written = found.group().rstrip("=").translate(TO_STANDARD)
        if len(written) % 4 == 1:
            continue
        try:
            inner = base64.b64decode(written + "=" * (-len(written) % 4), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
        if all(character.isprintable() or character in "\r\n\t" for character in inner):
            yield DecodedBlock(found.start(), found.end(), inner)
