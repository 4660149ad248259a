"""Text that others wrote, as it may reach a terminal or a log: nothing in it acts. Pure.

Control characters move cursors, clear screens and rename windows; line breaks other than `\\n` forge lines; marks of
writing direction have text read in another order than it is stored. Next: services/cli/terminal.py."""

from __future__ import annotations

import re

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"
_ACTING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_ACTING_IN_JSON = re.compile(rb"\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xa8-\xae]|\xe2\x81[\xa6-\xa9]")
"""The same in UTF-8, without those that JSON escapes anyhow."""


def readable(text: str) -> str:
    """The text with a replacement for each character that acts; line feeds and tabs stay."""
    return _ACTING.sub(REPLACEMENT, text)


def readable_json(data: bytes) -> bytes:
    """JSON of the same value, in which characters that act are escaped."""
    return _ACTING_IN_JSON.sub(lambda found: b"\\u%04x" % ord(found[0].decode()), data)
