"""Directories with foreign tokenizers in vLLM: the same words as embedded, whatever was drafted."""

from __future__ import annotations

import asyncio
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.foreign_models import FAMILIES, save_foreign
from tests.support.vllm_engine import needs_vllm
from tidegate.infra.models.export import causal_lm, directory, reference
from tidegate.services.llm.targets.base import GenerationRequest
from tidegate.services.llm.targets.embedded import EmbeddedTarget
from tidegate.services.llm.targets.vllm.engine import EngineSettings
from tidegate.services.llm.targets.vllm.target import VllmRequest, VllmTarget
from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer

pytestmark = [pytest.mark.anyio, needs_vllm]

TOKENS = 32
CLOSE = 1e-3
ASKED = ("When does the branch open?", "Was kostet eine Münzrolle?", "Is a lost card blocked at any hour?")


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_numpy_computes_what_the_library_of_the_family_computes(family: str, tmp_path: Path) -> None:
    torch: Any = importlib.import_module("torch")
    transformers: Any = importlib.import_module("transformers")
    config, weights = causal_lm.read(save_foreign(tmp_path, family))
    ids = list(range(7, 55))
    model = transformers.AutoModelForCausalLM.from_pretrained(
        str(tmp_path), dtype=torch.float32, attn_implementation="eager"
    )
    with torch.no_grad():
        expected = model(torch.tensor([ids])).logits[0].numpy()
    found = reference.logits(config, weights, ids)
    assert np.abs(found - expected).max() <= CLOSE * expected.std()


@pytest.mark.parametrize("family", ["qwen2", "qwen3", "llama", "gemma3"])
async def test_a_foreign_directory_says_the_same_in_both_engines_and_with_any_draft(
    family: str, tmp_path: Path
) -> None:
    save_foreign(tmp_path, family)
    directory.export(tmp_path, tmp_path, "fp32")
    embedded = EmbeddedTarget.load(tmp_path)
    tokens = embedded.tokenizer
    assert isinstance(tokens, ChatTokenizer)
    engine = await VllmTarget.open(tmp_path, settings=EngineSettings(max_model_len=256))
    try:
        assert engine.tokenizer.digest == tokens.digest
        prompts = [tokens.encode_chat([{"role": "user", "content": asked}]) for asked in ASKED]
        for number, prompt in enumerate(prompts):
            here = await embedded.generate(GenerationRequest(rid="here", prompt=prompt, max_tokens=TOKENS))
            drafts = ((), here.ids, (*here.ids[:4], 5, 6, *here.ids[4:]))
            there = await asyncio.gather(
                *(
                    engine.generate(VllmRequest(rid=f"{number}-{at}", prompt=prompt, draft=draft, max_tokens=TOKENS))
                    for at, draft in enumerate(drafts)
                )
            )
            assert {outcome.ids for outcome in there} == {here.ids}
            assert {outcome.is_finished for outcome in there} == {here.is_finished}
            assert there[1].speculation.steps < there[1].speculation.tokens
    finally:
        await engine.close()
        await embedded.close()
