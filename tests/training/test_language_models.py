"""The language-model pair: the tokenizer's contract, the graphs, their digests, and what the shipped weights can do."""

from __future__ import annotations

import hashlib
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.paths import ROOT
from tidegate.infra.models.data import generator, packing, prompts
from tidegate.infra.models.evaluation import quoting
from tidegate.infra.models.export import causal_lm as export
from tidegate.infra.models.export import language_models, reference
from tidegate.infra.models.training import lora
from tidegate.services.llm.text.tokenizer import CONTROLS, MARKS

WEIGHTS = ROOT / "infra" / "models" / "weights"
PAIR = ("target", "draft")
FLOORS = {"target": 0.8, "draft": 0.65}
TENANTS = sorted(path.name for path in (WEIGHTS / "adapters").iterdir())


@cache
def builder() -> prompts.Prompts:
    return prompts.Prompts(WEIGHTS / "tokenizer.json")


@cache
def graph(name: str, shipped: bool = True) -> bytes:
    config, weights = export.read(WEIGHTS / name)
    plan = json.loads((WEIGHTS / name / "precision.json").read_text()) if shipped else {}
    content: bytes = export.build(config, weights, plan).SerializeToString(deterministic=True)
    return content


def test_the_control_tokens_and_the_marks_have_their_ids() -> None:
    tokenizer = builder().tokenizer
    assert [tokenizer.token_to_id(token) for token in CONTROLS] == list(range(10))
    assert [tokenizer.token_to_id(token) for token in MARKS] == list(prompts.MARKS)
    assert tokenizer.get_vocab_size() == 2048


def test_each_digit_is_a_token_of_its_own() -> None:
    pieces = builder().plain.encode("0123456789 and 77", add_special_tokens=False).tokens
    assert all(len(piece) == 1 for piece in pieces if any(letter.isdigit() for letter in piece))
    assert sum(piece.isdigit() for piece in pieces) == 12


@settings(max_examples=150, deadline=None)
@given(st.text())
def test_any_text_comes_back_as_it_was(text: str) -> None:
    assert builder().plain.decode(builder().text(text), skip_special_tokens=False) == text


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.sampled_from([*CONTROLS, *MARKS]), st.text(max_size=8)), max_size=8))
def test_text_never_becomes_a_control_token(parts: list[str]) -> None:
    text = "".join(parts)
    ids = builder().text(text)
    assert all(token > max(prompts.MARKS) for token in ids)
    assert builder().plain.decode(ids, skip_special_tokens=False) == text


def test_a_prompt_has_exactly_the_control_tokens_that_the_builder_put_there() -> None:
    ids = builder().question("Is [2] <|eos|> right?", ["It is <|answer|> [9].", "No."])
    assert [token for token in ids if token <= 18] == [1, 3, 4, 10, 4, 11, 5]
    assert builder().answer([]) == [prompts.NONE, prompts.EOS]
    with pytest.raises(ValueError, match="at most 9"):
        builder().question("?", ["one"] * 10)


def test_an_answer_reads_as_mark_and_sentence() -> None:
    ids = builder().answer([(3, "It costs £4."), (1, "It is open.")])
    assert builder().decoded(ids) == "[3] It costs £4. [1] It is open."


@pytest.mark.parametrize("name", PAIR)
def test_the_fp32_graph_computes_what_numpy_computes_whole_and_in_pieces(name: str) -> None:
    whole, stepwise = reference.differences(graph(name, shipped=False), *export.read(WEIGHTS / name))
    assert whole < 1e-3
    assert stepwise < 1e-3


@pytest.mark.parametrize("name", PAIR)
def test_the_shipped_graph_says_the_same_whole_and_token_by_token(name: str) -> None:
    ids = builder().question("What does the gold card cost?", ["The gold card costs £3.", "The silver card is free."])
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
def test_the_shipped_model_answers_held_out_questions_by_quoting(name: str) -> None:
    decoder = reference.Decoder(graph(name), threads=2)
    samples = generator.heldout(60, seed=404)
    right = 0
    for sample in samples:
        output = quoting.answer(decoder, builder(), sample.question, sample.passages)
        right += output == builder().answer(sample.parts)[:-1]
    assert right / len(samples) >= FLOORS[name]


@pytest.mark.parametrize("question", ["What is the fee?", "zzz <|eos|> [2]", ""])
def test_a_quoting_answer_is_to_the_letter_what_the_cited_passage_says(question: str) -> None:
    passages = ["The fee is £4. It is due in May.", "| Fee | 30 days |", "Nobody asked. The fee is [9] waived."]
    decoder = reference.Decoder(graph("draft"))
    text = builder().decoded(quoting.answer(decoder, builder(), question, passages))
    cited = re.findall(r"\[([1-3])\] (.+?)(?= \[[1-3]\] |$)", text)
    assert text == "<|none|>" or cited
    assert all(sentence in quoting.sentences(passages[int(number) - 1]) for number, sentence in cited)


def test_held_out_material_is_the_same_for_a_seed_and_its_truth_is_in_the_passages() -> None:
    samples = generator.heldout(120)
    assert samples == generator.heldout(120)
    assert {sample.kind for sample in samples} == set(generator.KINDS)
    assert all(sentence in sample.passages[number - 1] for sample in samples for number, sentence in sample.parts)
    records = generator.heldout_records(500)
    assert records == generator.heldout_records(500)
    assert all([field.split(":")[0] for field in r.schema.split(" ")] == list(r.truth) for r in records)
