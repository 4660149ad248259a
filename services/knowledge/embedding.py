"""Turns texts into vectors by a model that is shipped. Next: services/inference.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
from cachetools import LRUCache

from tidegate.schemas import TidegateError
from tidegate.services.inference import Array, OnnxSession, OpenedModels
from tidegate.services.knowledge.text_embedder import TextRole, Vector
from tidegate.services.knowledge.tokenizer import TOKENIZER_FILE, PieceTokenizer
from tidegate.services.model_files import BuiltFiles, read_built

MODEL = "multilingual"
"""The model's name in receipts, and its directory below `models_dir`."""
WINDOW = 128
"""Tokens that are read at once, the two that frame them counted: what the model was tuned on."""
_STATES_BYTES = 16 << 20
"""Bytes of states that are kept: both kinds, of some 300 questions."""
EMBEDDING_FILES = ("lower.onnx", "middle.onnx", "embed.onnx", TOKENIZER_FILE)


class EmbeddingModelMissingError(TidegateError, FileNotFoundError):
    """There is no usable embedding model in the settings' `models_dir`."""

    hint = "run `make models`"

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(f"no embedding model in {directory}: {reason} ({self.hint})")


class Embedder:
    """multilingual-e5-small (Wang et al., "Multilingual E5 Text Embeddings", 2024), its upper layers tuned, int8.

    Safe to use from several threads at once. One text is one run: dynamic quantisation makes the vector of a text
    depend on what shares its batch. The reader begins from `lower_states`; safety head and reader of fields, as the
    embedding itself, from `states`.
    """

    DIMENSIONS: ClassVar[int] = 384
    _opened: ClassVar[OpenedModels[Embedder]] = OpenedModels()

    def __init__(self, directory: Path, cached: int = 4096) -> None:
        """Read what `manifest.json` in the directory names; use `load`, which does it once for each path.

        `cached` is how many texts are remembered. Raises `EmbeddingModelMissingError`.
        """
        files = _read_files(directory)
        self.version = files.version
        try:
            self.tokenizer = PieceTokenizer(files.contents[TOKENIZER_FILE])
        except ValueError as error:
            raise EmbeddingModelMissingError(directory, str(error)) from error
        self._lower = OnnxSession(files.graphs["lower.onnx"])
        self._middle = OnnxSession(files.graphs["middle.onnx"])
        self._upper = OnnxSession(files.graphs["embed.onnx"])
        self._cache: LRUCache[tuple[str, TextRole], Vector] = LRUCache(cached)
        self._states: LRUCache[tuple[str, tuple[int, ...]], Array] = LRUCache(
            _STATES_BYTES, getsizeof=lambda array: array.nbytes
        )
        self._cache_lock = threading.Lock()

    @classmethod
    def load(cls, models_dir: Path) -> Embedder:
        """The embedder in `models_dir`, once for a process. Raises `EmbeddingModelMissingError`."""
        return cls._opened.open(models_dir / MODEL, cls)

    @classmethod
    def opened(cls, models_dir: Path) -> Embedder | None:
        """The one in `models_dir`, where this process has loaded it."""
        return cls._opened.find(models_dir / MODEL)

    def embed(self, text: str, role: TextRole = "query") -> Vector:
        """The unit vector (384,) of all of `text`; read-only.

        A text of more than `WINDOW` tokens is read in as many windows, and its vector is their mean. Takes about 4 ms
        for 16 tokens, 25 ms for 128; nothing for one of the texts seen last.
        """
        known = self._cached_vector(text, role)
        if known is not None:
            return known
        vectors = [self._embed_window(window) for window in self._windows(f"{role}: {text}")]
        vector: Vector = np.sum(vectors, axis=0)
        vector /= np.linalg.norm(vector)
        vector.flags.writeable = False
        with self._cache_lock:
            self._cache[text, role] = vector
        return vector

    def states(self, ids: Sequence[int], *, keep: bool = True) -> Array:
        """The states (tokens, 384) of a row of token ids after eight of the model's twelve layers.

        `keep` remembers them, as is worth it for a question, whose embedding begins with the same ones.
        """
        states: Array = self._upper_states(ids, keep)[0]
        return states

    def lower_states(self, ids: Sequence[int], *, keep: bool = True) -> Array:
        """Those after four layers, likewise."""
        states: Array = self._lower_states(ids, keep)[0]
        return states

    def _windows(self, text: str) -> list[list[int]]:
        start, *ids, end = self.tokenizer.frame(text)
        room = WINDOW - 2
        return [[start, *ids[at : at + room], end] for at in range(0, max(1, len(ids)), room)]

    def _embed_window(self, ids: Sequence[int]) -> Vector:
        vector: Vector = self._upper.run(_with_mask("states", self._upper_states(ids, keep=True)))[0][0]
        return vector

    def _upper_states(self, ids: Sequence[int], keep: bool) -> Array:
        def run() -> Array:
            return self._middle.run(_with_mask("states", self._lower_states(ids, keep)))[0]

        return self._once(("middle", tuple(ids)), keep, run)

    def _lower_states(self, ids: Sequence[int], keep: bool) -> Array:
        def run() -> Array:
            return self._lower.run(_with_mask("input_ids", np.array([ids], dtype=np.int64)))[0]

        return self._once(("lower", tuple(ids)), keep, run)

    def _once(self, key: tuple[str, tuple[int, ...]], keep: bool, run: Callable[[], Array]) -> Array:
        """A question's are wanted in turn by embedding, safety head and reader, which is why the last are kept."""
        with self._cache_lock:
            known = self._states.get(key)
        if known is not None:
            return known
        states = run()
        states.flags.writeable = False
        if keep:
            with self._cache_lock:
                self._states[key] = states
        return states

    def _cached_vector(self, text: str, role: TextRole) -> Vector | None:
        with self._cache_lock:
            return self._cache.get((text, role))


def _with_mask(name: str, rows: Array) -> dict[str, Array]:
    return {name: rows, "attention_mask": np.ones(rows.shape[:2], dtype=np.int64)}


def read_version(models_dir: Path) -> str:
    """The version of the model in `models_dir`, of which nothing is kept. Raises `EmbeddingModelMissingError`.

    Where it is open, as in a process that was forked from one that opened it, it is the version of that. Else a tenth
    of a second goes into reading 80 MB.
    """
    opened = Embedder.opened(models_dir)
    return opened.version if opened is not None else _read_files(models_dir / MODEL).version


def _read_files(directory: Path) -> BuiltFiles:
    """The files of the model, each as the manifest names it. Raises `EmbeddingModelMissingError`."""
    try:
        return read_built(directory, EMBEDDING_FILES)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise EmbeddingModelMissingError(directory, str(error)) from error
