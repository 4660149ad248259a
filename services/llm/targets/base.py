"""What a target model promises, wherever it runs: the answer is its own, and a draft only makes it come sooner."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeAlias, runtime_checkable

import msgspec

from tidegate.schemas import Artefact
from tidegate.services.llm.decoding.speculative import Generated
from tidegate.services.llm.decoding.verification import Verification, VerificationStep
from tidegate.services.llm.text.vocabulary import Vocabulary

OnTokens: TypeAlias = Callable[[Sequence[int]], None]
"""Called in the loop's thread with the new ids of each step, end mark left out, all before `generate` returns."""


class GenerationRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a target is to continue: `prompt`, by at most `max_tokens` tokens. `rid` is `tenant.site.id`."""

    rid: str
    prompt: Sequence[int]
    draft: Sequence[int] = ()
    """The answer that somebody expects; ids that no vocabulary has are no error."""
    max_tokens: int = 160
    seed: int = 0
    temperature: float = 0.0


class TargetState(msgspec.Struct, frozen=True):
    """How fast it is now: moving average of a step in milliseconds (0.0: none yet), requests that wait to begin."""

    step_ms: float
    queue: int


class StepTimes:
    """The moving average of how long a step takes. Safe to use from several threads at once."""

    WEIGHT_OF_NEWEST = 0.1

    def __init__(self) -> None:
        self.mean_ms = 0.0
        self._lock = threading.Lock()

    def observe(self, step_s: float) -> None:
        """A step took so long."""
        with self._lock:
            self.mean_ms += (step_s * 1000 - self.mean_ms) * (self.WEIGHT_OF_NEWEST if self.mean_ms else 1.0)

    def timed(self, on_tokens: OnTokens | None) -> OnTokens:
        """`on_tokens` of one answer, to be called after each step; the first reads the prompt and does not count."""
        stepped_at_s = 0.0

        def report(new: Sequence[int]) -> None:
            nonlocal stepped_at_s
            now_s = time.perf_counter()
            if stepped_at_s:
                self.observe(now_s - stepped_at_s)
            stepped_at_s = now_s
            if on_tokens is not None and new:
                on_tokens(new)

        return report


def encoded_size(draft: Sequence[int]) -> int:
    """Bytes of the ids in MessagePack, as they travel; 0 for none."""
    return len(msgspec.msgpack.encode(tuple(draft))) if draft else 0


def cache_salt(rid: str) -> str:
    """The tenant of a request id that is `tenant.site.id`; empty for any other."""
    return rid.partition(".")[0] if "." in rid else ""


class Target(Protocol):
    """A model that has the last word. `tests/support/target_conformance.py` is what every implementation passes."""

    artefact: Artefact

    @property
    def tokenizer(self) -> Vocabulary:
        """Ours, or the model's own: then it has a chat template (`ChatTokenizer`), too."""

    async def generate(self, request: GenerationRequest, on_tokens: OnTokens | None = None) -> Generated:
        """The answer; at temperature 0 it does not depend on the draft, whatever that holds.

        Cancelled, it stops within a step. Raises `ContextOverflowError`, `TargetClosedError`.
        """

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
        """The answer to `prompt` at temperature 0, of which there is nothing yet; costs no pass.

        Raises `ContextOverflowError`, `TargetClosedError`.
        """

    async def verify(self, verification: Verification, proposed: Sequence[int], *, known: int = 0) -> VerificationStep:
        """See `Verification.step`; in turn with other requests. One call at a time. Raises `TargetClosedError`."""
