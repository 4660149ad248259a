"""The files of tantivy's segments: what they say of removed rows, and whether each is as it was written.

Promises to find any flipped byte that an answer could come from. Next: keyword.py, which reads them; inspection.py.
"""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import BinaryIO

import msgspec

_MAGIC = 1337
_TAIL_BYTES = 8
_READ_BYTES = 1 << 20
_UNCHECKED = (".json", ".lock")
"""What says of itself whether it can be read, and what holds nothing."""


class _Footer(msgspec.Struct):
    """How tantivy ends each file of a segment (`directory/footer.rs`): this as JSON, its length, a magic number."""

    crc: int


class _DeletedRows(msgspec.Struct):
    num_deleted_docs: int


class _Segment(msgspec.Struct):
    max_doc: int = 0
    deletes: _DeletedRows | None = None


class _LegMeta(msgspec.Struct):
    """What tantivy's own `meta.json` says of segments."""

    segments: tuple[_Segment, ...]


def count_removed_rows(meta: Path) -> int:
    """How many removed rows still lie in the segments of a leg, by its `meta.json`."""
    return sum(segment.deletes.num_deleted_docs for segment in _segments(meta) if segment.deletes is not None)


def count_scattered_rows(meta: Path) -> int:
    """How many rows, removed ones too, lie in other segments of a leg than its largest, by its `meta.json`."""
    sizes = sorted(segment.max_doc for segment in _segments(meta))
    return sum(sizes[:-1])


def _segments(meta: Path) -> tuple[_Segment, ...]:
    try:
        return msgspec.json.decode(meta.read_bytes(), type=_LegMeta).segments
    except FileNotFoundError:  # another leg is in force by now
        return ()


def find_damaged_files(leg: Path) -> list[str]:
    """The names of the files of a keyword leg that are not as tantivy wrote them, sorted. Reads all of them."""
    files = [file for file in leg.iterdir() if not file.name.endswith(_UNCHECKED)]
    return sorted(file.name for file in files if not _is_whole(file))


def _is_whole(path: Path) -> bool:
    with open(path, "rb") as file:
        footer, size = _read_footer(file, path.stat().st_size)
        if footer is None:
            return False
        crc = 0
        while size and (block := file.read(min(size, _READ_BYTES))):
            crc, size = zlib.crc32(block, crc), size - len(block)
    return size == 0 and crc == footer.crc


def _read_footer(file: BinaryIO, size: int) -> tuple[_Footer | None, int]:
    """The footer, and how many bytes lie before it; the file is at its beginning then."""
    if size < _TAIL_BYTES:
        return None, 0
    file.seek(size - _TAIL_BYTES)
    length, magic = (int.from_bytes(file.read(4), "little") for _ in range(2))
    body = size - _TAIL_BYTES - length
    if magic != _MAGIC or body < 0:
        return None, 0
    file.seek(body)
    try:
        footer = msgspec.json.decode(file.read(length), type=_Footer)
    except msgspec.DecodeError:
        return None, 0
    file.seek(0)
    return footer, body
