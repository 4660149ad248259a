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


class CitedSentence(msgspec.Struct, frozen=True):
    """A sentence without its mark; `passage` is the number of the passage that it cites, 0 where it cites none.

    `tokens` is how many ids the answer has up to its end, the mark before it included.
    """

    text: str
    passage: int
    tokens: int


class ParsedAnswer(msgspec.Struct, frozen=True):
    """An answer as it was generated, so far. `text` is the sentences joined by a space.

    `is_none`: the model answers that no passage does; then there is no sentence.
    """

    sentences: tuple[CitedSentence, ...]
    is_none: bool = False

    @property
    def text(self) -> str:
        """What a person sees."""
        return " ".join(sentence.text for sentence in self.sentences)

    @property
    def cited(self) -> tuple[int, ...]:
        """The passages that are cited, in the order in which they first are."""
        return tuple(dict.fromkeys(sentence.passage for sentence in self.sentences if sentence.passage))


def parse_answer(tokens: TokenText, ids: Sequence[int]) -> ParsedAnswer:
    """A whole answer, its end mark left out or not: `[n] S [m] S`, or `<|none|>`."""
    return _read(tokens, ids, is_whole=True)


def parse_complete_sentences(tokens: TokenText, ids: Sequence[int]) -> ParsedAnswer:
    """The sentences of an unfinished answer that no later token can change.

    One is complete when white space or another mark follows its full stop: "3." may still become "3.5". The reading of
    more ids begins with the reading of fewer.
    """
    return _read(tokens, ids, is_whole=False)


def _read(tokens: TokenText, ids: Sequence[int], *, is_whole: bool) -> ParsedAnswer:
    if tokens.NONE in ids:
        return ParsedAnswer((), is_none=True)
    sentences: list[CitedSentence] = []
    begin, passage = 0, 0
    for index, each in enumerate((*ids, None)):
        number = tokens.marked(each) if each is not None else None
        if number is None and each is not None and each != tokens.END:
            continue
        is_closed = is_whole or each is not None
        sentences += _split(tokens, ids[begin:index], passage, begin, is_closed=is_closed)
        if number is None:
            break
        begin, passage = index + 1, number
    return ParsedAnswer(tuple(sentences))


def _split(tokens: TokenText, ids: Sequence[int], passage: int, before: int, *, is_closed: bool) -> list[CitedSentence]:
    """The sentences of one run of text under one mark; an open run keeps its last words back."""
    text = tokens.decode(ids)
    ends = [match.end() for match in _ENDS.finditer(text) if not is_abbreviation(text, match.start())]
    found = []
    start = 0
    for end in [*ends, *([len(text)] if is_closed else [])]:
        if text[start:end].strip():
            taken = len(ids) if end == len(text) else _tokens_up_to(tokens, ids, end)
            found.append(CitedSentence(" ".join(text[start:end].split()), passage, before + taken))
        start = end
    return found


def _tokens_up_to(tokens: TokenText, ids: Sequence[int], characters: int) -> int:
    """How many ids that many characters take."""
    wanted = len(tokens.decode(ids)[:characters].encode())
    spelled = 0
    for count, each in enumerate(ids, 1):
        spelled += len(tokens.bytes_of((each,)))
        if spelled >= wanted:
            return count
    return len(ids)


def is_abbreviation(text: str, stop: int) -> bool:
    """Whether the full stop at `stop` belongs to an abbreviation, an initial, a step's number: ends nothing."""
    if text[stop] != ".":
        return False
    if re.search(r"(?:^|\n)\s*\d{1,2}$", text[:stop]):
        return True
    word = re.split(r"[\s(]", text[:stop])[-1].casefold()
    return word in _SHORT or (len(word) == 1 and word.isalpha())
