"""What an engine must show before it serves: vLLM's interfaces for it are young, so that it is seen, never assumed."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from tidegate.services.llm.constraints.quoting import QuotingConstraint
from tidegate.services.llm.targets.vllm.engine import EngineSampling, VllmEngine, VllmUnsuitableError
from tidegate.services.llm.text.prompts import answer_prompt
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.llm.text.vocabulary import Vocabulary

PROBE = (1, 3, 5)
PROBE_TOKENS = 12


async def run_self_test(engine: VllmEngine, tokens: Vocabulary, *, drafts: bool, quotes: bool) -> None:
    """See that a draft saves steps, and that an answer keeps to the rule of quoting, where that is asked.

    Raises `VllmUnsuitableError`, and stops the engine, where it does not.
    """
    if drafts and not await _is_drafted(engine):
        await asyncio.to_thread(engine.stop)
        raise VllmUnsuitableError("this vLLM does not verify the drafts it is given; 0.32.0 does")
    if quotes and isinstance(tokens, TokenText) and not await _is_quoted(engine, tokens):
        await asyncio.to_thread(engine.stop)
        raise VllmUnsuitableError("this vLLM does not keep to the grammar it is given; 0.32.0 does, with xgrammar")


async def _is_drafted(engine: VllmEngine) -> bool:
    answer: tuple[int, ...] = ()
    for key in ("plain", "drafted"):
        answer = await _generate(engine, PROBE, EngineSampling(key=key, draft=answer, max_tokens=PROBE_TOKENS, ends=()))
    *_, (steps, _, accepted) = await engine.call("tidegate_settle", "drafted")
    return bool(accepted and steps < PROBE_TOKENS)


async def _is_quoted(engine: VllmEngine, tokens: TokenText) -> bool:
    prompt = answer_prompt(tokens, "Which?", ("It is this.", "It is that.")).ids
    quoting = QuotingConstraint.of(tokens, prompt)
    assert quoting is not None
    sampling = EngineSampling(
        key="quoted", draft=(), max_tokens=PROBE_TOKENS, ends=(tokens.end,), grammar=quoting.ebnf()
    )
    try:
        quoting.accept(await _generate(engine, prompt, sampling))
    except ValueError:
        return False
    return True


async def _generate(engine: VllmEngine, prompt: Sequence[int], sampling: EngineSampling) -> tuple[int, ...]:
    return tuple([each async for new, _ in engine.stream(prompt, sampling, "") for each in new])
