"""A follow-up in a conversation, as the standalone question that it is: screened like any other.

Promises that nothing of an earlier turn goes further than the words that the question takes from it, redacted. Next:
services/languages/followups.py, the rules."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, NamedTuple, Protocol

from tidegate.schemas import Asked, Turn
from tidegate.schemas.vault_token import tokens_in

SHORT_LETTERS = 30
"""A question of fewer letters is taken to be in the language of the conversation that it goes on from."""


class Resolved(Protocol):
    """A question as it is to be answered; `unclear` where it goes on from something that nobody said."""

    @property
    def text(self) -> str: ...
    @property
    def resolution(self) -> Literal["standalone", "rewritten", "unclear"]: ...


Resolve = Callable[[str, Sequence[Turn], str], Awaitable[Resolved]]
"""From a question, what was said before it and its language to the question as it stands by itself."""
RedactText = Callable[[Asked, str], Awaitable[str]]
"""A text of the asker's with vault tokens in place of personal data."""


class FollowUp(NamedTuple):
    """The question as it stands by itself, and the vault tokens in it."""

    text: str
    tokens: tuple[str, ...]
    is_rewritten: bool
    is_unclear: bool


async def resolve_screened(
    asked: Asked, question: str, language: str, resolve: Resolve, redact: RedactText
) -> FollowUp:
    """The redacted `question` of `asked` after its history.

    The history is searched for personal data only where words of it are needed: in whole turns, since what makes a
    number personal may stand in words that are not taken over; and what became of it as a whole once more, since parts
    of a number may have come together.
    """
    none = FollowUp(question, tokens_in(question), is_rewritten=False, is_unclear=False)
    if not asked.history or asked.schema or asked.workload not in ("", "assist"):
        return none
    resolved = await resolve(question, asked.history, language)
    if resolved.resolution == "standalone":
        return none
    if resolved.resolution == "unclear":
        return none._replace(is_unclear=True)
    history = [Turn(turn.role, await redact(asked, turn.text)) for turn in asked.history]
    text = await redact(asked, (await resolve(question, history, language)).text)
    return FollowUp(text, tokens_in(text), is_rewritten=True, is_unclear=False)


async def text_for_language(asked: Asked, question: str, redact: RedactText) -> str:
    """What tells the language of a question: with the asker's turn before it, where the question is short."""
    earlier = [turn.text for turn in asked.history if turn.role == "user"]
    if not earlier or sum(letter.isalpha() for letter in question) >= SHORT_LETTERS:
        return question
    return f"{await redact(asked, earlier[-1])}\n{question}"
