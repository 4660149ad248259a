"""Hides and restores personal data in a text that comes in pieces: one transducer from pieces to pieces.

Promises that what comes out, put together, is what the whole text would give, however it was cut; that nothing is
released that could still become part of a finding; and that plain prose is released to its last blank at once.
Next: dlp/settled.py, which says what is settled."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.privacy.dlp.finding import Finding
from tidegate.services.privacy.dlp.settled import LONGEST_RUN, settled_length

CONTEXT = 1200
"""Characters before what is held that rules may look back at."""

Find = Callable[[str], Sequence[Finding]]
Hide = Callable[[Finding], str]
Restore = Callable[[str], str]
Settled = Callable[[str], int]


def keep_tokens(token: str) -> str:
    """A vault token as it is."""
    return token


def _screened(text: str, part: tuple[int, int], found: Sequence[Finding], hide: Hide, restore: Restore) -> str:
    """A part of a text in which this was found, with `hide` of each finding and `restore` of each vault token; a token
    is never hidden."""
    start, end = part
    tokens = list(VAULT_TOKEN.finditer(text, start, end)) if "<" in text else []
    changes = [(token.start(), token.end(), restore(token.group())) for token in tokens]
    changes += [
        (each.start, each.end, hide(each))
        for each in found
        if start <= each.start < end
        and not any(token.start() < each.end and each.start < token.end() for token in tokens)
    ]
    kept: list[str] = []
    done = start
    for first, last, other in sorted(changes):
        kept += text[done:first], other
        done = last
    return "".join((*kept, text[done:end]))


class StreamScreen:
    """Takes a text piece by piece; what `feed` and `finish` return, put together, is the whole with `hide` of
    what is found in all of it and `restore` of each vault token; a token is never hidden.

    What is held back is a word, a number or what an introduction announces; beside it a stretch of what was released
    is kept for the rules to look back at. Of a word longer than `settled.LONGEST_RUN` characters, and a number in
    groups longer than `settled.LONGEST_NUMBER`, the first ones are released before its end; there alone the whole text
    may give something else.
    """

    def __init__(
        self, find: Find, hide: Hide, restore: Restore = keep_tokens, settled: Settled = settled_length
    ) -> None:
        """`settled` says how much of a text no continuation changes for `find`: `settled_units` for a detector that
        reads disguises, with which a sentence is held to its end."""
        self._find = find
        self._hide = hide
        self._restore = restore
        self._settled = settled
        self._text = ""
        self._released = 0

    @property
    def held(self) -> str:
        """What came in and was not released yet."""
        return self._text[self._released :]

    def feed(self, piece: str) -> str:
        """What can be released after this piece."""
        self._text += piece
        if not any(map(str.isspace, piece)) and len(self.held) < LONGEST_RUN:
            return ""  # the word that is being written goes on
        settled = self._settled(self._text)
        if settled <= self._released:
            return ""
        found = self._find(self._text)
        crossing = (each.start for each in found if each.start < settled < each.end)
        return self._release(min(crossing, default=settled), found)

    def finish(self) -> str:
        """The rest: nothing follows."""
        return self._release(len(self._text), self._find(self._text))

    def _release(self, end: int, found: Sequence[Finding]) -> str:
        if end <= self._released:
            return ""
        out = _screened(self._text, (self._released, end), found, self._hide, self._restore)
        self._released = end
        self._forget()
        return out

    def _forget(self) -> None:
        """Drop what no rule looks back at, up to where the text was settled even without what followed."""
        if self._released > 2 * CONTEXT:
            cut = self._settled(self._text[: self._released - CONTEXT])
            self._text = self._text[cut:]
            self._released -= cut
