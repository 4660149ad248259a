"""The automaton of py3langid in a quarter of its memory. Promises every state that the whole table has."""

from __future__ import annotations

from array import array

import numpy as np
from numpy.typing import NDArray

LETTERS = 256


class NextStates:
    """What state follows in a row of the table at a letter: a few dozen of a row's 256 differ from the first row's."""

    __slots__ = ("_first", "_letters", "_starts", "_states")

    def __init__(self, table: NDArray[np.uint32], first_row: int) -> None:
        """`table`: (rows, 256); `first_row`: of the state in which a text begins, which most letters lead back to."""
        first = table[first_row]
        others = table != first
        ends = np.cumsum(np.count_nonzero(others, axis=1), dtype=np.uint32)
        self._first: list[int] = first.tolist()
        self._starts = array("I", b"\0\0\0\0" + ends.tobytes())
        self._letters = np.broadcast_to(np.arange(LETTERS, dtype=np.uint8), table.shape)[others].tobytes()
        self._states = array("I", table[others].tobytes())

    def __getitem__(self, number: int) -> int:
        """As in the whole table, laid out row after row."""
        row, letter = divmod(number, LETTERS)
        found = self._letters.find(letter, self._starts[row], self._starts[row + 1])
        return self._first[letter] if found < 0 else self._states[found]
