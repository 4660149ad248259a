"""What blocks is called in a thread, so that a stage's loop goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from tidegate.schemas import Answer

P = ParamSpec("P")
T = TypeVar("T")

BRIEF_CHARS = 1000
"""What is judged of an answer up to this long takes less than a millisecond; a change of threads and back takes a
quarter of one, and more where the processor is busy."""


def in_thread(function: Callable[P, T]) -> Callable[P, Awaitable[T]]:
    """The function, each call of it in a thread."""

    async def call(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(function, *args, **kwargs)

    return call


def is_brief(answer: Answer, question: str = "") -> bool:
    """Whether the answer, its quotations and the question are short enough to be judged in the stage's own loop."""
    return len(question) + len(answer.text) + sum(len(each.quote) for each in answer.citations) <= BRIEF_CHARS


async def in_thread_unless(is_quick: bool, function: Callable[[], T]) -> T:
    """What the function returns, called here where it is quick, else in a thread. Raises what it raises."""
    return function() if is_quick else await asyncio.to_thread(function)
