"""A target model in this process: threads of a small pool run the loop, requests share the model."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tidegate.schemas import Artefact
from tidegate.services.llm.constraints.quoting import Quoting
from tidegate.services.llm.decoding.causal_lm import CausalLM
from tidegate.services.llm.decoding.sampling import Sampling
from tidegate.services.llm.decoding.speculative import speculate
from tidegate.services.llm.decoding.verification import Verdict, Verification
from tidegate.services.llm.drafters.drafters import MOST_DRAFTED, Chained, Drafter, Shipped
from tidegate.services.llm.drafters.prompt_lookup import Lookup
from tidegate.services.llm.targets.base import ContextOverflow, Generated, TargetClosed, TargetState
from tidegate.services.llm.text.tokenizer import TokenText

_SMOOTHING = 0.1

Said = Callable[[Sequence[int]], None]


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
        """`threads` requests run at once, the others wait; `lookup`: where no draft has an idea, the passages may.

        `quotes`: a question about passages is answered by quoting them, and in no other way; see `Quoting`.
        """
        self.tokenizer: TokenText = lm.tokens
        self.artefact = Artefact("model", id, lm.version)
        self._lm = lm
        self._k = k
        self._lookup = lookup
        self.quotes = quotes
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="target")
        self._running: dict[str, list[_Run]] = {}
        self._waiting = 0
        self._step_ms = 0.0
        self._lock = threading.Lock()
        self._is_closed = False

    @classmethod
    def load(cls, directory: Path, *, threads: int = 2, quotes: bool = False) -> EmbeddedTarget:
        """The model in `directory`, named as the directory is. Raises `ModelRefused`."""
        return cls(CausalLM(directory), directory.name, threads=threads, quotes=quotes)

    async def generate(
        self,
        rid: str,
        prompt: Sequence[int],
        *,
        draft: Sequence[int] = (),
        max_tokens: int = 160,
        seed: int = 0,
        temperature: float = 0.0,
        said: Said | None = None,
    ) -> Generated:
        """See `Target`."""
        if self._is_closed:
            raise TargetClosed
        if len(prompt) >= self._lm.context:
            raise ContextOverflow(len(prompt), self._lm.context)
        loop = asyncio.get_running_loop()
        shipped = Shipped(len(prompt), draft, self._lm.vocabulary)
        run = _Run(tuple(prompt), shipped, Sampling(seed=seed, temperature=temperature), max_tokens)
        if said is not None:
            heard = said
            run.said = lambda ids: _tell(loop, run, heard, ids)
        self._running.setdefault(rid, []).append(run)
        with self._lock:
            self._waiting += 1
        try:
            generated = await loop.run_in_executor(self._pool, self._generate, run)
        finally:
            run.stop.set()
            self._begun(run)
            self._forget(rid, run)
        if self._is_closed and not generated.is_finished and len(generated.ids) < max_tokens:
            raise TargetClosed
        return generated

    def verification(self, prompt: Sequence[int], *, max_tokens: int = 160) -> Verification:
        """See `VerifyingTarget`."""
        if self._is_closed:
            raise TargetClosed
        return Verification(self._lm, prompt, max_tokens=max_tokens, constraint=self._rule(prompt))

    async def verify(self, verification: Verification, proposed: Sequence[int], *, known: int = 0) -> Verdict:
        """See `VerifyingTarget`."""
        if self._is_closed:
            raise TargetClosed
        with self._lock:
            self._waiting += 1
        turn = self._pool.submit(self._verify, verification, proposed, known)
        try:
            return await asyncio.wrap_future(turn)
        finally:
            if turn.cancelled():  # given up before its turn came
                with self._lock:
                    self._waiting -= 1

    async def late_draft(self, rid: str, draft: Sequence[int]) -> None:
        """See `Target`."""
        for run in self._running.get(rid, ()):
            run.shipped.replace(draft)

    def state(self) -> TargetState:
        """See `Target`."""
        return TargetState(self._step_ms, self._waiting)

    async def close(self) -> None:
        """See `Target`. What runs ends within a step and raises `TargetClosed`."""
        self._is_closed = True
        for run in [run for runs in self._running.values() for run in runs]:
            run.stop.set()
        await asyncio.to_thread(self._pool.shutdown, wait=True)

    def _generate(self, run: _Run) -> Generated:
        self._begun(run)
        run.stepped_at = time.perf_counter()
        return speculate(
            self._lm,
            run.prompt,
            self._drafter(run),
            sampling=run.sampling,
            k=self._k,
            max_tokens=run.max_tokens,
            constraint=self._rule(run.prompt),
            said=lambda ids: self._stepped(run, ids),
            is_stopped=run.stop.is_set,
        )

    def _verify(self, verification: Verification, proposed: Sequence[int], known: int) -> Verdict:
        with self._lock:
            self._waiting -= 1
        is_first, began = not verification.speculation.steps, time.perf_counter()
        verdict = verification.step(proposed, known=known)
        if not is_first:
            self._took((time.perf_counter() - began) * 1000)
        return verdict

    def _rule(self, prompt: Sequence[int]) -> Quoting | None:
        return Quoting.of(self.tokenizer, prompt) if self.quotes else None

    def _drafter(self, run: _Run) -> Drafter:
        if not self._lookup:
            return run.shipped
        marks = [self.tokenizer.FIRST_MARK + number for number in range(self.tokenizer.MOST_PASSAGES)]
        return Chained((run.shipped, Lookup(self._lm.vocabulary, anchors=marks)))

    def _begun(self, run: _Run) -> None:
        """It waits no longer: it runs, or it was given up before it did."""
        with self._lock:
            self._waiting -= not run.is_begun
            run.is_begun = True

    def _stepped(self, run: _Run, ids: Sequence[int]) -> None:
        """Tell what is new; the first step reads the prompt and says nothing about how long a step takes."""
        now = time.perf_counter()
        step_ms, run.stepped_at = (now - run.stepped_at) * 1000, now
        if run.has_stepped:
            self._took(step_ms)
        run.has_stepped = True
        if run.said is not None:
            run.said(ids)

    def _took(self, step_ms: float) -> None:
        with self._lock:
            self._step_ms += (step_ms - self._step_ms) * (_SMOOTHING if self._step_ms else 1.0)

    def _forget(self, rid: str, run: _Run) -> None:
        self._running[rid].remove(run)
        if not self._running[rid]:
            del self._running[rid]


class _Run:
    """One request on its way."""

    def __init__(self, prompt: tuple[int, ...], shipped: Shipped, sampling: Sampling, max_tokens: int) -> None:
        self.prompt, self.shipped, self.sampling, self.max_tokens = prompt, shipped, sampling, max_tokens
        self.stop = threading.Event()
        self.said: Said | None = None
        self.stepped_at = 0.0
        self.is_begun = self.has_stepped = False


def _tell(loop: asyncio.AbstractEventLoop, run: _Run, said: Said, ids: Sequence[int]) -> None:
    """Have the loop call `said`, unless the request was given up meanwhile."""
    new = tuple(ids)
    loop.call_soon_threadsafe(lambda: None if run.stop.is_set() else said(new))
