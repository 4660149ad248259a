"""A target model in this process: threads of a small pool decode, requests share the model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tidegate.schemas import Artefact
from tidegate.services.inference import Provider
from tidegate.services.llm.constraints.quoting import QuotingConstraint
from tidegate.services.llm.decoding.speculative import DecodingOptions, Generated, speculate
from tidegate.services.llm.decoding.verification import Verification, VerificationStep
from tidegate.services.llm.drafters.alignment import AlignedDrafter
from tidegate.services.llm.errors import ContextOverflowError, ModelRefusedError, TargetClosedError
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.model.sampling import Sampling
from tidegate.services.llm.targets.base import GenerationRequest, OnTokens, StepTimes, TargetState
from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer
from tidegate.services.llm.text.tokenizer import TokenText

T = TypeVar("T")
EXPORT_HINT = "write one with `python -m tidegate.infra.models.export.directory DIRECTORY`"


class EmbeddedTarget:
    """Implements `VerifyingTarget` with an ONNX model; the draft leaves the output alone at any temperature."""

    def __init__(self, lm: CausalLM, id: str = "target", *, threads: int = 2, quotes: bool = False) -> None:
        """`threads` requests run at once, the others wait.

        `quotes`: a question about passages is answered by quoting them, and in no other way; see `QuotingConstraint`.
        It takes our own control tokens; a model of another tokenizer writes in its own words.
        """
        self.tokenizer: TokenText | ChatTokenizer = lm.tokens
        self.artefact = Artefact("model", id, lm.version)
        self._lm = lm
        self.quotes = quotes and isinstance(lm.tokens, TokenText)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="target")
        self._running: set[threading.Event] = set()  # each stops its request
        self._waiting = 0
        self._steps = StepTimes()
        self._lock = threading.Lock()
        self._is_closed = False

    @classmethod
    def load(
        cls, directory: Path, *, threads: int = 2, quotes: bool = False, providers: Sequence[Provider] = ("cpu",)
    ) -> EmbeddedTarget:
        """The model in `directory`, named as the directory is. Raises `ModelRefusedError`, `ProviderUnavailableError`.

        One of our own is small, so each request has a thread; another one has all `threads` for one request.
        """
        if not (directory / "model.onnx").is_file() and any(directory.glob("*.safetensors")):
            raise ModelRefusedError(directory, "it has weights and no model.onnx", EXPORT_HINT)
        tokenizer = directory / "tokenizer.json"
        is_ours = tokenizer.is_file() and TokenText.is_ours(tokenizer.read_bytes())
        lm = CausalLM(directory, providers=providers, threads=1 if is_ours else threads)
        return cls(lm, directory.name, threads=threads if is_ours else 1, quotes=quotes)

    async def generate(self, request: GenerationRequest, on_tokens: OnTokens | None = None) -> Generated:
        if self._is_closed:
            raise TargetClosedError
        if len(request.prompt) >= self._lm.context:
            raise ContextOverflowError(len(request.prompt), self._lm.context)
        stop = threading.Event()
        report = None if on_tokens is None else _in_loop(asyncio.get_running_loop(), on_tokens, stop)
        self._running.add(stop)
        try:
            generated = await self._in_turn(lambda: self._generate(request, report, stop))
        finally:
            stop.set()
            self._running.discard(stop)
        if self._is_closed and not generated.is_finished and len(generated.ids) < request.max_tokens:
            raise TargetClosedError
        return generated

    def verification(self, prompt: Sequence[int], *, max_tokens: int = 160) -> Verification:
        if self._is_closed:
            raise TargetClosedError
        options = DecodingOptions(max_tokens=max_tokens, constraint=self._constraint(prompt))
        return Verification(self._lm, prompt, options)

    async def verify(self, verification: Verification, proposed: Sequence[int], *, known: int = 0) -> VerificationStep:
        if self._is_closed:
            raise TargetClosedError
        return await self._in_turn(lambda: self._verify(verification, proposed, known))

    def state(self) -> TargetState:
        return TargetState(self._steps.mean_ms, self._waiting)

    async def close(self) -> None:
        """See `Target`. What runs ends within a step and raises `TargetClosedError`."""
        self._is_closed = True
        for stop in [*self._running]:
            stop.set()
        await asyncio.to_thread(self._pool.shutdown, wait=True)

    async def _in_turn(self, work: Callable[[], T]) -> T:
        """What `work` returns in a thread of the pool; until that is free, it counts as waiting."""

        def begin() -> T:
            self._count_waiting(-1)
            return work()

        self._count_waiting(1)
        turn = self._pool.submit(begin)
        try:
            return await asyncio.wrap_future(turn)
        finally:
            if turn.cancelled():  # given up before its turn came
                self._count_waiting(-1)

    def _count_waiting(self, more: int) -> None:
        with self._lock:
            self._waiting += more

    def _generate(self, request: GenerationRequest, report: OnTokens | None, stop: threading.Event) -> Generated:
        options = DecodingOptions(
            Sampling(seed=request.seed, temperature=request.temperature),
            max_tokens=request.max_tokens,
            constraint=self._constraint(request.prompt),
        )
        is_marked = isinstance(self.tokenizer, TokenText)
        drafter = AlignedDrafter(
            request.prompt, self._lm.vocabulary, request.draft, quotes=self.quotes, is_marked=is_marked
        )
        on_tokens = self._steps.timed(report)
        return speculate(self._lm, request.prompt, drafter, options, on_tokens=on_tokens, is_stopped=stop.is_set)

    def _verify(self, verification: Verification, proposed: Sequence[int], known: int) -> VerificationStep:
        is_first, began_s = not verification.speculation.steps, time.perf_counter()
        step = verification.step(proposed, known=known)
        if not is_first:
            self._steps.observe(time.perf_counter() - began_s)
        return step

    def _constraint(self, prompt: Sequence[int]) -> QuotingConstraint | None:
        if not self.quotes or not isinstance(self.tokenizer, TokenText):
            return None
        return QuotingConstraint.of(self.tokenizer, prompt)


def _in_loop(loop: asyncio.AbstractEventLoop, on_tokens: OnTokens, stop: threading.Event) -> OnTokens:
    """Have the loop call `on_tokens`, unless the request was given up meanwhile."""

    def report(ids: Sequence[int]) -> None:
        new = tuple(ids)
        loop.call_soon_threadsafe(lambda: None if stop.is_set() else on_tokens(new))

    return report
