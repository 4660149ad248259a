"""A tenant's own personal data by patterns of its own: numbers of contracts, staff or meters that no rule knows.

Promises time linear in the text for any pattern (RE2 has no backtracking), and that a wrong one is named when it is
loaded. Next: detector.py."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import re2

from tidegate.schemas import TidegateError
from tidegate.services.privacy.dlp.finding import PersonalSpan

KIND = "TENANT"
MOST_PATTERNS, MOST_CHARACTERS = 64, 512
MEMORY_BYTES = 1 << 20
"""Of a pattern that is compiled: a repetition of a repetition is refused here, and not when a text comes."""
WORD = re.compile(r"\S+")


class TenantPatternError(TidegateError, ValueError):
    """A pattern of `prefilter.patterns` is no RE2 pattern, matches nothing at all, or is too large."""

    hint = "write it as RE2 does (https://github.com/google/re2/wiki/Syntax): no look-around and no back-references"


class TenantPatterns:
    """Patterns by name. Each is looked for inside every word, what stands between two blanks, so that a stream of text
    need not wait for more than the end of a word."""

    def __init__(self, patterns: Mapping[str, str]) -> None:
        """Raises `TenantPatternError`."""
        if len(patterns) > MOST_PATTERNS:
            raise TenantPatternError(f"{len(patterns)} patterns are too many: at most {MOST_PATTERNS}")
        self._patterns = tuple(_compile(name, patterns[name]) for name in sorted(patterns))

    def find(self, text: str) -> Iterator[PersonalSpan]:
        """What any of the patterns matches."""
        for pattern in self._patterns:
            for word in WORD.finditer(text):
                for found in pattern.finditer(word.group()):
                    if found.end() > found.start():
                        yield PersonalSpan(KIND, word.start() + found.start(), word.start() + found.end())


def _compile(name: str, pattern: str) -> re2._Regexp:
    if len(pattern) > MOST_CHARACTERS:
        raise TenantPatternError(f"the pattern {name} has {len(pattern)} characters: at most {MOST_CHARACTERS}")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = MEMORY_BYTES
    try:
        compiled = re2.compile(pattern, options=options)
    except re2.error as error:
        reason = error.args[0] if error.args else "unknown"
        shown = reason.decode(errors="replace") if isinstance(reason, bytes) else reason
        raise TenantPatternError(f"the pattern {name} is no RE2 pattern: {shown}") from error
    if compiled.search(""):
        raise TenantPatternError(f"the pattern {name} matches nothing at all, and so everywhere")
    if re.search(r"\s", pattern):
        raise TenantPatternError(f"the pattern {name} has a blank: a pattern is looked for inside a word")
    return compiled
