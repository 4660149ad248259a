"""What stands of a language model's answer: sentences that are in the passages they cite, where the reader agrees.

Promises that nothing of a model's answer stands but what a passage states word for word; next: `answerer`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import msgspec

from tidegate.schemas import Answer, Check, Citation, Speculation
from tidegate.services.answering.prompt_context import PromptContext
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.compose import compose_answer
from tidegate.services.llm.text.answers import ParsedAnswer
from tidegate.services.llm.text.tokenizer import TokenText

CitedTexts = Sequence[tuple[int, str]]
"""The text under each mark, in order: the number of the cited passage (0: none) and the text."""


def texts_by_mark(parsed: ParsedAnswer) -> CitedTexts:
    """The sentences of an answer, those under one mark together."""
    runs = groupby(parsed.sentences, key=lambda sentence: sentence.passage)
    return [(number, " ".join(sentence.text for sentence in run)) for number, run in runs]


def combine(context: PromptContext, parsed: ParsedAnswer, speculation: Speculation | None = None) -> Answer:
    """The answer of both: the reader's units, which the model has chosen too; or the reader's alone, and its checks
    show that.

    A model's sentence stands where it is its cited passage word for word. The check `agreement` is the share of its
    sentences that stand and that the reader has selected; it passes at 1.0. The confidence stays the reader's, for only
    that is calibrated. An empty answer agrees with nothing.
    """
    texts = texts_by_mark(parsed)
    agreed = sum(agreed_unit(context, number, text) is not None for number, text in texts)
    share = agreed / len(texts) if texts else 0.0
    checks = (*context.reading.answer.checks, Check("agreement", share == 1.0, share))
    return msgspec.structs.replace(context.reading.answer, checks=checks, speculation=speculation)


def agreed_unit(context: PromptContext, number: int, text: str) -> Candidate | None:
    """The passage that the sentence cites, where that is what the sentence is, and the reader has selected it."""
    unit = context.unit(number)
    return unit if _states(text, unit) and _is_selected(context, unit) else None


def confirmed_beginning(context: PromptContext, parsed: ParsedAnswer) -> Answer | None:
    """What may be shown of the answer while the model still generates: the longest beginning of the answer's text that
    its sentences have confirmed, with the citations of that much; None where that is nothing."""
    texts = texts_by_mark(parsed)
    confirmed = {unit.span for number, text in texts if (unit := agreed_unit(context, number, text)) is not None}
    if len(confirmed) < len(texts) or not confirmed:
        return None
    whole, text = context.reading.answer, ""
    citations: tuple[Citation, ...] = ()
    for count, unit in enumerate(context.reading.selected, start=1):
        if unit.span not in confirmed:
            break
        beginning = compose_answer(context.reading.selected[:count], context.reading.lead)
        if whole.text.startswith(beginning.text):
            text, citations = beginning.text, beginning.citations
    if not text:
        return None
    return msgspec.structs.replace(whole, text=text, citations=citations)


def has_diverged(context: PromptContext, tokens: TokenText, ids: Sequence[int]) -> bool:
    """Whether the ids so far can no longer become an answer that stands: they begin under no mark, cite what the reader
    has not selected, or are not what they cite."""
    begin, unit = 0, None
    for index, each in enumerate(ids):
        number = tokens.marked(each)
        if number is not None:
            if index and not _states(tokens.decode(ids[begin:index]), unit):  # a mark ends what stood under the last
                return True
            begin, unit = index + 1, context.unit(number)
            if not _is_selected(context, unit):
                return True
    return bool(ids) and not _begins(tokens.decode(ids[begin:]), unit)


def _is_selected(context: PromptContext, unit: Candidate | None) -> bool:
    return unit is not None and unit.span in {chosen.span for chosen in context.reading.selected}


def _states(text: str, unit: Candidate | None) -> bool:
    return unit is not None and " ".join(unit.plain_text.split()) == " ".join(text.split())


def _begins(text: str, unit: Candidate | None) -> bool:
    beginning = " ".join(text.rstrip("\ufffd").split())  # the rest of a character may be still to come
    return unit is not None and " ".join(unit.plain_text.split()).startswith(beginning)
