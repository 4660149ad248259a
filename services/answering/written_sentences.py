"""A model's own words as they come: whole sentences, the passages that each names, and what bears each out.

Pure. Next: `grounded_writer`, which decides what is said; `sentence_check`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from tidegate.schemas import Citation
from tidegate.services.answering.sentence_check import SentenceCheck, SourceText, check_sentence
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.llm.text.answers import is_abbreviation

_MARK = re.compile(r"\s*\[(\d{1,3}(?:\s*,\s*\d{1,3})*)\]")
_END = re.compile(r"(?:[.!?…][\"'”’»)]*|\n)(?:\s*\[[\d\s,]+\])*[.]?(?=\s+[^\s\[])")
_MOST_NAMED = 2
"""Passages that one sentence may rest on where it names none."""


class WrittenSentence(msgspec.Struct, frozen=True):
    """A sentence without its marks; `named` are the passages that it names, counted from 1."""

    text: str
    named: tuple[int, ...] = ()


class JudgedSentence(msgspec.Struct, frozen=True):
    """A sentence with what bears it out, or the reason why nothing does."""

    text: str
    check: SentenceCheck
    units: tuple[Candidate, ...] = ()

    def without_lead(self) -> JudgedSentence:
        """It without the yes or no that is doubtful."""
        rest = self.check.doubtful.rest
        return msgspec.structs.replace(self, text=f"{rest[:1].upper()}{rest[1:]}")


def split_written(text: str, *, is_whole: bool) -> list[WrittenSentence]:
    """The sentences of an answer so far; of an unfinished one, those that no later word can change."""
    ends = [match.end() for match in _END.finditer(text) if not is_abbreviation(text, match.start())]
    begins = [0, *ends]
    pieces = [text[begin:end] for begin, end in zip(begins, [*ends, len(text)], strict=True)]
    return [written for piece in (pieces if is_whole else pieces[:-1]) if (written := _read(piece)).text]


def judge(sentence: WrittenSentence, units: Sequence[Candidate], question: str) -> JudgedSentence:
    """Hold a sentence against the units that it names; where it names none, against the one or two that fit best."""
    if sentence.named:
        if any(not 1 <= number <= len(units) for number in sentence.named):
            return JudgedSentence(sentence.text, SentenceCheck(0.0, "it names a passage that was not given"))
        named = tuple(units[number - 1] for number in sentence.named)
        return JudgedSentence(sentence.text, _check(sentence.text, named, question), named)
    alone = [(unit, _check(sentence.text, (unit,), question)) for unit in units]
    alone.sort(key=lambda pair: (not pair[1].passed, -pair[1].score))
    if not alone:
        return JudgedSentence(sentence.text, SentenceCheck(0.0, "there is nothing to cite"))
    best, check = alone[0]
    if not check.passed and len(alone) >= _MOST_NAMED:
        both = (best, alone[1][0])
        if (together := _check(sentence.text, both, question)).passed:
            return JudgedSentence(sentence.text, together, both)
    return JudgedSentence(sentence.text, check, (best,))


def cite(units: Sequence[Candidate]) -> tuple[Citation, ...]:
    """Each unit once, verbatim."""
    spans = {unit.span: unit for unit in units}
    return tuple(unit.cite(unit.unit.start, unit.unit.end, unit.text) for unit in spans.values())


def _check(text: str, units: Sequence[Candidate], question: str) -> SentenceCheck:
    evidence = [SourceText(unit.plain_text, unit.passage.language, _over(unit)) for unit in units]
    return check_sentence(text, evidence, question)


def _over(unit: Candidate) -> str:
    """What stands over a unit: its title, its heading, the header of its table."""
    return " ".join((unit.passage.title, unit.passage.heading, *(quote for _, _, quote in unit.context)))


def _read(piece: str) -> WrittenSentence:
    named = dict.fromkeys(int(number) for group in _MARK.findall(piece) for number in group.split(","))
    text = " ".join(_MARK.sub("", piece).split())
    return WrittenSentence(text if any(letter.isalnum() for letter in text) else "", tuple(named))
