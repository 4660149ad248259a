"""A causal language model in ONNX: read in pieces, taken back, shared, or refused."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support import tiny_models
from tidegate.services.llm.errors import ContextOverflowError, ModelRefusedError
from tidegate.services.llm.model.causal_lm import CausalLM

QUICK = settings(deadline=None, max_examples=25)
CLOSE = 1e-4


@pytest.fixture(scope="module")
def lm(tmp_path_factory: pytest.TempPathFactory) -> CausalLM:
    return CausalLM(tiny_models.save(tmp_path_factory.mktemp("lm")))


IDS = st.lists(st.integers(19, 399), min_size=2, max_size=24)


@given(ids=IDS, data=st.data())
@QUICK
def test_in_pieces_it_reads_as_at_once(lm: CausalLM, ids: list[int], data: st.DataObject) -> None:
    at_once = lm.open().forward(ids)
    assert at_once.shape == (len(ids), lm.vocabulary)
    context = lm.open()
    rows = []
    while context.length < len(ids):
        step = data.draw(st.integers(1, len(ids) - context.length))
        rows.append(context.forward(ids[context.length : context.length + step]))
    np.testing.assert_allclose(np.concatenate(rows), at_once, rtol=CLOSE, atol=CLOSE)


@given(ids=IDS, wrong=st.lists(st.integers(19, 399), min_size=1, max_size=8), data=st.data())
@QUICK
def test_what_was_taken_back_leaves_no_trace(
    lm: CausalLM, ids: list[int], wrong: list[int], data: st.DataObject
) -> None:
    kept = data.draw(st.integers(0, len(ids) - 1))
    context = lm.open()
    context.forward([*ids[: kept + 1], *wrong])
    context.rollback(kept)
    assert context.length == kept
    assert context.ids == ids[:kept]
    np.testing.assert_allclose(context.forward(ids[kept:]), lm.open().forward(ids)[kept:], rtol=CLOSE, atol=CLOSE)


def test_every_earlier_token_counts(lm: CausalLM) -> None:
    ids = list(range(30, 42))
    last = lm.open().forward(ids)[-1]
    for position in range(len(ids)):
        other = lm.open().forward([*ids[:position], 99, *ids[position + 1 :]])
        assert np.abs(other[-1] - last).max() > 1e-3, position
        assert position == 0 or np.abs(other[0] - lm.open().forward(ids)[0]).max() < 1e-4, "and no later one"


@pytest.mark.parametrize("takes_mask", [True, False])
@pytest.mark.parametrize("takes_positions", [True, False])
@pytest.mark.parametrize(("heads", "key_heads"), [(4, 1), (4, 4), (6, 2)])
def test_models_of_several_shapes(
    tmp_path: Path, takes_mask: bool, takes_positions: bool, heads: int, key_heads: int
) -> None:
    directory = tiny_models.save(
        tmp_path, takes_mask=takes_mask, takes_positions=takes_positions, heads=heads, key_heads=key_heads
    )
    model = CausalLM(directory)
    context = model.open()
    assert {each.read().shape for each in context.kept.values()} == {(1, key_heads, 0, 8)}
    context.forward([30, 31, 32, 33, 34])
    context.rollback(3)
    assert {each.read().shape for each in context.kept.values()} == {(1, key_heads, 3, 8)}
    np.testing.assert_allclose(
        context.forward([33, 34, 35]), model.open().forward([30, 31, 32, 33, 34, 35])[3:], rtol=CLOSE, atol=CLOSE
    )


def test_the_context_ends_where_it_says(lm: CausalLM) -> None:
    context = lm.open()
    context.forward([30] * (tiny_models.CONTEXT - 1))
    assert context.room == 1
    with pytest.raises(ContextOverflowError, match="context"):
        context.forward([30, 31])
    assert context.room == 1
    context.forward([30])
    with pytest.raises(ContextOverflowError):
        context.forward([30])


def test_what_makes_no_sense_is_refused(lm: CausalLM) -> None:
    context = lm.open()
    with pytest.raises(ValueError, match="something to read"):
        context.forward([])
    context.forward([30, 31])
    for length in (-1, 3):
        with pytest.raises(ValueError, match="cannot go back"):
            context.rollback(length)


class TestPinned:
    @pytest.fixture
    def lm(self, tmp_path: Path) -> CausalLM:
        return CausalLM(tiny_models.save(tmp_path), pinned_bytes=30_000)

    def test_a_prefix_is_read_once_and_shared(self, lm: CausalLM) -> None:
        prefix = list(range(30, 50))
        lm.pin(prefix)
        ids = [*prefix, 60, 61]
        first, second = lm.open(ids), lm.open(ids)
        assert first.ids == second.ids == prefix
        alone = first.forward([60, 61])
        assert second.length == len(prefix), "what one reads the other has not read"
        np.testing.assert_allclose(alone, CausalLM.open(lm).forward(ids)[-2:], rtol=CLOSE, atol=CLOSE)
        np.testing.assert_allclose(second.forward([62]), lm.open().forward([*prefix, 62])[-1:], rtol=CLOSE, atol=CLOSE)

    def test_the_longest_is_taken_but_never_all(self, lm: CausalLM) -> None:
        lm.pin([30, 31])
        lm.pin([30, 31, 32, 33])
        assert lm.open([30, 31, 32, 33, 34]).length == 4
        assert lm.open([30, 31, 32, 33]).length == 2
        assert lm.open([30, 31, 9]).length == 2
        assert lm.open([31, 30, 9]).length == 0

    def test_the_least_used_is_let_go(self, lm: CausalLM) -> None:
        for first in (30, 60, 90):
            lm.pin(range(first, first + 30))
        lm.open(range(30, 61))
        for first in (120, 150):
            lm.pin(range(first, first + 30))
        held = [first for first in (30, 60, 90, 120, 150) if lm.open(range(first, first + 31)).length]
        assert held == [30, 120, 150], "30 tokens of 256 bytes each: three prefixes weigh under 30 000 bytes, four more"

    def test_one_that_is_too_big_is_not_kept(self, lm: CausalLM) -> None:
        lm.pin([30] * 200)
        assert lm.open([30] * 201).length == 0


def test_threads_share_it(lm: CausalLM) -> None:
    expected = {seed: lm.open().forward(list(range(seed, seed + 20)))[-1] for seed in range(30, 38)}
    wrong: list[int] = []

    def read(seed: int) -> None:
        for _ in range(10):
            context = lm.open()
            for each in range(seed, seed + 20):
                row = context.forward([each])[-1]
            if not np.allclose(row, expected[seed], rtol=CLOSE, atol=CLOSE):
                wrong.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("model.onnx", b"no model", "model.onnx"),
        ("config.json", b"{}", "max_position_embeddings"),
        ("config.json", b"[", "make models"),
        ("tokenizer.json", b"{}", "tokenizer"),
    ],
)
def test_what_is_no_model_is_refused(tmp_path: Path, file: str, content: bytes, reason: str) -> None:
    directory = tiny_models.save(tmp_path)
    (directory / file).write_bytes(content)
    with pytest.raises(ModelRefusedError, match=reason):
        CausalLM(directory)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ("logits", "scores", "no output `logits`"),
        ("present.1.value", "cache.1.value", "does not give back"),
        ("past_key_values.1.key", "cache_position", "wants .*cache_position"),
    ],
)
def test_a_graph_of_another_kind_is_refused(tmp_path: Path, old: str, new: str, reason: str) -> None:
    directory = tiny_models.save(tmp_path)
    model = onnx.load(directory / "model.onnx")
    for each in (*model.graph.input, *model.graph.output):
        each.name = new if each.name == old else each.name
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [new if name == old else name for name in names]
    onnx.save(model, directory / "model.onnx")
    with pytest.raises(ModelRefusedError, match=reason):
        CausalLM(directory)


def test_logits_for_fewer_tokens_than_there_are_is_refused(tmp_path: Path) -> None:
    directory = tiny_models.save(tmp_path)
    stored = json.loads((directory / "tokenizer.json").read_text())
    stored["model"]["vocab"]["zzzz"] = 400
    (directory / "tokenizer.json").write_text(json.dumps(stored))
    with pytest.raises(ModelRefusedError, match="400 logits"):
        CausalLM(directory)
