"""Which target model stands behind the hub: its own in this process, vLLM's engine, or a server that is not ours."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from tidegate.brokers.egress import EgressGate
from tidegate.schemas import Writing
from tidegate.schemas.uplink import CloudState
from tidegate.services.answering.shipped_drafts import name_model
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.llm.targets.base import Target, VerifyingTarget
from tidegate.services.llm.targets.embedded import EmbeddedTarget
from tidegate.services.llm.targets.openai_compatible.target import OpenAICompatibleTarget, open_openai_compatible
from tidegate.services.llm.targets.vllm.engine import EngineSettings
from tidegate.services.llm.targets.vllm.target import VllmTarget
from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.settings import Settings


@asynccontextmanager
async def open_target(settings: Settings) -> AsyncIterator[Target]:
    """The target that the settings name, ready to generate; closed on leaving.

    `embedded`: the shipped target, or the directory `model`, through ONNX Runtime. `vllm`: any Hugging Face directory
    in vLLM's engine, in this process. Of both the shipped target may only quote, unless `quotes` is set otherwise.
    `completions`: a server with vLLM's or OpenAI's completions, by the best capability that it is found to have.
    Raises `ModelRefusedError`, `ProviderUnavailableError`, `ModelServerUnnamedError` for a server without a base URL
    or a model, `EgressDeniedError` for one that no permit names, `VllmUnsuitableError` without the extra `cloud`.
    """
    chosen = settings.cloud_verifier
    directory = StatePaths(settings).models / "lm" / "target"
    if chosen.backend == "vllm":
        quotes = not chosen.model if chosen.quotes is None else chosen.quotes
        target: Target = await VllmTarget.open(chosen.model or str(directory), settings=EngineSettings(quotes=quotes))
    elif chosen.backend == "completions":
        tokenizer = await asyncio.to_thread(TokenText.load, directory / "tokenizer.json")
        target = await open_openai_compatible(chosen, tokenizer, EgressGate.of(settings.egress))
    else:
        load = partial(
            EmbeddedTarget.load,
            Path(chosen.model or directory),
            threads=chosen.threads,
            quotes=chosen.quotes is not False,
            providers=chosen.providers,
        )
        target = await asyncio.to_thread(load)
    try:
        yield target
    finally:
        await target.close()


def cloud_state(target: Target) -> CloudState:
    """How busy the target is and where drafts can save it steps, as a site wants to know it.

    A target with a chat template is not called where an answer is to quote. The shipped pair quotes in every answer:
    in this process what it quotes is forced, and takes no step; a server or vLLM takes one for each token. A server
    with another model confirms what is quoted, and writes; no draft helps it.
    """
    state = target.state()
    writes: tuple[Writing, ...] = ("quote",)
    takes_text = isinstance(target, OpenAICompatibleTarget) and bool(target.text_path)
    if takes_text:
        writes = ("quote", "grounded", "free")
    elif isinstance(target.tokenizer, ChatTokenizer):
        writes = ("grounded", "free")
    elif isinstance(target, EmbeddedTarget) and target.quotes:
        writes = ()
    return CloudState(
        step_ms=state.step_ms,
        queue=state.queue,
        verifies_drafts=not takes_text,
        keeps_sessions=isinstance(target, VerifyingTarget) and isinstance(target.tokenizer, TokenText),
        model=name_model(target.artefact),
        writes=writes,
    )
