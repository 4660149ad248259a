"""How fast the edge's language model speaks on one thread, and whether what it streams is what it says."""

from __future__ import annotations

import asyncio
import codecs
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

from loadtests.bench.measure import Bar, Entry, Measurement, Sampled, Target, interleaved
from tidegate.infra.models.data.heldout import load_heldout
from tidegate.services.llm.decoding.speculative import DecodingOptions, speculate
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.text.prompts import answer_prompt

MODELS = Path(".models/lm")
QUESTIONS = 12
MAX_TOKENS = 96
"""An answer of the pair is a quoted sentence or two."""


class BenchedModel:
    """One model on the thread that calls it, without drafts: one token a step."""

    def __init__(self, directory: Path) -> None:
        self._lm = CausalLM(directory)

    def prompts(self, count: int) -> list[tuple[int, ...]]:
        """Held-out questions with their passages, as the model reads them."""
        tokens = self._lm.own_tokens
        return [answer_prompt(tokens, each.question, each.passages).ids for each in load_heldout()[:count]]

    def speak(self, prompts: Sequence[Sequence[int]]) -> Sampled:
        """Tokens per second over all answers, reading the prompts included.

        Samples: `tokens/s` and `first token` of each answer, and `stable`, 1.0 where the pieces that were streamed are
        the ids and the text of the whole.
        """
        samples: dict[str, list[float]] = {"tokens/s": [], "first token": [], "stable": []}
        spoken, began_s = 0, time.perf_counter()
        for prompt in prompts:
            tokens, first_ms, took_s, is_stable = self._answer(prompt)
            spoken += tokens
            samples["tokens/s"].append(tokens / took_s)
            samples["first token"].append(first_ms)
            samples["stable"].append(float(is_stable))
        whole_s = time.perf_counter() - began_s
        return Sampled(spoken / whole_s, {name: tuple(values) for name, values in samples.items()})

    def _answer(self, prompt: Sequence[int]) -> tuple[int, float, float, bool]:
        streamed, text, received_s = list[int](), list[str](), list[float]()
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a character comes out with its last byte

        def output(ids: Sequence[int]) -> None:
            received_s.append(time.perf_counter())
            streamed.extend(ids)
            text.append(decoder.decode(self._lm.tokens.bytes_of(ids)))

        began_s = time.perf_counter()
        whole = speculate(self._lm, prompt, options=DecodingOptions(k=0, max_tokens=MAX_TOKENS), on_tokens=output)
        took_s = time.perf_counter() - began_s
        text.append(decoder.decode(b"", True))
        is_stable = tuple(streamed) == whole.ids and "".join(text) == self._lm.tokens.decode(whole.ids)
        first_ms = ((received_s[0] if received_s else began_s + took_s) - began_s) * 1e3
        return whole.speculation.tokens, first_ms, took_s, is_stable


async def speed_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Tokens per second of the edge's model and of the cloud's, each alone on one thread."""
    edge = await asyncio.to_thread(BenchedModel, MODELS / "draft")
    cloud = await asyncio.to_thread(BenchedModel, MODELS / "target")
    prompts = edge.prompts(QUESTIONS)

    async def ours() -> Sampled:
        return await asyncio.to_thread(edge.speak, prompts)

    async def peer() -> Sampled:
        return await asyncio.to_thread(cloud.speak, prompts)

    async for block in interleaved(repeats, ours, peer):
        yield block


EDGE_LM_ENTRIES: tuple[Entry, ...] = (
    Entry(
        name="edge_lm_tokens_per_second",
        unit="tokens/s on one thread, prompts included",
        peer_name="the cloud's target model on the same thread, no drafts",
        target=Target("≥", 1.0),
        blocks=speed_blocks,
        bars=(
            Bar(samples="tokens/s", quantile=0.5, target=Target("≥", 60.0), unit="tokens/s"),
            Bar(samples="tokens/s", quantile=0.05, unit="tokens/s"),
            Bar(samples="first token", quantile=0.95),
            Bar(samples="stable", quantile=0.0, target=Target("≥", 1.0), unit=""),
        ),
    ),
)
