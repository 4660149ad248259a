"""The rule of quoting in vLLM: the grammar says what the rule says, and the engine keeps to it as it drafts."""

from __future__ import annotations

import asyncio
import importlib
import random
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.vllm_engine import MODEL, drafts_held, needs_vllm, prompts_of_the_branch
from tidegate.services.llm.constraints.quoting import QuotingConstraint
from tidegate.services.llm.targets.base import GenerationRequest
from tidegate.services.llm.targets.vllm.target import VllmRequest, VllmTarget
from tidegate.services.llm.text.prompts import answer_prompt
from tidegate.services.llm.text.tokenizer import TokenText

pytestmark = [pytest.mark.anyio, needs_vllm]

BACK = 16
"""Tokens that the engine takes back at most: as many as are proposed."""


def rule(tokens: TokenText, prompt: Sequence[int], output: Sequence[int]) -> list[int]:
    """What may follow by the embedded target's own rule: every token is tried."""
    quoting = QuotingConstraint.of(tokens, prompt)
    assert quoting is not None
    quoting.accept(output)
    allowed = []
    for token in range(tokens.size):
        again = QuotingConstraint.of(tokens, prompt)
        assert again is not None
        again.accept(output)
        try:
            again.accept((token,))
        except ValueError:
            continue
        allowed.append(token)
    return allowed


@pytest.mark.parametrize("seed", range(4))
def test_the_grammar_allows_what_the_rule_allows_also_after_tokens_were_taken_back(
    tokens: TokenText, seed: int
) -> None:
    xgrammar: Any = importlib.import_module("xgrammar")
    transformers: Any = importlib.import_module("transformers")
    dice = random.Random(seed)
    texts = ["It opens at 9:00.", "It is [1] £5.", "No.", "Ask <|none|> of it, or go to the second floor."]
    prompt = answer_prompt(tokens, "When?", texts[: seed + 1]).ids
    quoting = QuotingConstraint.of(tokens, prompt)
    assert quoting is not None
    info = xgrammar.TokenizerInfo.from_huggingface(
        transformers.AutoTokenizer.from_pretrained(str(MODEL)), vocab_size=tokens.size
    )
    compiled = xgrammar.GrammarCompiler(info, max_threads=1).compile_grammar(quoting.ebnf())
    matcher = xgrammar.GrammarMatcher(compiled, override_stop_tokens=[tokens.end], max_rollback_tokens=BACK)
    mask = xgrammar.allocate_token_bitmask(1, tokens.size)
    output: list[int] = []
    while tokens.end not in output:
        matcher.fill_next_token_bitmask(mask, 0)
        bits = mask[0].tolist()
        allowed = [each for each in range(tokens.size) if bits[each // 32] >> (each % 32) & 1]
        assert allowed == rule(tokens, prompt, output)
        ahead = [dice.choice(allowed)]
        assert matcher.accept_token(ahead[0])
        if dice.random() < 0.5:
            matcher.rollback(1)
            ahead = [dice.choice(allowed)]
            assert matcher.accept_token(ahead[0])
        output += ahead
    assert not matcher.accept_token(tokens.NONE)


async def test_the_engine_quotes_as_the_rule_says_and_the_prompt_saves_the_steps(
    engine: VllmTarget, tokens: TokenText
) -> None:
    prompts = prompts_of_the_branch(tokens, 8, seed=5)
    plain = await asyncio.gather(
        *(
            engine.generate(VllmRequest(rid=f"plain-{n}", prompt=prompt, max_tokens=160, lookup=False))
            for n, prompt in enumerate(prompts)
        )
    )
    free = await asyncio.gather(
        *(
            engine.generate(VllmRequest(rid=f"free-{n}", prompt=prompt, max_tokens=48, quotes=False))
            for n, prompt in enumerate(prompts)
        )
    )
    helped = await asyncio.gather(
        *(
            engine.generate(GenerationRequest(rid=f"helped-{n}", prompt=prompt, max_tokens=160))
            for n, prompt in enumerate(prompts)
        )
    )
    assert [outcome.ids for outcome in helped] == [outcome.ids for outcome in plain]
    assert [outcome.ids for outcome in free] != [outcome.ids[:48] for outcome in plain], (
        "the rule must change something"
    )
    for prompt, outcome, alone in zip(prompts, helped, plain, strict=True):
        quoting = QuotingConstraint.of(tokens, prompt)
        assert quoting is not None
        quoting.accept(outcome.ids)
        if len(outcome.ids) > BACK:
            assert outcome.speculation.steps * 3 <= alone.speculation.steps
    assert sum(len(outcome.ids) > BACK for outcome in helped) > len(prompts) / 2
    assert await drafts_held(engine) == 0
