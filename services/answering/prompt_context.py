"""A question with its numbered passages as a language model reads them, and the answer that it is expected to give."""

from __future__ import annotations

import msgspec

from tidegate.schemas import Draft, Question
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.reader import RankedSpans
from tidegate.services.llm.drafters.alignment import MOST_DRAFT_TOKENS
from tidegate.services.llm.text.prompts import answer_prompt
from tidegate.services.llm.text.tokenizer import TokenText

MOST_PASSAGES = 6
MOST_PROMPT_TOKENS = 448
MOST_DRAFT_CHARACTERS = 1024


class PromptContext(msgspec.Struct, frozen=True, kw_only=True):
    """What a language model is given: `prompt` holds the question and the passages, the reader's best first.

    The model cites a passage by its number; they count from 1.
    """

    question: Question
    reading: RankedSpans
    passages: tuple[Candidate, ...]
    prompt: tuple[int, ...]

    def unit(self, number: int) -> Candidate | None:
        """The unit that a mark names."""
        return self.passages[number - 1] if 1 <= number <= len(self.passages) else None


def build_prompt_context(tokens: TokenText, question: Question, reading: RankedSpans) -> PromptContext | None:
    """The prompt with the reader's most likely units; None where it found nothing to read from.

    What the reader has selected always comes first, so that a prompt that has to be cut loses the least likely.
    """
    if not reading.selected:
        return None
    units = order_units(reading)[:MOST_PASSAGES]
    prompt = answer_prompt(tokens, question.text, [unit.plain_text for unit in units], MOST_PROMPT_TOKENS)
    passages = tuple(units[: prompt.passages])
    return PromptContext(question=question, reading=reading, passages=passages, prompt=prompt.ids)


def order_units(reading: RankedSpans) -> tuple[Candidate, ...]:
    """What the reader has selected, best first, then what it has not."""
    best = sorted(reading.selected, key=lambda unit: -unit.score)
    known = {unit.span for unit in best}
    return (*best, *(unit for unit in reading.ranked if unit.span not in known))


def draft_from_reading(tokens: TokenText, reading: RankedSpans) -> Draft | None:
    """What a model that reads the same documents is expected to answer: the reader's best unit, marked as its first.

    No model is asked: this is prompt lookup with the reader as the index.
    """
    if not reading.selected:
        return None
    return draft_from_text(tokens, max(reading.selected, key=lambda unit: unit.score).plain_text)


def draft_from_text(tokens: TokenText, text: str) -> Draft:
    """`text` as the answer of a model that quotes its first passage and nothing else.

    Where it quotes several, their marks are not foreseen, and the verifier realigns behind each.
    """
    ids = (tokens.FIRST_MARK, *tokens.encode(f" {text}"), tokens.END)
    return Draft(
        ids=ids[:MOST_DRAFT_TOKENS], tokenizer=tokens.digest, drafter="lookup", text=text[:MOST_DRAFT_CHARACTERS]
    )
