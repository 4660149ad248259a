"""The states of texts below what is trained, computed once by the shipped graphs and kept. Needs no torch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tidegate.infra.models.export.multilingual import WIDTH
from tidegate.infra.models.export.session import open_session
from tidegate.services.knowledge.tokenizer import TOKENIZER_FILE, PieceTokenizer

LONGEST = 128


class FrozenStates:
    """The states of texts after the frozen layers, by the int8 graphs that are shipped; each text is computed once."""

    def __init__(self, directory: Path, *, lower_only: bool = False) -> None:
        """`lower_only`: those that the reader begins from, not those that the upper layers take."""
        self.tokenizer = PieceTokenizer((directory / TOKENIZER_FILE).read_bytes())
        self._lower = open_session(str(directory / "lower.onnx"))
        self._middle = None if lower_only else open_session(str(directory / "middle.onnx"))
        self._known: dict[tuple[int, ...], NDArray[np.float16]] = {}

    def ids(self, text: str, longest: int = LONGEST) -> tuple[int, ...]:
        """The token ids of a text with the two that frame it, cut at `longest`."""
        found = self.tokenizer.frame(text)
        return tuple(found if len(found) <= longest else [*found[: longest - 1], found[-1]])

    def of(self, ids: tuple[int, ...]) -> NDArray[np.float16]:
        """(tokens, width)."""
        if ids not in self._known:
            row = np.array([ids], dtype=np.int64)
            mask = np.ones_like(row)
            states = self._lower.run(None, {"input_ids": row, "attention_mask": mask})[0]
            if self._middle:
                states = self._middle.run(None, {"states": states, "attention_mask": mask})[0]
            self._known[ids] = states[0].astype(np.float16)
        return self._known[ids]

    def save(self, path: Path) -> None:
        """Keep on disk what was computed, for the next run over the same frozen layers."""
        lengths = np.array([len(each) for each in self._known])
        ids = np.array([token for each in self._known for token in each], dtype=np.int32)
        states = np.concatenate(list(self._known.values())) if self._known else np.zeros((0, WIDTH), np.float16)
        draft = path.with_name(path.name + ".new.npz")
        np.savez(draft, lengths=lengths, ids=ids, states=states)
        draft.replace(path)

    def restore(self, path: Path) -> None:
        """Take up what `save` kept, where there is any."""
        if not path.exists():
            return
        kept = np.load(path)
        ends = np.cumsum(kept["lengths"])
        ids, states = kept["ids"], kept["states"]
        for start, end in zip(ends - kept["lengths"], ends, strict=True):
            self._known[tuple(ids[start:end].tolist())] = states[start:end]
