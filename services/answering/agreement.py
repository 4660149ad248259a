"""What stands of what a language model said: sentences that are in the passages they cite, where the reader agrees."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from tidegate.schemas import Answer, Check, Citation, Speculation
from tidegate.services.answering.prompt_context import Brief
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.reader import composed
from tidegate.services.llm.text.answers import Reading
from tidegate.services.llm.text.tokenizer import TokenText

Said = Sequence[tuple[int, str]]
"""What was said under each mark, in order: the number of the cited passage (0: none) and the text."""


def said_in(reading: Reading) -> Said:
    """The sentences of a reading, those under one mark together."""
    said: list[tuple[int, str]] = []
    for sentence in reading.sentences:
        if said and said[-1][0] == sentence.passage:
            said[-1] = (sentence.passage, f"{said[-1][1]} {sentence.text}")
        else:
            said.append((sentence.passage, sentence.text))
    return said


def answer_of(brief: Brief, reading: Reading, speculation: Speculation | None = None) -> Answer:
    """The answer of both: the reader's units, which the model has chosen too; or the reader's alone, and said so.

    A model's sentence stands where it is its cited passage word for word. The check `agreement` is the share of its
    sentences that stand and that the reader would say; it passes at 1.0. The confidence stays the reader's, for only
    that is calibrated. A model that says nothing agrees with nothing.
    """
    said = said_in(reading)
    agreed = sum(agrees(brief, number, text) for number, text in said)
    share = agreed / len(said) if said else 0.0
    checks = (*brief.survey.answer.checks, Check("agreement", share == 1.0, share))
    return msgspec.structs.replace(brief.survey.answer, checks=checks, speculation=speculation)


def agrees(brief: Brief, number: int, text: str) -> bool:
    """Whether the sentence is the passage that it cites, and one that the reader would say."""
    unit = brief.unit(number)
    if unit is None or " ".join(text.split()) != " ".join(unit.spoken.split()):
        return False
    return unit.place in {chosen.place for chosen in brief.survey.chosen}


def sentences_of(brief: Brief, reading: Reading) -> Answer | None:
    """What may be told of the answer while the model still speaks: the longest beginning of the answer's text that the
    model's sentences have confirmed, with the citations of that much, or None where that is nothing."""
    said = said_in(reading)
    confirmed = {unit.place for number, text in said if agrees(brief, number, text) and (unit := brief.unit(number))}
    if len(confirmed) < len(said) or not confirmed:
        return None
    whole, text = brief.survey.answer, ""
    citations: tuple[Citation, ...] = ()
    for count, unit in enumerate(brief.survey.chosen, start=1):
        if unit.place not in confirmed:
            break
        beginning, cited = composed(brief.survey.chosen[:count])
        if whole.text.startswith(beginning):
            text, citations = beginning, cited
    if not text:
        return None
    return msgspec.structs.replace(whole, text=text, citations=citations)


def strays(brief: Brief, tokens: TokenText, ids: Sequence[int]) -> bool:
    """Whether what is said so far can no longer become an answer that stands: it begins under no mark, cites what the
    reader would not say, or is not what it cites."""
    begin, unit = 0, None
    for place, each in enumerate(ids):
        number = tokens.marked(each)
        if number is not None:
            if place and not _begins(tokens.decode(ids[begin:place]), unit):
                return True
            begin, unit = place + 1, brief.unit(number)
            if unit is None or unit.place not in {chosen.place for chosen in brief.survey.chosen}:
                return True
    return bool(ids) and not _begins(tokens.decode(ids[begin:]), unit)


def _begins(text: str, unit: Candidate | None) -> bool:
    said = " ".join(text.rstrip("\ufffd").split())  # the rest of a character may be still to come
    return unit is not None and " ".join(unit.spoken.split()).startswith(said)
