"""What a target model refuses, whichever it is; each model's own errors stand beside what raises them."""

from __future__ import annotations

from pathlib import Path

from tidegate.schemas import TidegateError


class ContextOverflowError(TidegateError, ValueError):
    """The prompt leaves no room for an answer in the model's context."""

    hint = "shorten the question, or give fewer passages"

    def __init__(self, tokens: int, most: int) -> None:
        self.tokens, self.most = tokens, most
        super().__init__(f"a prompt of {tokens} tokens, and the context holds {most} with the answer")


class ModelRefusedError(TidegateError, ValueError):
    """The directory holds no language model that can be run here."""

    hint = "run `make models`"

    def __init__(self, directory: Path, reason: str, hint: str = "") -> None:
        super().__init__(f"no language model in {directory}: {reason} ({hint or self.hint})", hint or self.hint)


class TargetClosedError(TidegateError, RuntimeError):
    """The target was closed and generates nothing more."""

    hint = "open a new target; one that was closed stays closed"

    def __init__(self) -> None:
        super().__init__("the target is closed")
