"""What the reader's graph takes for a question and some windows, and what its output says of the units.

Shared by the product, which reads a window at a time, and the training, which reads batches. Next: windows.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidegate.services.knowledge.reader.windows import Window

States = NDArray[np.floating[Any]]
"""(tokens, width) of a text, by the lower graph."""


def pack_pairs(
    question: States, windows: Sequence[Window], states: Sequence[States]
) -> dict[str, NDArray[np.float32] | NDArray[np.int64]]:
    """The inputs of the graph: a row for each window, the question's states followed by the window's."""
    asked, width = question.shape
    lengths = [asked + len(each) for each in states]
    shape = (len(windows), max(lengths))
    pieces = [(row, piece) for row, window in enumerate(windows) for piece in window.pieces]
    joined = np.zeros((*shape, width), np.float32)
    mask = np.zeros(shape, np.int64)
    pooling = np.zeros((len(pieces), shape[1]), np.float32)
    for row, each in enumerate(states):
        joined[row, :asked] = question
        joined[row, asked : lengths[row]] = each
        mask[row, : lengths[row]] = 1
    for number, (_, piece) in enumerate(pieces):
        pooling[number, asked + piece.start : asked + piece.end] = 1.0 / (piece.end - piece.start)
    parts = mask.copy()
    parts[:, :asked] = 0
    rows = np.array([row for row, _ in pieces], np.int64)
    return {"states": joined, "parts": parts, "attention_mask": mask, "pooling": pooling, "rows": rows}


def logits_of_units(windows: Sequence[Window], answers: NDArray[np.float32]) -> list[dict[int, float]]:
    """For each window the logit of each unit in it, by number; of a unit in pieces the largest."""
    found: list[dict[int, float]] = []
    values = iter(answers.tolist())
    for window in windows:
        units: dict[int, float] = {}
        for piece, value in zip(window.pieces, values, strict=False):
            units[piece.unit] = max(value, units.get(piece.unit, value))
        found.append(units)
    return found
