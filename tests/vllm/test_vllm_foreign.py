"""Directories with foreign tokenizers in vLLM: the same words as embedded, whatever was drafted."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.foreign_models import save_foreign
from tests.support.vllm_engine import needs_vllm
from tidegate.infra.models.export import directory
from tidegate.services.llm.targets.base import GenerationRequest
from tidegate.services.llm.targets.embedded import EmbeddedTarget
from tidegate.services.llm.targets.vllm.engine import EngineSettings
from tidegate.services.llm.targets.vllm.target import VllmRequest, VllmTarget
from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer

pytestmark = [pytest.mark.anyio, needs_vllm]

TOKENS = 32
ASKED = ("When does the branch open?", "Was kostet eine Münzrolle?", "Is a lost card blocked at any hour?")


@pytest.mark.parametrize("family", ["qwen3", "llama", "gemma3"])
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
