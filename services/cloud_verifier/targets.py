"""Which target model stands behind the hub: its own in this process, vLLM's engine, or a server that is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

from brokers.settings import Settings
from schemas.cloud import CloudState
from services.generation import EmbeddedTarget, Target, TokenText, VerifyingTarget
from services.places import Places


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Target]:
    """The target that the settings name, ready to generate; closed on leaving.

    `embedded`: the shipped target through ONNX Runtime, which may only quote. `vllm`: any Llama or Qwen directory in
    vLLM's engine, in this process. `completions`: a server with vLLM's or OpenAI's completions, on the best tier that
    it is found to speak.
    Raises `ModelMissing`, `ValueError` for a server without a base URL or a model, `ImportError` without the extra
    `cloud`.
    """
    chosen = settings.cloud_verifier
    directory = Places(settings).models / "lm" / "target"
    if chosen.backend == "vllm":
        from services.vllm_engine import VllmTarget

        target: Target = await VllmTarget.open(chosen.model or str(directory))
    elif chosen.backend == "completions":
        from services.cloud_verifier.ladder import climb

        if not chosen.base_url or not chosen.model:
            raise ValueError("cloud_verifier.backend is completions: set cloud_verifier.base_url and .model")
        tokenizer = await asyncio.to_thread(TokenText.load, directory / "tokenizer.json")
        target = await climb(chosen, tokenizer)
    else:
        target = await asyncio.to_thread(partial(EmbeddedTarget.load, directory, quotes=True))
    try:
        yield target
    finally:
        await target.close()


def state_of(target: Target) -> CloudState:
    """How busy the target is, as a site wants to know it."""
    state = target.state()
    return CloudState(step_ms=state.step_ms, queue=state.queue, drafts=True, loops=isinstance(target, VerifyingTarget))
