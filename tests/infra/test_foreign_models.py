"""Directories of other families: their graph computes what their weights say, and answers embedded."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from tests.support.foreign_models import FAMILIES, save_foreign
from tidegate.infra.models.export import causal_lm, directory, reference
from tidegate.infra.models.export.architecture import Architecture, ArchitectureRefusedError
from tidegate.infra.models.export.weights import read_weights
from tidegate.services.llm.targets.base import GenerationRequest
from tidegate.services.llm.targets.embedded import EmbeddedTarget
from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer

pytestmark = pytest.mark.anyio

TOKENS = 24
CHAT = [{"role": "system", "content": "Answer briefly."}, {"role": "user", "content": "When does the branch open?"}]


def greedy(config: dict[str, Any], weights: Any, prompt: Sequence[int], ends: frozenset[int], size: int) -> list[int]:
    """The answer by numpy alone: the whole text read anew for each token."""
    ids = list(prompt)
    while len(ids) < len(prompt) + TOKENS:
        token = int(reference.logits(config, weights, ids)[-1][:size].argmax())
        if token in ends:
            break
        ids.append(token)
    return ids[len(prompt) :]


@pytest.mark.parametrize("family", sorted(FAMILIES))
async def test_a_directory_of_any_family_answers_embedded_as_numpy_computes_it(family: str, tmp_path: Path) -> None:
    save_foreign(tmp_path, family)
    directory.export(tmp_path, tmp_path, "fp32")
    config, weights = causal_lm.read(tmp_path)
    target = EmbeddedTarget.load(tmp_path, quotes=True)
    assert isinstance(target.tokenizer, ChatTokenizer)
    assert not target.quotes, "quoting takes our own control tokens"
    prompt = target.tokenizer.encode_chat(CHAT)
    expected = greedy(config, weights, prompt, target.tokenizer.ends, target.tokenizer.size)
    wrong = (*expected[:5], 0, 1, *expected[5:])
    for draft in ((), expected, wrong):
        asked = GenerationRequest(rid="r", prompt=prompt, draft=draft, max_tokens=TOKENS)
        assert list((await target.generate(asked)).ids) == expected
    await target.close()


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_int8_weights_leave_the_logits_where_they_are(family: str, tmp_path: Path) -> None:
    config, weights = causal_lm.read(save_foreign(tmp_path, family))
    plan = dict.fromkeys(causal_lm.matrices(config, weights), "int8")
    decoder = reference.Decoder(causal_lm.build(config, weights, plan).SerializeToString())
    ids = list(range(40))
    exact, packed = reference.logits(config, weights, ids), decoder.feed(ids)
    assert np.corrcoef(exact.ravel(), packed.ravel())[0, 1] > 0.99


def test_weights_in_half_precision_and_in_several_files_are_read_as_they_are(tmp_path: Path) -> None:
    save_foreign(tmp_path, "qwen2")
    whole = load_file(tmp_path / "model.safetensors")
    (tmp_path / "model.safetensors").unlink()
    names = sorted(whole)
    for number, some in enumerate((names[:9], names[9:])):
        write_bfloat16(tmp_path / f"model-{number}.safetensors", {name: whole[name] for name in some})
    found = read_weights(tmp_path)
    assert found.keys() == whole.keys()
    for name, value in found.items():
        np.testing.assert_allclose(value, whole[name], rtol=2**-7)


def write_bfloat16(path: Path, tensors: dict[str, Any]) -> None:
    header, content = {}, b""
    for name, value in tensors.items():
        halves = (value.view(np.uint32) >> 16).astype("<u2").tobytes()
        header[name] = {
            "dtype": "BF16",
            "shape": list(value.shape),
            "data_offsets": [len(content), len(content) + len(halves)],
        }
        content += halves
    stored = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(stored)) + stored + content)


@pytest.mark.parametrize(
    "change",
    [
        {"model_type": "mamba"},
        {"quantization_config": {"bits": 4}},
        {"hidden_act": "relu6"},
        {"rope_scaling": {"rope_type": "longrope", "factor": 4}},
    ],
)
def test_what_cannot_be_written_down_is_refused_by_name(change: dict[str, Any], tmp_path: Path) -> None:
    config, _ = causal_lm.read(save_foreign(tmp_path, "llama"))
    with pytest.raises(ArchitectureRefusedError):
        Architecture.of(config | change)


def test_a_directory_without_a_graph_says_how_to_write_one(tmp_path: Path) -> None:
    save_foreign(tmp_path, "llama")
    with pytest.raises(ValueError, match=r"tidegate\.infra\.models\.export\.directory"):
        EmbeddedTarget.load(tmp_path)
