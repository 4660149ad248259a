"""Reads units: a cross-encoder that says, of each unit of a few windows, how likely it answers a question.

Card: infra/models/weights/reader/MODEL_CARD.md. Promises that a window's lower states are computed once while they
are remembered. Next: windows.py, pairs.py, ranking.py.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from copy import copy
from functools import partial
from pathlib import Path
from typing import ClassVar, NamedTuple

import msgspec
import numpy as np
from cachetools import LRUCache
from numpy.typing import NDArray

from tidegate.schemas import TidegateError
from tidegate.schemas.pack import Document
from tidegate.services.inference import OnnxSession, OpenedModels
from tidegate.services.knowledge.embedding import MODEL, Embedder
from tidegate.services.knowledge.embedding import read_version as read_embedding_version
from tidegate.services.knowledge.index.chunking import render_unit
from tidegate.services.knowledge.index.hybrid import DocumentUnits
from tidegate.services.knowledge.reader.pairs import States, pack_pairs
from tidegate.services.knowledge.reader.ranking import RankingModel
from tidegate.services.knowledge.reader.together import NOBODY, Helpers
from tidegate.services.knowledge.reader.tuning import FoundTuning
from tidegate.services.knowledge.reader.windows import ReadableUnit, Window, cut_windows, encode_question
from tidegate.services.model_files import read_built

FILES = ("read.onnx", "ranking.json")
_DOCUMENTS = 512
"""How many documents' windows are remembered."""
_STATES = 512
"""How many windows' states are remembered, of some 90 kB each."""

_READ = 4096
"""How many windows are remembered as they were read with a question, of some 3 kB each."""

UnitPlace = tuple[str, int]
"""A document, by id, and the number of a unit in it."""


class ReadPiece(NamedTuple):
    """The logit of a unit, and the state (width,) that it is linear in; empty where the graph does not give it."""

    logit: float
    state: NDArray[np.float16]


class _ReadWindow(NamedTuple):
    answers: NDArray[np.float32]
    mixed: NDArray[np.float16]


class UnitReaderMissingError(TidegateError, FileNotFoundError):
    """There is no usable reader in the settings' `models_dir`."""

    hint = "run `make models`"

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"no reader in {directory}: {reason} ({self.hint})")


class UnitReader:
    """The reader with the weights of its ranking. Safe to use from several threads at once."""

    _opened: ClassVar[OpenedModels[UnitReader]] = OpenedModels()

    def __init__(self, directory: Path, embedder: Embedder) -> None:
        """Read the files that the manifest names; `embedder` has the lower layers of the model and its tokenizer.

        Raises `UnitReaderMissingError` when a file is missing or another.
        """
        try:
            files = read_built(directory, FILES, embedder.version)
            self.ranking: RankingModel = msgspec.json.decode(files.contents["ranking.json"], type=RankingModel)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UnitReaderMissingError(directory, str(error)) from error
        self.embedder = embedder
        self.tuning = ""
        """The version of the tenant's own weights, where it has any."""
        self._head: NDArray[np.float32] | None = None
        self._helpers = NOBODY
        self.version = files.version
        self._encode = embedder.tokenizer.encode
        self._upper = OnnxSession(files.graphs["read.onnx"])
        self._outputs = tuple(output.name for output in self._upper.outputs)
        # Tenants may have other texts under one id: what is remembered goes by the texts themselves.
        self._windows: LRUCache[Document, tuple[Window, ...]] = LRUCache(_DOCUMENTS)
        self._states: LRUCache[tuple[int, ...], States] = LRUCache(_STATES)
        self._read: LRUCache[tuple[tuple[int, ...], tuple[int, ...]], _ReadWindow] = LRUCache(_READ)
        self._lock = threading.Lock()

    @classmethod
    def load(cls, models_dir: Path) -> UnitReader:
        """The reader in `models_dir`, once for a process.

        Raises `UnitReaderMissingError` or `EmbeddingModelMissingError`.
        """
        embedder = Embedder.load(models_dir)
        return cls._opened.open(models_dir / MODEL, lambda directory: cls(directory, embedder))

    def read(
        self, question: str, units: Iterable[tuple[DocumentUnits, int]], most_windows: int
    ) -> dict[UnitPlace, float]:
        """The logit of every unit in the windows that hold the given units, which come likeliest first.

        At most so many windows are read, at once where helpers are free. One takes about 20 ms, and 9 more where it
        is not remembered; nothing where this question was read with it just before.
        """
        return {unit: piece.logit for unit, piece in self.read_pieces(question, units, most_windows).items()}

    def read_pieces(
        self, question: str, units: Iterable[tuple[DocumentUnits, int]], most_windows: int
    ) -> dict[UnitPlace, ReadPiece]:
        """`read`, with the state that each logit was made of."""
        asked, windows = encode_question(question, self._encode), self._choose_windows(units, most_windows)
        found: dict[UnitPlace, ReadPiece] = {}
        for (document, window), read in zip(windows, self._helpers.run(self._jobs(asked, windows)), strict=True):
            self._take(document, window, read, found)
        return found

    def read_in_turn(
        self, question: str, units: Iterable[tuple[DocumentUnits, int]], most_windows: int
    ) -> Generator[dict[UnitPlace, float], None, None]:
        """What `read` gives after each window, for who may need no further one. Close the iterator: what no helper has
        begun by then is not read."""
        asked, windows = encode_question(question, self._encode), self._choose_windows(units, most_windows)
        found: dict[UnitPlace, ReadPiece] = {}
        with closing(self._helpers.in_turn(self._jobs(asked, windows))) as reads:
            for (document, window), read in zip(windows, reads, strict=True):
                self._take(document, window, read, found)
                yield {unit: piece.logit for unit, piece in found.items()}

    def _jobs(self, asked: tuple[int, ...], windows: Sequence[tuple[str, Window]]) -> list[Callable[[], _ReadWindow]]:
        """Several are read at once: a question that needs two would else take three times as long as one that needs
        none, while a processor may have nothing to do."""
        if len(windows) > 1:
            self.embedder.lower_states(asked)  # remembered, or each would compute them
        return [partial(self._read_window, asked, window) for _, window in windows]

    def _take(self, document: str, window: Window, read: _ReadWindow, found: dict[UnitPlace, ReadPiece]) -> None:
        """Add the units of a window; one that stands in several has its largest logit."""
        for piece, logit, state in zip(window.pieces, self._logits(read), read.mixed, strict=True):
            unit = document, piece.unit
            if unit not in found or logit > found[unit].logit:
                found[unit] = ReadPiece(logit, state)

    def _read_window(self, asked: tuple[int, ...], window: Window) -> _ReadWindow:
        """One window is one run, as one text is for the embedding: what is read beside it must not change its logits.

        It is cheaper than a batch, too, whose windows are padded to the longest.
        """
        key = asked, window.ids
        with self._lock:
            found = self._read.get(key)
        if found is None:
            pairs = pack_pairs(self.embedder.lower_states(asked), [window], [self._states_of(window.ids)])
            outputs = dict(zip(self._outputs, self._upper.run(pairs), strict=True))
            answers = outputs["answers"]
            found = _ReadWindow(answers, outputs.get("mixed", np.zeros((len(answers), 0))).astype(np.float16))
            with self._lock:
                self._read[key] = found
        return found

    def _logits(self, read: _ReadWindow) -> list[float]:
        answers = read.answers
        if self._head is not None and read.mixed.shape[1]:
            answers = answers + read.mixed @ self._head[:-1] + self._head[-1]
        logits: list[float] = answers.tolist()
        return logits

    def tuned(self, found: FoundTuning) -> UnitReader:
        """This reader with a tenant's own weights; itself where there are none. What is remembered is shared: it is
        what was computed from the texts before any tenant's weights."""
        if found.tuning is None:
            return self
        own = copy(self)
        own.ranking = found.tuning.ranking
        own._head = np.array(found.tuning.head, np.float32) if found.tuning.head else None
        own.version = f"{self.version}+{found.version}"
        own.tuning = found.version
        return own

    def helped_by(self, helpers: Helpers) -> UnitReader:
        """This reader, whose helpers read windows beside it: for who answers. What is learned from a pack beside the
        answering is read on one processor. What is remembered is shared."""
        own = copy(self)
        own._helpers = helpers
        return own

    def _choose_windows(self, units: Iterable[tuple[DocumentUnits, int]], most: int) -> list[tuple[str, Window]]:
        """The windows, each with its document's id."""
        chosen: dict[tuple[str, int], Window] = {}
        for held, number in units:
            if len(chosen) >= most:
                break
            for at, window in enumerate(self._windows_of(held)):
                if any(piece.unit == number for piece in window.pieces):
                    chosen[held.document.id, at] = window
        return [(document, window) for (document, _), window in chosen.items()][:most]

    def _windows_of(self, held: DocumentUnits) -> Sequence[Window]:
        document = held.document
        with self._lock:
            found = self._windows.get(document)
        if found is None:
            readable = [ReadableUnit(unit.heading, render_unit(document.text, unit)) for unit in held.units]
            found = tuple(cut_windows(document.title, readable, self._encode))
            with self._lock:
                self._windows[document] = found
        return found

    def _states_of(self, ids: tuple[int, ...]) -> States:
        with self._lock:
            found = self._states.get(ids)
        if found is None:
            found = self.embedder.lower_states(ids, keep=False).astype(np.float16)
            with self._lock:
                self._states[ids] = found
        return found


def read_version(models_dir: Path) -> str:
    """The version of the reader in `models_dir`, without loading it; empty where there is none."""
    try:
        return read_built(models_dir / MODEL, FILES, read_embedding_version(models_dir)).version
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return ""
