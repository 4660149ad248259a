"""The cloud's model on the engine: many requests in one batch, drafts verified on the way, the engine kept alive."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Sequence
from contextlib import aclosing, suppress
from pathlib import Path

from tidegate.schemas import Artefact, RetryLaterError, Speculation
from tidegate.services.llm.constraints.quoting import QuotingConstraint
from tidegate.services.llm.decoding.speculative import Generated
from tidegate.services.llm.drafters.alignment import MOST_DRAFT_TOKENS
from tidegate.services.llm.drafters.base import MOST_DRAFTED
from tidegate.services.llm.errors import ContextOverflowError, ModelRefusedError, TargetClosedError
from tidegate.services.llm.targets.base import (
    GenerationRequest,
    OnTokens,
    StepTimes,
    TargetState,
    cache_salt,
    encoded_size,
)
from tidegate.services.llm.targets.vllm.engine import (
    EngineSampling,
    EngineSettings,
    EngineStoppedError,
    VllmEngine,
    version_of,
)
from tidegate.services.llm.targets.vllm.self_test import run_self_test
from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer
from tidegate.services.llm.text.tokenizer import TokenText
from tidegate.services.llm.text.vocabularies import load_vocabulary

STARTING_S = 10.0
"""When to ask again while the engine is being started."""
WATCH_S = 0.5
WORST_PAUSE_S = 60.0


class VllmRequest(GenerationRequest, frozen=True, kw_only=True):
    """A request with what vLLM can do besides. `lookup`: where the draft gives nothing, the prompt may.

    `quotes`: see `QuotingConstraint`; the engine's settings have to allow it, too.
    """

    lookup: bool = True
    quotes: bool = True


class VllmTarget:
    """A `Target` on vLLM in this process. At temperature 0 the answer does not depend on drafts.

    A request is decoded beside all others in one continuous batch. Its draft goes to the engine with it and is proposed
    `MOST_DRAFTED` tokens at a time where it fits (see `drafters.alignment`); with none, or where it does not fit, a
    step is a plain one. An engine that died is started again; whoever asks meanwhile gets `RetryLaterError`.
    """

    def __init__(
        self, directory: Path, version: str, tokenizer: TokenText | ChatTokenizer, settings: EngineSettings
    ) -> None:
        self.tokenizer = tokenizer
        self.quotes = settings.quotes and isinstance(tokenizer, TokenText)
        self.artefact = Artefact("model", directory.name, version)
        self._directory = directory
        self._settings = settings
        config = json.loads((directory / "config.json").read_text())
        self._vocabulary = int(config.get("vocab_size") or config["text_config"]["vocab_size"])
        self._engine: VllmEngine | None = None
        self._held: set[str] = set()  # keys of which the engine may hold something
        self._waiting: set[str] = set()
        self._is_closed = False
        self._why_not = ""
        self._steps = StepTimes()
        self._works: set[asyncio.Task[Generated]] = set()
        self._behind: set[asyncio.Task[None]] = set()
        self._watching: asyncio.Task[None] | None = None

    @classmethod
    async def open(
        cls,
        directory: Path | str,
        tokenizer: TokenText | ChatTokenizer | None = None,
        settings: EngineSettings = EngineSettings(),  # noqa: B008 - frozen
    ) -> VllmTarget:
        """Start the engine on a Hugging-Face-layout directory (Llama, Qwen, …); tens of seconds.

        The tokenizer is the directory's own unless given. Raises `ModelRefusedError` without a model,
        `TokenizerRefusedError`, and `VllmUnsuitableError` where vLLM is missing, or does not verify what it is given.
        """
        directory = Path(directory)
        if not (directory / "config.json").is_file():
            raise ModelRefusedError(directory, "config.json is missing")
        if tokenizer is None:
            tokenizer = await asyncio.to_thread(load_vocabulary, directory)
        version = await asyncio.to_thread(version_of, directory)
        target = cls(directory, version, tokenizer, settings)
        target._engine = await target._start()
        target._watching = asyncio.create_task(target._watch())
        return target

    async def generate(self, request: GenerationRequest, on_tokens: OnTokens | None = None) -> Generated:
        """See `Target`; a `VllmRequest` may ask for more.

        Only one tenant's requests share cached prefixes, or times would show what was asked. Raises `RetryLaterError`,
        `ContextOverflowError`, `TargetClosedError`, `SamplingRefusedError`, `ValueError` for bad ids.
        """
        engine = self._serving()
        sampling = self._sampling(request)
        self._waiting.add(sampling.key)
        if sampling.draft or sampling.lookup:
            self._held.add(sampling.key)
        work = asyncio.create_task(self._generate(engine, request, sampling, on_tokens))
        try:
            return await self._outcome(work)
        finally:
            self._leave(sampling.key, engine)

    def state(self) -> TargetState:
        """Mean time of one step, prefill left out; requests in the engine that have no token yet."""
        return TargetState(step_ms=self._steps.mean_ms, queue=len(self._waiting))

    async def close(self) -> None:
        """End the engine. Requests in flight end with `TargetClosedError`."""
        self._is_closed = True
        works = [*self._works]
        for work in works:
            work.cancel()  # an engine that is shut down leaves who waits for it waiting
        await asyncio.gather(*works, return_exceptions=True)
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)
        if self._engine is not None:
            engine, self._engine = self._engine, None
            await asyncio.to_thread(engine.stop)
        behind = [*self._behind]
        for task in behind:
            task.cancel()  # so it does who calls it; what it held is gone with it
        await asyncio.gather(*behind, return_exceptions=True)

    def _serving(self) -> VllmEngine:
        if self._is_closed:
            raise TargetClosedError
        if self._engine is None or self._engine.is_dead:
            raise RetryLaterError(f"the engine is being started {self._why_not}".rstrip(), STARTING_S)
        return self._engine

    def _room(self, prompt: Sequence[int]) -> int:
        """Tokens that may follow; vLLM stops asking any proposer for drafts `MOST_DRAFTED` tokens before the end."""
        most = self._settings.max_model_len - MOST_DRAFTED - 1
        if not 0 < len(prompt) < most:
            raise ContextOverflowError(len(prompt), most)
        if not all(0 <= each < self._vocabulary for each in prompt):  # that would end the engine, for all
            raise ValueError(f"the prompt has ids beyond the {self._vocabulary} of the model's vocabulary")
        return most - len(prompt)

    def _known(self, draft: Sequence[int]) -> tuple[int, ...]:
        """The draft without ids that the model has not: they can only be wrong, and would end the engine."""
        if self._settings.proposer != "edge":
            return ()
        return tuple(each for each in draft if 0 <= each < self._vocabulary)[:MOST_DRAFT_TOKENS]

    def _sampling(self, request: GenerationRequest) -> EngineSampling:
        known = {name: getattr(request, name) for name in request.__struct_fields__}
        asked = request if isinstance(request, VllmRequest) else VllmRequest(**known)
        return EngineSampling(
            key=secrets.token_hex(8),
            draft=self._known(asked.draft),
            lookup=asked.lookup and self._settings.proposer == "edge",
            max_tokens=min(asked.max_tokens, self._room(asked.prompt)),
            grammar=self._grammar(asked.prompt) if asked.quotes and self.quotes else "",
            ends=tuple(sorted(self.tokenizer.ends)),
            is_marked=isinstance(self.tokenizer, TokenText),
            temperature=asked.temperature,
            seed=asked.seed,
        )

    def _grammar(self, prompt: Sequence[int]) -> str:
        assert isinstance(self.tokenizer, TokenText)
        quoting = QuotingConstraint.of(self.tokenizer, prompt)
        return quoting.ebnf() if quoting is not None else ""

    async def _generate(
        self, engine: VllmEngine, request: GenerationRequest, sampling: EngineSampling, on_tokens: OnTokens | None
    ) -> Generated:
        ids: list[int] = []
        is_finished, report = False, self._steps.timed(on_tokens)
        async with aclosing(engine.stream(request.prompt, sampling, cache_salt(request.rid))) as steps:
            async for new, why in steps:
                self._waiting.discard(sampling.key)
                is_finished = why == "stop"
                visible = new[:-1] if is_finished and new and new[-1] in self.tokenizer.ends else new
                ids += visible
                report(visible)
        return Generated(tuple(ids), await self._cost(engine, sampling, len(ids) + is_finished), is_finished)

    async def _cost(self, engine: VllmEngine, sampling: EngineSampling, tokens: int) -> Speculation:
        """What was proposed cost and saved; a plain request made a step a token."""
        if sampling.key not in self._held:
            return Speculation(steps=tokens, tokens=tokens)
        steps = drafted = accepted = 0
        self._held.discard(sampling.key)
        with suppress(EngineStoppedError):  # the answer is whole; only its cost is not known any more
            *_, (steps, drafted, accepted) = await engine.call("tidegate_settle", sampling.key)
        return Speculation(
            steps=steps or tokens,
            tokens=tokens,
            drafted=drafted,
            accepted=accepted,
            draft_bytes=encoded_size(sampling.draft),
        )

    async def _outcome(self, work: asyncio.Task[Generated]) -> Generated:
        self._works.add(work)
        try:
            return await work
        except EngineStoppedError as error:
            if self._is_closed:
                raise TargetClosedError from error
            raise RetryLaterError("the engine ended and is being started again", STARTING_S) from error
        except asyncio.CancelledError:
            asker = asyncio.current_task()
            if self._is_closed and asker is not None and not asker.cancelling():
                raise TargetClosedError from None
            raise
        finally:
            self._works.discard(work)

    def _leave(self, key: str, engine: VllmEngine) -> None:
        self._waiting.discard(key)
        if key in self._held and not self._is_closed:
            self._held.discard(key)
            task = asyncio.create_task(_forget(engine, key))
            self._behind.add(task)
            task.add_done_callback(self._behind.discard)

    async def _watch(self) -> None:
        pause_s = WATCH_S
        while True:
            await asyncio.sleep(pause_s)
            if self._engine is not None and not self._engine.is_dead:
                continue
            dead, self._engine = self._engine, None
            try:
                if dead is not None:
                    await asyncio.to_thread(dead.stop)
                self._engine = await self._start()
                pause_s, self._why_not = WATCH_S, ""
            except Exception as error:  # noqa: BLE001 - whatever vLLM raises is passed to every asker, and it is tried again
                pause_s = min(WORST_PAUSE_S, max(STARTING_S, 2 * pause_s))
                self._why_not = f"(the last attempt failed: {error})"

    async def _start(self) -> VllmEngine:
        engine = await VllmEngine.start(self._directory, self._settings)
        settings = self._settings
        await run_self_test(engine, self.tokenizer, drafts=settings.proposer == "edge", quotes=self.quotes)
        return engine


async def _forget(engine: VllmEngine, key: str) -> None:
    with suppress(EngineStoppedError):
        await engine.call("tidegate_settle", key)
