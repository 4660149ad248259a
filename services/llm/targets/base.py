"""What a target model promises, wherever it runs: it says the answer, and a draft only makes it say it sooner."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec

from tidegate.schemas import Artefact, Speculation
from tidegate.services.llm.text.tokenizer import TokenText

if TYPE_CHECKING:
    from tidegate.services.llm.decoding.verification import Verdict, Verification


class ContextOverflow(ValueError):
    """The prompt leaves no room for an answer in the model's context."""

    def __init__(self, tokens: int, most: int) -> None:
        self.tokens, self.most = tokens, most
        super().__init__(f"a prompt of {tokens} tokens, and the context holds {most} with the answer")


class TargetClosed(RuntimeError):
    """The target was closed and generates nothing more."""

    def __init__(self) -> None:
        super().__init__("the target is closed")


class Generated(msgspec.Struct, frozen=True):
    """What was said: token ids without the prompt and without the end mark; `is_finished`: the end mark was said.

    The end mark counts among the speculation's tokens: it was chosen as every other one.
    """

    ids: tuple[int, ...]
    speculation: Speculation
    is_finished: bool


class TargetState(msgspec.Struct, frozen=True):
    """How fast it is now: moving average of a step in milliseconds (0.0: none yet), requests that wait to begin."""

    step_ms: float
    queue: int


class Target(Protocol):
    """A model that has the last word. `tests/support/target_conformance.py` is what every implementation passes."""

    tokenizer: TokenText
    artefact: Artefact

    async def generate(
        self,
        rid: str,
        prompt: Sequence[int],
        *,
        draft: Sequence[int] = (),
        max_tokens: int = 160,
        seed: int = 0,
        temperature: float = 0.0,
        said: Callable[[Sequence[int]], None] | None = None,
    ) -> Generated:
        """The answer to `prompt`, of at most `max_tokens` tokens.

        At temperature 0 it does not depend on `draft`, whatever that holds; ids that no vocabulary has are no error.
        `said` is called in the loop's thread with the new ids of each step, end mark left out, all before this returns.
        Cancelled, it stops within a step. Raises `ContextOverflow`, `TargetClosed`.
        """

    async def late_draft(self, rid: str, draft: Sequence[int]) -> None:
        """Use `draft` from the next step of the running request `rid` on; of no effect where none runs."""

    def state(self) -> TargetState:
        """How it is doing."""

    async def close(self) -> None:
        """Stop what runs, free what is held; may be called twice."""


@runtime_checkable
class VerifyingTarget(Target, Protocol):
    """A target that also verifies drafts round by round, keeping what it has read in between."""

    quotes: bool
    """Whether it answers questions about passages by quoting them, and in no other way."""

    def verification(self, prompt: Sequence[int], *, max_tokens: int = 160) -> Verification:
        """The answer to `prompt` at temperature 0, of which nothing is said yet; costs no pass.

        Raises `ContextOverflow`, `TargetClosed`.
        """

    async def verify(self, verification: Verification, proposed: Sequence[int], *, known: int = 0) -> Verdict:
        """See `Verification.step`; in turn with other requests. One call at a time. Raises `TargetClosed`."""
