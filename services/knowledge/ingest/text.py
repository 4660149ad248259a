"""Plain text and its character sets. Promises that bytes always become a text. Next: parts.py."""

from __future__ import annotations

import codecs
import re

from tidegate.services.knowledge.ingest.parts import IngestedText
from tidegate.services.knowledge.ingest.plain_headings import mark_headings
from tidegate.services.knowledge.ingest.unseen import without_unseen

_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_POLISH = re.compile(r"[^\W\d_][³¹¿Ÿ]|[³¿](?!\s)[^\W\d_A-Z]")
"""What the Polish letters of cp1250 become in cp1252, inside of words."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f\ufffe\ufeff\u200b\u00ad]")
_INLINE = re.compile(r"\\|[*`]|<(?=[A-Za-z/!?])|(?<!\w)_|_(?!\w)|&(?=#?\w+;)")
_SAMPLE = 4096


def decode_text(data: bytes, declared: str = "") -> str:
    """The text in `data`: by its byte order mark, the character set that is `declared` in it, UTF-8, UTF-16 or cp1252.

    Control characters, those that nobody sees and byte order marks are left out, and lines end with one line feed.
    """
    plain = _CONTROL.sub("", _decode(data, declared).replace("\r\n", "\n").replace("\r", "\n"))
    return without_unseen(plain)


def is_binary(data: bytes) -> bool:
    """Whether the bytes are no text in any character set that is known here."""
    sample = data[:_SAMPLE]
    if any(data.startswith(mark) for mark, _ in _MARKS) or _guess_utf16(data):
        return False
    control = sum(byte < 9 or 13 < byte < 27 for byte in sample)
    return control * 50 > len(sample)


def read_text(data: bytes) -> IngestedText:
    """Plain text as Markdown, with the headings that `mark_headings` finds; a form feed begins a page."""
    pages = _INLINE.sub(r"\\\g<0>", decode_text(data)).strip("\n").split("\f")
    text = ""
    starts = [0]
    for number, page in enumerate(pages):
        text += mark_headings(page, has_title=number == 0)
        starts.append(len(text))
    has_pages = len(pages) > 1
    return IngestedText(text=text, page_starts=tuple(starts[:-1]) if has_pages else ())


def _decode(data: bytes, declared: str) -> str:
    for mark, name in _MARKS:
        if data.startswith(mark):
            return data[len(mark) :].decode(name, "replace")
    for name in filter(None, (_guess_utf16(data), declared, "utf-8")):
        try:
            return data.decode(name)
        except (UnicodeDecodeError, LookupError):
            continue
    text = data.decode("cp1252", "replace")
    return data.decode("cp1250", "replace") if _POLISH.search(text) else text


def _guess_utf16(data: bytes) -> str:
    """UTF-16 without its mark: every other byte of western text is zero."""
    sample = data[:_SAMPLE]
    if len(sample) < 4 or len(data) % 2:
        return ""
    low, high = sample[0::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if high > half * 0.6 and low < half * 0.1:
        return "utf-16-le"
    return "utf-16-be" if low > half * 0.6 and high < half * 0.1 else ""
