"""Vectors that are kept: the embedder's own, no text twice, and nothing of another model or of a damaged file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.services.knowledge.test_intent_classifier import Blobs, a_pack, blobs
from tidegate.services.knowledge.intent_classifier import VECTORS, prepare_intents
from tidegate.services.knowledge.kept_vectors import KeptVectors
from tidegate.services.knowledge.text_embedder import TextRole

TEXTS = tuple(f"{axis}:{number}" for axis in range(4) for number in range(8))


class Counting(Blobs):
    """Remembers what it was asked for."""

    def __init__(self, version: str = "blobs") -> None:
        super().__init__(0.3)
        self.version = version
        self.asked: list[str] = []

    def embed(self, text: str, role: TextRole = "query") -> Any:
        self.asked.append(text)
        return super().embed(text, role)


def keep(path: Path, *texts: str) -> None:
    kept = KeptVectors(Blobs(0.3))
    for text in texts:
        kept.embed(text)
    kept.save(path)


@given(before=st.sets(st.sampled_from(TEXTS), min_size=1), asked=st.lists(st.sampled_from(TEXTS), min_size=1))
def test_only_what_is_new_is_embedded_and_every_vector_is_the_embedder_s(
    tmp_path_factory: pytest.TempPathFactory, before: set[str], asked: list[str]
) -> None:
    file = tmp_path_factory.mktemp("kept") / "vectors"
    keep(file, *before)
    embedder = Counting()
    kept = KeptVectors(embedder, (file,))
    for text in asked:
        np.testing.assert_array_equal(kept.embed(text), Blobs(0.3).embed(text))
    assert sorted(embedder.asked) == sorted(set(asked) - before)
    kept.save(file)
    again = Counting()
    later = KeptVectors(again, (file,))
    for text in TEXTS:
        later.embed(text)
    assert set(again.asked) == set(TEXTS) - set(asked), "what was not asked for is not kept"


def test_no_byte_of_the_file_can_change_a_vector(tmp_path: Path) -> None:
    file = tmp_path / "vectors"
    keep(file, *TEXTS[:3])
    whole = file.read_bytes()
    for position in range(0, len(whole), 7):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0x10]) + whole[position + 1 :])
        kept = KeptVectors(Blobs(0.3), (file,))
        for text in TEXTS[:3]:
            np.testing.assert_array_equal(kept.embed(text), Blobs(0.3).embed(text))
    for length in range(0, len(whole), 11):
        file.write_bytes(whole[:length])
        embedder = Counting()
        KeptVectors(embedder, (file,)).embed(TEXTS[0])
        assert embedder.asked == [TEXTS[0]]


def test_another_model_s_vectors_are_not_used(tmp_path: Path) -> None:
    keep(tmp_path / "vectors", *TEXTS[:3])
    embedder = Counting("blobs2")
    KeptVectors(embedder, (tmp_path / "missing", tmp_path / "vectors")).embed(TEXTS[0])
    assert embedder.asked == [TEXTS[0]]


def test_a_head_is_trained_anew_on_the_vectors_of_the_one_before(tmp_path: Path) -> None:
    prepare_intents(a_pack(intents=blobs(size=10)), Counting(), tmp_path / "before" / "intent.safetensors")
    embedder = Counting()
    path, known = tmp_path / "after" / "intent.safetensors", tmp_path / "before" / VECTORS
    head = prepare_intents(a_pack(intents=blobs(size=12)), embedder, path, (known,))
    assert sorted(embedder.asked) == sorted(f"{axis}:{number}" for axis in range(3) for number in (10, 11))
    fresh = prepare_intents(a_pack(intents=blobs(size=12)), Counting(), tmp_path / "fresh" / "intent.safetensors")
    assert (head.version, head.weights.tobytes()) == (fresh.version, fresh.weights.tobytes())
