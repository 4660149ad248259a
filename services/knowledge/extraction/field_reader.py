"""Reads the fields of a schema in a text: an encoder that says of each value that stands there how likely it is meant.

Card: infra/models/weights/extraction/MODEL_CARD.md. Promises one signal more for the ranker, which chooses.
Next: field_windows.py, ranker.py."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from tidegate.schemas import TidegateError
from tidegate.services.inference import OnnxSession, OpenedModels
from tidegate.services.knowledge.embedding import MODEL, Embedder
from tidegate.services.knowledge.extraction.field_windows import (
    AskedField,
    Characters,
    FieldReading,
    TextWindow,
    cut_text,
    encode_field,
    options_of,
    pack,
    plan_readings,
)
from tidegate.services.knowledge.extraction.ranker import FamilyWeights, FieldRows, FieldScores
from tidegate.services.knowledge.extraction.terms import token_fits
from tidegate.services.knowledge.reader.pairs import States
from tidegate.services.knowledge.reader.windows import Encode
from tidegate.services.model_files import read_built

FILES = ("extract.onnx", "extract.json")
MOST_WINDOWS = 6
"""A longer text is left to the ranker alone: six windows are some 5,000 characters."""
FLOOR = -12.0
"""The logarithm of the least probability that is told apart from none."""
_FIELDS = 512
"""How many fields' states are remembered, of some 15 kB each: a schema comes again and again."""

Odds = NDArray[np.float64]


class FieldReaderMissingError(TidegateError, FileNotFoundError):
    """There is no usable reader of fields in the settings' `models_dir`."""

    hint = "run `make models`"

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"no reader of fields in {directory}: {reason} ({self.hint})")


class FieldReader:
    """The encoder with the ranker's weights over its scores. Safe to use from several threads at once."""

    _opened: ClassVar[OpenedModels[FieldReader]] = OpenedModels()

    def __init__(self, directory: Path, embedder: Embedder) -> None:
        """Read the files that the manifest names; `embedder` has the lower layers of the model and its tokenizer.

        Raises `FieldReaderMissingError` when a file is missing or another.
        """
        try:
            files = read_built(directory, FILES)
            self.weights: dict[str, FamilyWeights] = msgspec.json.decode(
                files.contents["extract.json"], type=dict[str, FamilyWeights]
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise FieldReaderMissingError(directory, str(error)) from error
        self._embedder = embedder
        self._encode = embedder.tokenizer.encode
        self._upper = OnnxSession(files.graphs["extract.onnx"])
        self._fields: LRUCache[tuple[int, ...], States] = LRUCache(_FIELDS)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, models_dir: Path) -> FieldReader:
        """The reader in `models_dir`, once for a process.

        Raises `FieldReaderMissingError` or `EmbeddingModelMissingError`.
        """
        embedder = Embedder.load(models_dir)
        return cls._opened.open(models_dir / MODEL, lambda directory: cls(directory, embedder))

    def read(self, text: str, described: Sequence[FieldRows]) -> list[Odds] | None:
        """The log-odds of each value of each field (`values_of`) against the text not saying it; -inf for what cannot
        be read. None for a text of more than `MOST_WINDOWS` windows.

        Takes some 70 ms for 45 words and six fields, and 3 for each field that it has not met yet.
        """
        windows = cut_text(text, self._encode)
        if len(windows) > MOST_WINDOWS:
            return None
        asked = [prompt_of(each, self._encode) for each in described]
        odds = [np.full(len(values_of(each)), -np.inf) for each in described]
        states: dict[TextWindow, States] = {}
        for reading in plan_readings(asked, [spans_of(each) for each in described], windows):
            if reading.window not in states:
                states[reading.window] = self._embedder.states(reading.window.ids, keep=False).astype(np.float16)
            collect(reading, *self._run(reading, states[reading.window]), odds)
        return odds

    def _run(self, reading: FieldReading, window: States) -> tuple[NDArray[Any], NDArray[Any]]:
        logits, absent = self._upper.run(pack(reading, [self._states_of(each) for each in reading.asked], window))
        return logits, absent

    def _states_of(self, asked: AskedField) -> States:
        with self._lock:
            found = self._fields.get(asked.ids)
        if found is None:
            found = self._embedder.states(asked.ids, keep=False).astype(np.float16)
            with self._lock:
                self._fields[asked.ids] = found
        return found


def prompt_of(described: FieldRows, encode: Encode, *, is_bare: bool = False) -> AskedField:
    """A field as it is asked; its options are scored only where the value is one of them and no words of the text."""
    asked = encode_field(described.asked.field, encode, is_bare=is_bare)
    return asked if is_chosen(described) else AskedField(asked.ids)


def is_chosen(described: FieldRows) -> bool:
    """Whether a field's value is one of its options, and no characters of the text."""
    return described.asked.family in ("boolean", "enum")


def spans_of(described: FieldRows) -> list[Characters]:
    """Where the values of a field stand that is read from the text."""
    return [] if is_chosen(described) else [(each.start, each.end) for each in described.candidates]


def values_of(described: FieldRows) -> list[Any]:
    """What the encoder scores for a field: its options, or its candidates' values in their order."""
    if is_chosen(described):
        return list(options_of(described.asked.field))
    return [each.value for each in described.candidates]


def collect(reading: FieldReading, logits: NDArray[Any], absent: NDArray[Any], odds: Sequence[Odds]) -> None:
    """Take up what was read: the log-odds of each value against the window not saying it; the best of several."""
    for pair, logit in zip(reading.pairs, logits.tolist(), strict=True):
        own = odds[reading.fields[pair.field]]
        own[pair.value] = max(own[pair.value], logit - float(absent[pair.field]))


def scores_of(described: FieldRows, odds: Odds) -> FieldScores:
    """The scores of a field's candidates; the same for each where the encoder has nothing to say of them."""
    count = len(described.candidates)
    if not len(odds):
        return FieldScores(np.full(count, -np.log(count + 1)), -float(np.log(count + 1)))
    logits = np.append(odds, 0.0)
    shares = np.maximum(logits - np.logaddexp.reduce(logits), FLOOR)
    if is_chosen(described):
        by_option = dict(zip(map(repr, values_of(described)), shares, strict=False))
        return FieldScores(np.array([by_option[repr(each.value)] for each in described.candidates]), float(shares[-1]))
    _raise_tokens(described, shares)
    return FieldScores(shares[:-1], float(shares[-1]))


def _raise_tokens(described: FieldRows, shares: Odds) -> None:
    """Make the likeliest vault token that hides what the field asks for as likely as anything else: the encoder was
    trained on texts without any, and they are weighed by what they hide."""
    hidden = [
        n
        for n, each in enumerate(described.candidates)
        if each.shape.startswith("token") and token_fits(described.asked, each)
    ]
    if hidden:
        shares[hidden] += shares.max() - shares[hidden].max()
