"""Questions and texts that the language models were never trained on, from the generator beside the training."""

from __future__ import annotations

import contextlib
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Protocol

MODELS = Path(__file__).resolve().parents[1] / "infra" / "models"


class Sample(Protocol):
    """A question with its passages."""

    question: str
    passages: tuple[str, ...]


class Record(Protocol):
    """A text, the fields that are wanted of it (`amount:number city:string?`), and what is true of it."""

    schema: str
    text: str

    @property
    def truth(self) -> dict[str, Any]: ...


@contextlib.contextmanager
def _among_scripts() -> Iterator[None]:
    """The scripts of infra/models import one another by bare names."""
    sys.path.insert(0, str(MODELS))
    try:
        yield
    finally:
        sys.path.remove(str(MODELS))


def _generator() -> ModuleType:
    with _among_scripts():
        return importlib.import_module("generator")


def questions(count: int) -> list[Sample]:
    """`count` held-out questions; always the same."""
    with _among_scripts():
        found: list[Sample] = _generator().heldout(count)
    return found


def records(count: int) -> list[Record]:
    """`count` held-out texts to extract from; always the same."""
    with _among_scripts():
        found: list[Record] = _generator().heldout_records(count)
    return found
