"""Reads what was generated: the visible text, its sentences, and which passage each of them cites."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from tidegate.services.llm.text.tokenizer import TokenText

_ENDS = re.compile(r"[.!?…][\"'”’»)\]]*(?=\s)")
_ENGLISH = ("mr", "mrs", "ms", "dr", "prof", "st", "nr", "approx", "incl", "excl", "tel", "fig", "e.g", "i.e", "vs")
_OTHERS = ("ca", "bzw", "evtl", "inkl", "ggf", "z.b", "u.a", "d.h", "str", "av", "sr", "sra")
_SHORT = frozenset((*_ENGLISH, *_OTHERS))


class Sentence(msgspec.Struct, frozen=True):
    """A sentence without its mark; `passage` is the number of the passage that it cites, 0 where it cites none.

    `tokens` is how many of the ids it takes to say the answer up to its end, the mark before it included.
    """

    text: str
    passage: int
    tokens: int


class Reading(msgspec.Struct, frozen=True):
    """An answer as it was generated, so far. `text` is the sentences joined by a space.

    `is_none`: the model says that the passages do not answer; then there is no sentence.
    """

    sentences: tuple[Sentence, ...]
    is_none: bool = False

    @property
    def text(self) -> str:
        """What a person sees."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def cited(self) -> tuple[int, ...]:
        """The passages that are cited, in the order in which they first are."""
        return tuple(dict.fromkeys(sentence.passage for sentence in self.sentences if sentence.passage))


def read_answer(tokens: TokenText, ids: Sequence[int]) -> Reading:
    """A whole answer, its end mark left out or not: `[n] S [m] S`, or `<|none|>`."""
    return _read(tokens, ids, is_whole=True)


def sentences_so_far(tokens: TokenText, ids: Sequence[int]) -> Reading:
    """The sentences of an unfinished answer that no later token can change.

    One is complete when white space or another mark follows its full stop: "3." may still become "3.5". The reading of
    more ids begins with the reading of fewer.
    """
    return _read(tokens, ids, is_whole=False)


def _read(tokens: TokenText, ids: Sequence[int], *, is_whole: bool) -> Reading:
    if tokens.NONE in ids:
        return Reading((), is_none=True)
    sentences: list[Sentence] = []
    begin, passage = 0, 0
    for place, each in enumerate((*ids, None)):
        number = tokens.marked(each) if each is not None else None
        if number is None and each is not None and each != tokens.END:
            continue
        is_closed = is_whole or each is not None
        sentences += _split(tokens, ids[begin:place], passage, begin, is_closed=is_closed)
        if number is None:
            break
        begin, passage = place + 1, number
    return Reading(tuple(sentences))


def _split(tokens: TokenText, ids: Sequence[int], passage: int, before: int, *, is_closed: bool) -> list[Sentence]:
    """The sentences of one run of text under one mark; an open run keeps its last words back."""
    text = tokens.decode(ids)
    ends = [match.end() for match in _ENDS.finditer(text) if not _is_short(text, match.start())]
    found = []
    start = 0
    for end in [*ends, *([len(text)] if is_closed else [])]:
        if text[start:end].strip():
            taken = len(ids) if end == len(text) else _tokens_up_to(tokens, ids, end)
            found.append(Sentence(" ".join(text[start:end].split()), passage, before + taken))
        start = end
    return found


def _tokens_up_to(tokens: TokenText, ids: Sequence[int], characters: int) -> int:
    """How many ids it takes to say that many characters."""
    wanted = len(tokens.decode(ids)[:characters].encode())
    said = 0
    for count, each in enumerate(ids, 1):
        said += len(tokens.bytes_of((each,)))
        if said >= wanted:
            return count
    return len(ids)


def _is_short(text: str, stop: int) -> bool:
    """Whether the full stop at `stop` belongs to an abbreviation, an initial, a step's number: ends nothing."""
    if text[stop] != ".":
        return False
    if re.search(r"(?:^|\n)\s*\d{1,2}$", text[:stop]):
        return True
    word = re.split(r"[\s(]", text[:stop])[-1].casefold()
    return word in _SHORT or (len(word) == 1 and word.isalpha())
