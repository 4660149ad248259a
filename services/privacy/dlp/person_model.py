"""Finds names and addresses that no rule finds, by a small model and a filter over what it proposes.

The model is Rampart (CC BY 4.0; infra/models/weights/names/MODEL_CARD.md). Next: person_words.py.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import safetensors.numpy
from tokenizers import Tokenizer

from tidegate.schemas import TidegateError
from tidegate.services.inference import OnnxSession, read_built
from tidegate.services.privacy.dlp.finding import PersonalSpan
from tidegate.services.privacy.dlp.person_words import (
    BUCKETS,
    FloatArray,
    ScoredWord,
    average_pieces,
    describe,
    find_candidates,
)

FILES = ("model.onnx", "tokenizer.json", "labels.json", "filter.safetensors")
WINDOW = 128
"""Pieces read in one run; a longer text is read in windows, which keeps time linear in its length."""
OVERLAP = 32
STEP = WINDOW - OVERLAP


class NameModelMissingError(TidegateError, FileNotFoundError):
    """There is no usable model for names and addresses in the settings' `models_dir`."""

    hint = "run `make models`, or switch it off with TIDEGATE_PREFILTER__NAME_MODEL=false"

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"no model for names in {directory}: {reason} ({self.hint})")


class SpanFilter(NamedTuple):
    """A logistic model over the features of `person_words.describe`: which candidates are names or addresses."""

    dense: FloatArray
    hashed: FloatArray
    threshold: float

    def accept(self, dense: FloatArray, buckets: Sequence[int]) -> bool:
        return float(dense @ self.dense + self.hashed[list(buckets)].sum()) >= self.threshold


class PersonModel:
    """Names and addresses in a text, in about 7 ms for a question; safe to use from several threads at once."""

    def __init__(self, directory: Path) -> None:
        """Read the files that the manifest names. Raises `NameModelMissingError` when one is missing or another."""
        try:
            data = read_built(directory, FILES)
            weights = safetensors.numpy.load(data["filter.safetensors"])
            self._labels: list[str] = json.loads(data["labels.json"])
            self._filter = SpanFilter(weights["dense"], weights["hashed"], float(weights["threshold"][0]))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise NameModelMissingError(directory, str(error)) from error
        if self._filter.hashed.shape != (BUCKETS,):
            raise NameModelMissingError(directory, "its filter was made for other features")
        self.version = hashlib.sha256(b"".join(data.values())).hexdigest()[:12]
        self._tokenizer = Tokenizer.from_buffer(data["tokenizer.json"])
        self._first, self._last = self._tokenizer.encode("").ids
        self._session = OnnxSession(data["model.onnx"])
        self.columns = cache(self._columns_of)

    @classmethod
    def load(cls, models_dir: Path) -> PersonModel:
        """The model in `models_dir/ner`. Raises `NameModelMissingError`."""
        return cls(models_dir / "ner")

    def find(self, text: str) -> Iterator[PersonalSpan]:
        """Spans of the kinds NAME and ADDRESS, whole words each."""
        words = self.read(text)
        for candidate in find_candidates(text, words, self.columns):
            if self._filter.accept(*describe(text, words, candidate, self.columns)):
                yield PersonalSpan(candidate.kind, words[candidate.first].start, words[candidate.last].end)

    def read(self, text: str) -> list[ScoredWord]:
        """The words of the text with their probabilities by label."""
        encoding = self._tokenizer.encode(text, add_special_tokens=False)
        ids, offsets = encoding.ids, encoding.offsets
        if not ids:
            return []
        shares = np.concatenate([self._shares(ids, start) for start in range(0, len(ids), STEP)])
        return average_pieces(text, offsets, shares)

    def _shares(self, ids: Sequence[int], start: int) -> FloatArray:
        """The probabilities of the pieces from `start` to where the next window's begin; each sees both sides."""
        begin = start - OVERLAP // 2 if start else 0
        framed = [self._first, *ids[begin : begin + WINDOW], self._last]
        row = np.array([framed], dtype=np.int64)
        feeds = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        logits = self._session.run(feeds)[0][0, 1:-1].astype(np.float32)
        kept = logits[start - begin : start - begin + STEP]
        exact = np.exp(kept - kept.max(axis=1, keepdims=True))
        shares: FloatArray = exact / exact.sum(axis=1, keepdims=True)
        return shares

    def _columns_of(self, label: str) -> tuple[int, ...]:
        """The columns of a label: its first word's and its following words'."""
        return tuple(number for number, name in enumerate(self._labels) if name.partition("-")[2] == label)
