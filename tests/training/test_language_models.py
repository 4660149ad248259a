"""The language-model pair: the tokenizer's contract, the graphs, their digests, and what the shipped weights can do."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.paths import MODELS, ROOT
from tidegate.infra.models import TOKENIZER
from tidegate.infra.models.data import packing
from tidegate.infra.models.data.heldout import load_heldout
from tidegate.infra.models.export import causal_lm as export
from tidegate.infra.models.export import language_models, reference
from tidegate.infra.models.training import lora
from tidegate.services.llm.constraints.quoting import QuotingConstraint
from tidegate.services.llm.decoding.speculative import DecodingOptions, speculate
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.text.answers import parse_answer
from tidegate.services.llm.text.prompts import answer_prompt
from tidegate.services.llm.text.tokenizer import CONTROLS, MARKS, TokenText

WEIGHTS = ROOT / "infra" / "models" / "weights"
PAIR = ("target", "draft")
FLOORS = {"target": 0.8, "draft": 0.65}
TENANTS = sorted(path.name for path in (WEIGHTS / "adapters").iterdir())
TOKENS = TokenText.load(TOKENIZER)


@cache
def graph(name: str, shipped: bool = True) -> bytes:
    config, weights = export.read(WEIGHTS / name)
    plan = json.loads((WEIGHTS / name / "precision.json").read_text()) if shipped else {}
    content: bytes = export.build(config, weights, plan).SerializeToString(deterministic=True)
    return content


def test_the_control_tokens_and_the_marks_have_their_ids() -> None:
    vocabulary = json.loads(TOKENIZER.read_text("utf-8"))["model"]["vocab"]
    assert [vocabulary[token] for token in (*CONTROLS, *MARKS)] == list(range(19))
    assert len(vocabulary) == TOKENS.size == 2048


def test_each_digit_is_a_token_of_its_own() -> None:
    pieces = TOKENS.plain.encode("0123456789 and 77", add_special_tokens=False).tokens
    assert all(len(piece) == 1 for piece in pieces if any(letter.isdigit() for letter in piece))
    assert sum(piece.isdigit() for piece in pieces) == 12


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from([*CONTROLS, *MARKS]), st.text(max_size=8)), max_size=8))
def test_any_text_comes_back_as_it_was_and_never_becomes_a_control_token(parts: list[str]) -> None:
    ids = TOKENS.encode("".join(parts))
    assert not any(TOKENS.is_control(each) for each in ids)
    assert TOKENS.decode(ids) == "".join(parts)


@pytest.mark.parametrize("name", PAIR)
def test_the_fp32_graph_computes_what_numpy_computes_whole_and_in_pieces(name: str) -> None:
    whole, stepwise = reference.differences(graph(name, shipped=False), *export.read(WEIGHTS / name))
    assert whole < 1e-3
    assert stepwise < 1e-3


@pytest.mark.parametrize("name", PAIR)
def test_the_shipped_graph_says_the_same_whole_and_token_by_token(name: str) -> None:
    passages = ("The gold card costs £3.", "The silver card is free.")
    ids = answer_prompt(TOKENS, "What does the gold card cost?", passages).ids
    decoder = reference.Decoder(graph(name))
    whole = decoder.feed(ids)
    decoder.reset()
    pieces = np.concatenate([decoder.feed(ids[:9]), *(decoder.feed([token]) for token in ids[9:])])
    assert np.abs(whole - pieces).max() < language_models.CLOSE_PACKED


@pytest.mark.parametrize("name", PAIR)
def test_the_graph_is_the_same_bytes_each_time(name: str) -> None:
    first = hashlib.sha256(graph(name)).hexdigest()
    graph.cache_clear()
    assert hashlib.sha256(graph(name)).hexdigest() == first


@pytest.mark.parametrize("bits", [4, 8])
def test_packing_loses_less_than_its_step(bits: int) -> None:
    matrix = np.random.default_rng(3).normal(size=(8, 64)).astype(np.float32)
    scales = packing.packed(matrix, bits).scales
    lost = np.abs(packing.unpacked(matrix, bits) - matrix).reshape(8, 2, 32).max(-1)
    assert (lost <= np.abs(scales) * (0.5001 if bits == 8 else 3)).all()
    data = packing.packed(matrix, bits).data
    whole = data if bits == 8 else np.stack((data & 15, data >> 4), -1).reshape(8, 2, 32)
    by_hand = (whole.astype(np.float32) - (1 << (bits - 1))) * scales[..., None]
    assert np.array_equal(by_hand.reshape(8, 64), packing.unpacked(matrix, bits))
    with pytest.raises(ValueError, match="whole blocks"):
        packing.packed(matrix[:, :33], bits)


@pytest.mark.parametrize("name", PAIR)
def test_the_card_names_the_digest_of_the_weights(name: str) -> None:
    digest = hashlib.sha256((WEIGHTS / name / "model.safetensors").read_bytes()).hexdigest()
    assert digest in (WEIGHTS / name / "MODEL_CARD.md").read_text()


def test_what_is_built_is_what_the_manifest_says_and_is_found_current(tmp_path: Path) -> None:
    out = tmp_path / "lm"
    out.mkdir()
    manifest = language_models.build(out)
    (out / "manifest.json").write_text(json.dumps(manifest))
    assert language_models.is_current(out)
    assert {f"{name}/model.onnx" for name in PAIR} <= set(manifest["built"])
    (out / "draft" / "model.onnx").write_bytes(b"something else")
    assert not language_models.is_current(out)


@pytest.mark.parametrize("tenant", TENANTS)
def test_an_adapter_is_small_and_fits_the_draft_only(tenant: str) -> None:
    _, draft = export.read(WEIGHTS / "draft")
    merged = lora.merged(draft, WEIGHTS / "adapters" / tenant)
    changed = [name for name in draft if not np.array_equal(draft[name], merged[name])]
    assert changed
    assert all(name.endswith(("q_proj.weight", "v_proj.weight")) for name in changed)
    with pytest.raises(ValueError, match="another model"):
        lora.merged({"some.weight": draft["model.norm.weight"]}, WEIGHTS / "adapters" / tenant)


@pytest.mark.parametrize("name", PAIR)
def test_the_shipped_model_cites_what_answers_held_out_questions(name: str) -> None:
    lm, right = CausalLM(MODELS / "lm" / name, threads=2), 0
    for sample in load_heldout():
        prompt = answer_prompt(TOKENS, sample.question, sample.passages).ids
        options = DecodingOptions(constraint=QuotingConstraint.of(TOKENS, prompt))
        right += parse_answer(TOKENS, speculate(lm, prompt, None, options).ids).cited == sample.cited
    assert right / len(load_heldout()) >= FLOORS[name]


def test_held_out_questions_have_one_sentence_a_passage_and_some_have_no_answer() -> None:
    samples = load_heldout()
    assert len(set(samples)) == 60
    assert all(len(sample.passages) <= TOKENS.MOST_PASSAGES for sample in samples)
    assert all(1 <= number <= len(sample.passages) for sample in samples for number in sample.cited)
    assert {len(sample.cited) for sample in samples} == {0, 1, 2}
