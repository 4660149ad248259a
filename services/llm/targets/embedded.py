"""A target model in this process: threads of a small pool decode, requests share the model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tidegate.schemas import Artefact
from tidegate.services.llm.constraints.quoting import QuotingConstraint
from tidegate.services.llm.decoding.generated import Generated
from tidegate.services.llm.decoding.speculative import DecodingOptions, speculate
from tidegate.services.llm.decoding.verification import Verification, VerificationStep
from tidegate.services.llm.drafters.alignment import AlignedDrafter
from tidegate.services.llm.drafters.base import MOST_DRAFTED
from tidegate.services.llm.errors import ContextOverflowError, TargetClosedError
from tidegate.services.llm.model.causal_lm import CausalLM
from tidegate.services.llm.model.sampling import Sampling
from tidegate.services.llm.targets.base import GenerationRequest, OnTokens, TargetState
from tidegate.services.llm.text.tokenizer import TokenText

_SMOOTHING = 0.1


class EmbeddedTarget:
    """Implements `VerifyingTarget` with an ONNX model; the draft leaves the output alone at any temperature."""

    def __init__(
        self,
        lm: CausalLM,
        id: str = "target",
        *,
        threads: int = 2,
        k: int = MOST_DRAFTED,
        lookup: bool = True,
        quotes: bool = False,
    ) -> None:
        """`threads` requests run at once, the others wait; `lookup`: where the draft gives nothing, the prompt may.

        `quotes`: a question about passages is answered by quoting them, and in no other way; see `QuotingConstraint`.
        """
        self.tokenizer: TokenText = lm.tokens
        self.artefact = Artefact("model", id, lm.version)
        self._lm = lm
        self._k = k
        self._lookup = lookup
        self.quotes = quotes
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="target")
        self._running: set[_Run] = set()
        self._waiting = 0
        self._step_ms = 0.0
        self._lock = threading.Lock()
        self._is_closed = False

    @classmethod
    def load(cls, directory: Path, *, threads: int = 2, quotes: bool = False) -> EmbeddedTarget:
        """The model in `directory`, named as the directory is. Raises `ModelRefusedError`."""
        return cls(CausalLM(directory), directory.name, threads=threads, quotes=quotes)

    async def generate(self, request: GenerationRequest, on_tokens: OnTokens | None = None) -> Generated:
        """See `Target`."""
        if self._is_closed:
            raise TargetClosedError
        if len(request.prompt) >= self._lm.context:
            raise ContextOverflowError(len(request.prompt), self._lm.context)
        loop = asyncio.get_running_loop()
        run = _Run(request)
        if on_tokens is not None:
            report = on_tokens
            run.report = lambda ids: _report(loop, run, report, ids)
        self._running.add(run)
        with self._lock:
            self._waiting += 1
        try:
            generated = await loop.run_in_executor(self._pool, self._generate, run)
        finally:
            run.stop.set()
            self._end_waiting(run)
            self._running.discard(run)
        if self._is_closed and not generated.is_finished and len(generated.ids) < request.max_tokens:
            raise TargetClosedError
        return generated

    def verification(self, prompt: Sequence[int], *, max_tokens: int = 160) -> Verification:
        """See `VerifyingTarget`."""
        if self._is_closed:
            raise TargetClosedError
        options = DecodingOptions(max_tokens=max_tokens, constraint=self._constraint(prompt))
        return Verification(self._lm, prompt, options)

    async def verify(self, verification: Verification, proposed: Sequence[int], *, known: int = 0) -> VerificationStep:
        """See `VerifyingTarget`."""
        if self._is_closed:
            raise TargetClosedError
        with self._lock:
            self._waiting += 1
        turn = self._pool.submit(self._verify, verification, proposed, known)
        try:
            return await asyncio.wrap_future(turn)
        finally:
            if turn.cancelled():  # given up before its turn came
                with self._lock:
                    self._waiting -= 1

    def state(self) -> TargetState:
        """See `Target`."""
        return TargetState(self._step_ms, self._waiting)

    async def close(self) -> None:
        """See `Target`. What runs ends within a step and raises `TargetClosedError`."""
        self._is_closed = True
        for run in [*self._running]:
            run.stop.set()
        await asyncio.to_thread(self._pool.shutdown, wait=True)

    def _generate(self, run: _Run) -> Generated:
        self._end_waiting(run)
        run.stepped_at = time.perf_counter()
        request = run.request
        sampling = Sampling(seed=request.seed, temperature=request.temperature)
        drafter = AlignedDrafter(
            request.prompt, self._lm.vocabulary, request.draft, lookup=self._lookup, quotes=self.quotes
        )
        return speculate(
            self._lm,
            request.prompt,
            drafter,
            DecodingOptions(sampling, self._k, request.max_tokens, self._constraint(request.prompt)),
            on_tokens=lambda ids: self._count_step(run, ids),
            is_stopped=run.stop.is_set,
        )

    def _verify(self, verification: Verification, proposed: Sequence[int], known: int) -> VerificationStep:
        with self._lock:
            self._waiting -= 1
        is_first, began = not verification.speculation.steps, time.perf_counter()
        step = verification.step(proposed, known=known)
        if not is_first:
            self._observe((time.perf_counter() - began) * 1000)
        return step

    def _constraint(self, prompt: Sequence[int]) -> QuotingConstraint | None:
        return QuotingConstraint.of(self.tokenizer, prompt) if self.quotes else None

    def _end_waiting(self, run: _Run) -> None:
        """It waits no longer: it runs, or it was given up before it did."""
        with self._lock:
            self._waiting -= not run.is_begun
            run.is_begun = True

    def _count_step(self, run: _Run, ids: Sequence[int]) -> None:
        """Report what is new; the first step reads the prompt and does not show how long a step takes."""
        now = time.perf_counter()
        step_ms, run.stepped_at = (now - run.stepped_at) * 1000, now
        if run.has_stepped:
            self._observe(step_ms)
        run.has_stepped = True
        if run.report is not None:
            run.report(ids)

    def _observe(self, step_ms: float) -> None:
        with self._lock:
            self._step_ms += (step_ms - self._step_ms) * (_SMOOTHING if self._step_ms else 1.0)


class _Run:
    """One request on its way."""

    def __init__(self, request: GenerationRequest) -> None:
        self.request = request
        self.stop = threading.Event()
        self.report: OnTokens | None = None
        self.stepped_at = 0.0
        self.is_begun = self.has_stepped = False


def _report(loop: asyncio.AbstractEventLoop, run: _Run, on_tokens: OnTokens, ids: Sequence[int]) -> None:
    """Have the loop call `on_tokens`, unless the request was given up meanwhile."""
    new = tuple(ids)
    loop.call_soon_threadsafe(lambda: None if run.stop.is_set() else on_tokens(new))
