"""Looks for values in every byte of every file below a directory, in the spellings in which they might be written.

A value counts as found as it is, in UTF-16, base64 (wherever in a longer text), hexadecimal, percent-encoded or with
JSON's escapes. Promises that a file is read once however many values there are. Next: client.py, which asks."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np

BLOCK = 1 << 22
AROUND = 120
"""Bytes before and behind a value in an excerpt."""
WINDOW = 8
"""Bytes by which a value is looked up before it is compared."""


def spellings(value: str) -> frozenset[bytes]:
    """The byte strings of which one is there where the value is written down."""
    plain = value.encode("utf-8", "surrogatepass")
    found = {plain, value.encode("utf-16-le", "surrogatepass"), plain.hex().encode(), plain.hex().upper().encode()}
    found |= {json.dumps(value)[1:-1].encode(), quote(value, safe="").encode()}
    for before in range(3):  # of whatever stands before it; the characters at its ends depend on the neighbours
        coded = base64.b64encode(bytes(before) + plain)
        inner = coded[(0, 2, 3)[before] : len(coded) - (4 if (before + len(plain)) % 3 else 0)]
        found |= {inner, inner.translate(bytes.maketrans(b"+/", b"-_"))}
    return frozenset(each for each in found if len(each) >= min(WINDOW, len(plain)))


class ByteScan:
    """A scan for many values at once."""

    def __init__(self, values: Iterable[str]) -> None:
        self._short: list[tuple[bytes, str]] = []
        self._by_start: dict[int, list[tuple[bytes, str]]] = {}
        self._longest = WINDOW
        for value in dict.fromkeys(filter(None, values)):
            for needle in spellings(value):
                self._add(needle, value)
        self._starts = np.array(sorted(self._by_start), dtype=np.uint64)

    def find_below(self, root: Path) -> dict[str, list[str]]:
        """The values that lie in files below `root`, with the files. Links are not followed. Raises `OSError`."""
        found: dict[str, list[str]] = {}
        for path in sorted(root.rglob("*")):
            if path.is_symlink() or not path.is_file():
                continue
            for value in self.find_in(path):
                found.setdefault(value, []).append(str(path))
        return found

    def find_in(self, path: Path) -> set[str]:
        """The values in one file; none in one that has gone meanwhile. Raises `OSError`."""
        found: set[str] = set()
        try:
            with path.open("rb") as file:
                tail = b""
                while block := file.read(BLOCK):
                    data = tail + block
                    found.update(self._find(data))
                    tail = data[-self._longest :]
        except FileNotFoundError:
            return set()
        return found

    def _add(self, needle: bytes, value: str) -> None:
        self._longest = max(self._longest, len(needle))
        if len(needle) < WINDOW:
            self._short.append((needle, value))
        else:
            start = int.from_bytes(needle[:WINDOW], "little")
            self._by_start.setdefault(start, []).append((needle, value))

    def _find(self, data: bytes) -> Iterator[str]:
        yield from (value for needle, value in self._short if needle in data)
        if not len(self._starts):
            return
        for shift in range(min(WINDOW, max(0, len(data) - WINDOW + 1))):
            windows = np.frombuffer(data, dtype="<u8", offset=shift, count=(len(data) - shift) // WINDOW)
            nearest = self._starts[np.searchsorted(self._starts[:-1], windows)]
            for at in np.flatnonzero(nearest == windows):
                begin = int(at) * WINDOW + shift
                for needle, value in self._by_start[int(windows[at])]:
                    if data.startswith(needle, begin):
                        yield value


def find_excerpt(path: Path, value: str) -> str:
    """What stands around the first spelling of a value in a file, for whoever looks for the reason; empty where it is
    not there. Raises `OSError`."""
    data = path.read_bytes()
    at, needle = min(((data.find(each), each) for each in spellings(value) if each in data), default=(0, b""))
    return repr(data[max(0, at - AROUND) : at + len(needle) + AROUND]) if needle else ""


def find_values(root: Path, values: Sequence[str]) -> dict[str, list[str]]:
    """Which of the raw `values` lie in which files below `root`. Raises `OSError`."""
    return ByteScan(values).find_below(root)
