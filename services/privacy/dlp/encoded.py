"""Reads what was encoded for a link, a page or a mail: percent signs, entities, escapes, base64, base32, hex digits.

Promises bounded work: each round of decoding makes a text shorter, and there are three at most. Next: folding.py."""

from __future__ import annotations

import base64
import binascii
import re
import sys
from collections.abc import Iterator
from html import unescape
from typing import NamedTuple

from tidegate.services.privacy.dlp.folding import FoldedText, fold

ROUNDS = 3
"""What was encoded more often than this is not what anybody writes by accident."""
ENCODED = re.compile(
    r"(?:%[0-9A-Fa-f]{2}){1,400}|&(?:#0{0,12}[0-9]{1,7}|#[xX]0{0,12}[0-9A-Fa-f]{1,6});?|"
    r"&[A-Za-z]{2,10};|\\u[0-9A-Fa-f]{4}|\\u\{[0-9A-Fa-f]{1,6}\}|\\U000[0-9A-Fa-f]{5}|\\x[0-9A-Fa-f]{2}|\\[01][0-7]{2}"
)
BASE64 = re.compile(r"(?<![A-Za-z0-9+/_-])[A-Za-z0-9+/_-]{12,8192}={0,2}(?![A-Za-z0-9+/_=-])")
"""From 12 characters on: nine bytes, the shortest e-mail address or number that is worth finding."""
BASE32 = re.compile(r"(?<![A-Za-z0-9])[A-Z2-7]{16,8192}={0,6}(?![A-Za-z0-9=])")
HEX = re.compile(r"(?<![A-Za-z0-9])(?:0[xX])?((?:[0-9A-Fa-f]{2}){9,4096})(?![A-Za-z0-9])")
_LEAST_BASE32 = 16
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
        code = int(written[1:], 8) if written[1].isdecimal() else int(written[2:].strip("{}"), 16)
        if code <= sys.maxunicode:
            yield start, found.end(), chr(code)
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
    """Runs of base64, either alphabet, base32 and hexadecimal digits that hold a text that can be read."""
    for found in BASE64.finditer(text):
        yield from _as_block(found, _from_base64(found.group()))
    if max(map(len, text.split()), default=0) < _LEAST_BASE32:
        return  # that is quicker to see
    for found in BASE32.finditer(text):
        yield from _as_block(found, _from_base32(found.group().rstrip("=")))
    for found in HEX.finditer(text):
        yield from _as_block(found, bytes.fromhex(found[1]))


def _as_block(found: re.Match[str], data: bytes) -> Iterator[DecodedBlock]:
    """The block, where its bytes are a text: in UTF-8, or in UTF-16 with every other byte of zero."""
    half = len(data) // 2
    name = (
        "utf-16-le" if data[1::2].count(0) == half > 0 else "utf-16-be" if data[0::2].count(0) == half > 0 else "utf-8"
    )
    try:
        inner = data.decode(name)
    except UnicodeDecodeError:
        return
    if inner and all(character.isprintable() or character in "\r\n\t" for character in inner):
        yield DecodedBlock(found.start(), found.end(), inner)


def _from_base64(written: str) -> bytes:
    """The bytes; none where it is no base64."""
    digits = written.rstrip("=").translate(TO_STANDARD)
    try:
        return base64.b64decode(digits + "=" * (-len(digits) % 4), validate=True) if len(digits) % 4 != 1 else b""
    except binascii.Error:
        return b""


def _from_base32(written: str) -> bytes:
    try:
        return base64.b32decode(written + "=" * (-len(written) % 8))
    except binascii.Error:
        return b""
