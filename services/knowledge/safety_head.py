"""Tells what kind of message a text is: harmless, unsafe, an injection, a person in distress, small talk.

The head is shipped, over the states of the multilingual encoder; a pack adds only intents of its own. Card:
infra/models/weights/safety/MODEL_CARD.md. Next: embedding.py, which has the layers below.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np

from tidegate.schemas import TidegateError
from tidegate.services.inference import OnnxSession, OpenedModels
from tidegate.services.knowledge.embedding import MODEL, WINDOW, Embedder
from tidegate.services.model_files import read_built

FILES = ("safety.onnx", "safety.json")
LIMIT = 1e-6


class SafetyHeadMissingError(TidegateError, FileNotFoundError):
    """There is no usable safety head in the settings' `models_dir`."""

    hint = "run `make models`"

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"no safety head in {directory}: {reason} ({self.hint})")


class SafetyEstimate(NamedTuple):
    """How surely a text is of each kind: 0.5 stands at the operating point of its language, not at even odds."""

    unsafe: float
    distress: float
    smalltalk: float


class SafetyHead:
    """The head and its operating points by language. Safe to use from several threads at once."""

    _opened: ClassVar[OpenedModels[SafetyHead]] = OpenedModels()

    def __init__(self, directory: Path, embedder: Embedder) -> None:
        """Read the files that the manifest names; `embedder` has the lower layers of the model and its tokenizer.

        Raises `SafetyHeadMissingError` when a file is missing or another.
        """
        try:
            files = read_built(directory, FILES)
            described: dict[str, Any] = json.loads(files.contents["safety.json"])
            self._classes: dict[str, int] = {name: number for number, name in enumerate(described["classes"])}
            self._points: dict[str, SafetyEstimate] = {
                language: SafetyEstimate(**each) for language, each in described["points"].items()
            }
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise SafetyHeadMissingError(directory, str(error)) from error
        self.version = files.version
        self._embedder = embedder
        self._upper = OnnxSession(files.graphs["safety.onnx"])

    @classmethod
    def load(cls, models_dir: Path) -> SafetyHead:
        """The head beside the embedder in `models_dir`, over its states; once for a process.

        Raises `SafetyHeadMissingError` or `EmbeddingModelMissingError`.
        """
        embedder = Embedder.load(models_dir)
        return cls._opened.open(models_dir / MODEL, lambda directory: cls(directory, embedder))

    def judge(self, text: str, language: str, max_tokens: int = WINDOW) -> SafetyEstimate:
        """What the first `max_tokens` tokens are, in about as long as embedding them takes."""
        shares = self._shares(text, max_tokens)
        points = self._points.get(language, self._points[""])
        found = SafetyEstimate(
            unsafe=shares[self._classes["unsafe"]] + shares[self._classes["injection"]],
            distress=shares[self._classes["distress"]],
            smalltalk=shares[self._classes["smalltalk"]],
        )
        return SafetyEstimate(*(relate(share, point) for share, point in zip(found, points, strict=True)))

    def begin(self, text: str) -> None:
        """Run the layers that `judge` and the embedding have in common; they are remembered."""
        self._embedder.states(self._ids(text, WINDOW))

    def _ids(self, text: str, max_tokens: int) -> list[int]:
        ids = self._embedder.tokenizer.frame(f"query: {text}")
        return ids if len(ids) <= max_tokens else [*ids[: max_tokens - 1], ids[-1]]

    def _shares(self, text: str, max_tokens: int) -> list[float]:
        states = self._embedder.states(self._ids(text, max_tokens))[None].astype(
            np.float16
        )  # as it was trained and measured
        mask = np.ones(states.shape[:2], dtype=np.int64)
        logits = self._upper.run({"states": states.astype(np.float32), "attention_mask": mask})[0][0]
        exact = np.exp(logits.astype(np.float64) - float(logits.max()))
        shares: list[float] = (exact / exact.sum()).tolist()
        return shares


def relate(probability: float, point: float) -> float:
    """The probability whose log-odds are those of `probability` less those of the operating point, so that the point
    itself becomes 0.5 and one threshold fits all languages."""
    inner = min(max(probability, LIMIT), 1 - LIMIT)
    odds = inner / (1 - inner) * (1 - point) / point
    return odds / (1 + odds)
