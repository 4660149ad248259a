"""The files of a model that our builder made: checked as they are read, and weights left on the disk to be mapped.

Promises that no copy of a graph's weights is made here. Next: inference.py, which opens graphs.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from tidegate.schemas import TidegateError

_CHUNK = 1 << 20
_LEAST = 1 << 14
"""Bytes from which on weights are left in the file: the runtime maps whole pages."""
_BYTE_TYPES = frozenset({2, 3})
"""UINT8 and INT8 of `onnx.TensorProto.DataType`: what may stand at any place of a file, for it needs no alignment."""
_GRAPH, _INITIALIZER = 7, 5  # fields of `onnx.ModelProto` and `onnx.GraphProto`
_TYPE, _RAW, _EXTERNAL, _LOCATION = 2, 9, 13, 14  # fields of `onnx.TensorProto`
_IN_FILE = 1  # `onnx.TensorProto.EXTERNAL`


class FileReplacedError(TidegateError, OSError):
    """A file is another by now than the one that was checked."""

    hint = "start again, so that all files of the model are of one build"

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} was replaced while it was opened")


class GraphFile(NamedTuple):
    """A checked ONNX file: where it lies, and by what it is told from one that replaces it."""

    path: Path
    stamp: tuple[int, ...]

    def check(self) -> None:
        """Raises `FileReplacedError` where another file is there now, and `OSError` where none is."""
        if _stamp(self.path) != self.stamp:
            raise FileReplacedError(self.path)

    def without_weights(self) -> bytes:
        """The graph, whose large weights of one byte each are named as parts of this very file.

        A runtime that is told the folder of the file maps them: its pages are shared by all processes that read them,
        and nothing is read that is not used. Raises `OSError`, and `ValueError` for what is no ONNX file.
        """
        with self.path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return b"".join(_rewrite_model(data, self.path.name))


class BuiltFiles(NamedTuple):
    """The files of a model as they were read: their version, the graphs among them, and the contents of the others."""

    version: str
    graphs: dict[str, GraphFile]
    contents: dict[str, bytes]


def read_built(directory: Path, names: Sequence[str], over: str = "") -> BuiltFiles:
    """The files of a model that our builder made, each as `manifest.json` beside them names it.

    The version is of the contents of the files in this order, after `over`, the version of what the model stands on.
    Raises `OSError` where one is missing, and `ValueError`, `KeyError`, `TypeError` or `AttributeError` where one is
    another or the manifest is none.
    """
    built = json.loads((directory / "manifest.json").read_text())["built"]
    whole, graphs, contents = hashlib.sha256(over.encode()), dict[str, GraphFile](), dict[str, bytes]()
    for name in names:
        path, own = (directory / name).resolve(), hashlib.sha256()
        stamp, kept = _stamp(path), bytearray()
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                own.update(chunk)
                whole.update(chunk)
                if not name.endswith(".onnx"):
                    kept += chunk
        if own.hexdigest() != built.get(name):
            raise ValueError(f"{name} is not the file that the manifest names")
        if name.endswith(".onnx"):
            graphs[name] = GraphFile(path, stamp)
        else:
            contents[name] = bytes(kept)
    return BuiltFiles(whole.hexdigest()[:12], graphs, contents)


def _stamp(path: Path) -> tuple[int, ...]:
    found = path.stat()
    return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class _Field(NamedTuple):
    """One field of a message (protobuf.dev, "Encoding"): its number, where it starts, where its value does, its end."""

    number: int
    start: int
    value: int
    end: int


def _rewrite_model(data: mmap.mmap, location: str) -> Iterator[bytes]:
    for field in _fields(data, 0, len(data)):
        if field.number == _GRAPH:
            yield from _lengthed(_GRAPH, b"".join(_rewrite_graph(data, field, location)))
        else:
            yield data[field.start : field.end]


def _rewrite_graph(data: mmap.mmap, graph: _Field, location: str) -> Iterator[bytes]:
    for field in _fields(data, graph.value, graph.end):
        if field.number == _INITIALIZER:
            yield from _lengthed(_INITIALIZER, b"".join(_rewrite_tensor(data, field, location)))
        else:
            yield data[field.start : field.end]


def _rewrite_tensor(data: mmap.mmap, tensor: _Field, location: str) -> Iterator[bytes]:
    fields = {field.number: field for field in _fields(data, tensor.value, tensor.end)}
    kind, raw = fields.get(_TYPE), fields.get(_RAW)
    if kind is None or raw is None or data[kind.value] not in _BYTE_TYPES or raw.end - raw.value < _LEAST:
        yield data[tensor.value : tensor.end]
        return
    for field in _fields(data, tensor.value, tensor.end):
        if field != raw:
            yield data[field.start : field.end]
    for key, value in (("location", location), ("offset", str(raw.value)), ("length", str(raw.end - raw.value))):
        pair = (*_lengthed(1, key.encode()), *_lengthed(2, value.encode()))
        yield from _lengthed(_EXTERNAL, b"".join(pair))
    yield _number(_LOCATION << 3) + _number(_IN_FILE)  # after what the file may say of it: the last one counts


def _fields(data: mmap.mmap, at: int, end: int) -> Iterator[_Field]:
    while at < end:
        start = at
        key, at = _read_number(data, at)
        if key & 7 == 0:
            value, at = at, _read_number(data, at)[1]
        elif key & 7 == 2:
            size, value = _read_number(data, at)
            at = value + size
        elif key & 7 in (1, 5):
            value, at = at, at + (8 if key & 7 == 1 else 4)
        else:
            raise ValueError("it is no ONNX file")
        if at > end:
            raise ValueError("it is no ONNX file")
        yield _Field(key >> 3, start, value, at)


def _read_number(data: mmap.mmap, at: int) -> tuple[int, int]:
    found = shift = 0
    while at < len(data):
        byte = data[at]
        found |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return found, at
    raise ValueError("it is no ONNX file")


def _number(value: int) -> bytes:
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    return bytes((*found, value))


def _lengthed(number: int, value: bytes) -> tuple[bytes, bytes, bytes]:
    return _number(number << 3 | 2), _number(len(value)), value
