"""A `Target` on any OpenAI-compatible server: by the best way that it is seen to support, one lower when that fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence

from tidegate.schemas import Artefact, RetryLaterError, Speculation
from tidegate.services.llm.targets.base import ContextOverflow, Generated, TargetClosed, TargetState
from tidegate.services.llm.targets.openai_compatible.client import Prompt, Tokens, Unable, Wire
from tidegate.services.llm.targets.openai_compatible.settings import OpenAICompatibleSettings
from tidegate.services.llm.targets.openai_compatible.tiers import FanOut, Run, Scoring, Streamed, Text, Tier
from tidegate.services.llm.targets.vllm.drafts import salt_of, weight_of
from tidegate.services.llm.text.prompts import answer_prompt
from tidegate.services.llm.text.tokenizer import TokenText

PROBE = "Straße 12, ab 09:30 Uhr: l’agence ferme à 18 h; ¿cuánto cuesta? — 3.50 €"
PROBE_TOKENS = 6
CLIMB_AFTER_S = 60.0
STEADY = 0.1


class Ladder:
    """Tiers, best first: `fan_out`, `prompt_logprobs`, `stream`, `text`.

    Token ids travel only to a server that spells every token of our vocabulary as we do. Whether a tier works is seen
    at the start, by a request whose answer another tier confirms. A tier that fails later is left for the next one,
    in the middle of an answer if need be, and tried again after `CLIMB_AFTER_S`.
    """

    def __init__(
        self, wire: Wire, tokens: TokenText, *, context: int = 1024, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.tokenizer = tokens
        self.artefact = Artefact("model", wire.model, wire.model)
        self._wire = wire
        self._context = context
        self._clock = clock
        self._tiers: tuple[Tier, ...] = ()
        self._fell_at_s: float | None = None
        self._running: dict[str, list[Run]] = {}
        self._step_ms = 0.0
        self._is_closed = False

    @classmethod
    async def open(cls, wire: Wire, tokens: TokenText, *, context: int = 1024) -> Ladder:
        """Find out what the server does. Raises `RetryLaterError` while it is away, `Unable` when it serves in no
        known way.
        """
        ladder = cls(wire, tokens, context=context)
        await ladder.detect()
        return ladder

    @property
    def tier(self) -> str:
        """The name of the tier in use."""
        return self._tiers[0].name

    async def detect(self) -> None:
        """Try the tiers by real requests and keep those that work. Raises `RetryLaterError`, `Unable`."""
        if await self._has_our_tokens():
            stream: Tier = Streamed(self._wire, self.tokenizer)
            try:
                said = (await self._probe(stream, ())).ids
            except Unable:
                pass
            else:
                drafting: tuple[Tier, ...] = (
                    FanOut(self._wire, self.tokenizer),
                    Scoring(self._wire, self.tokenizer),
                )
                self._tiers = (*[tier for tier in drafting if await self._confirms(tier, said)], stream)
                self._fell_at_s = None
                return
        for path in ("chat/completions", "completions"):
            text = Text(self._wire, self.tokenizer, path)
            try:
                await self._probe(text, ())
            except Unable:
                continue
            self._tiers, self._fell_at_s = (text,), None
            return
        raise Unable("the server neither chats nor completes")

    async def generate(
        self,
        rid: str,
        prompt: Sequence[int],
        *,
        draft: Sequence[int] = (),
        max_tokens: int = 160,
        seed: int = 0,
        temperature: float = 0.0,
        said: Callable[[Sequence[int]], None] | None = None,
    ) -> Generated:
        """See `Target`. Raises `RetryLaterError`, and `Unable` when the lowest tier fails too."""
        if self._is_closed:
            raise TargetClosed
        if len(prompt) >= self._context:
            raise ContextOverflow(len(prompt), self._context)
        if self._fell_at_s is not None and self._clock() - self._fell_at_s >= CLIMB_AFTER_S:
            await self.detect()
        known = [each for each in draft if 0 <= each < self.tokenizer.size]
        run = Run(prompt, known, min(max_tokens, self._context - len(prompt)), self._timed(said))
        run.temperature, run.seed, run.salt = temperature, seed, _salted(rid)
        self._running.setdefault(rid, []).append(run)
        try:
            await self._go_on(run)
        finally:
            self._running[rid].remove(run)
            if not self._running[rid]:
                del self._running[rid]
        tokens = len(run.ids) + run.is_finished
        drafted, accepted = run.following.drafted, run.following.accepted
        spent = Speculation(
            steps=max(run.steps, 1), tokens=tokens, drafted=drafted, accepted=accepted, draft_bytes=weight_of(known)
        )
        return Generated(tuple(run.ids), spent, run.is_finished)

    async def late_draft(self, rid: str, draft: Sequence[int]) -> None:
        """See `Target`; nothing where more than one request has this id."""
        runs = self._running.get(rid, [])
        if len(runs) == 1:
            runs[0].following.take([each for each in draft if 0 <= each < self.tokenizer.size], runs[0].ids)

    def state(self) -> TargetState:
        """Mean time between two tellings; requests that have said nothing yet."""
        waiting = sum(not run.ids for runs in self._running.values() for run in runs)
        return TargetState(step_ms=self._step_ms, queue=waiting)

    async def close(self) -> None:
        """Close the connections; requests in flight end."""
        self._is_closed = True
        await self._wire.close()

    async def _go_on(self, run: Run) -> None:
        while True:
            tiers = self._tiers
            try:
                return await tiers[0].go_on(run)
            except (Unable, RetryLaterError, RuntimeError) as error:  # RuntimeError: httpx's, of a closed client
                if self._is_closed:
                    raise TargetClosed from error
                if not isinstance(error, Unable) or len(tiers) == 1:
                    raise
            if self._tiers is tiers:  # or another request has stepped down already
                self._tiers, self._fell_at_s = tiers[1:], self._clock()

    async def _has_our_tokens(self) -> bool:
        """Whether the server spells each of our tokens as we do, and cuts a text into the same ones."""
        ours = list(range(self.tokenizer.FIRST_MARK + self.tokenizer.MOST_PASSAGES, self.tokenizer.size))
        try:
            text = await self._wire.post("../detokenize", Prompt, tokens=ours)
            ids = await self._wire.post("../tokenize", Tokens, prompt=PROBE, add_special_tokens=False)
        except Unable:
            return False
        return text.prompt == self.tokenizer.decode(ours) and ids.tokens == self.tokenizer.encode(PROBE)

    async def _probe(self, tier: Tier, draft: Sequence[int]) -> Run:
        prompt = answer_prompt(self.tokenizer, "When does it open?", (PROBE,), 240).ids
        run = Run(prompt, draft, PROBE_TOKENS, None)
        run.salt = _salted("probe.")
        await tier.go_on(run)
        return run

    async def _confirms(self, tier: Tier, said: Sequence[int]) -> bool:
        """Whether the tier says what the stream said, from a draft that is right and then wrong."""
        wrong = (said[-1] + 1) % self.tokenizer.size if said else self.tokenizer.NONE
        try:
            run = await self._probe(tier, [*said[:-1], wrong, *said])
        except Unable:
            return False
        return run.ids == said and run.following.drafted > 0

    def _timed(self, said: Callable[[Sequence[int]], None] | None) -> Callable[[Sequence[int]], None]:
        before = 0.0

        def timed(new: Sequence[int]) -> None:
            nonlocal before
            now = self._clock()
            if before:
                self._step_ms += ((now - before) * 1e3 - self._step_ms) * (STEADY if self._step_ms else 1.0)
            before = now
            if said is not None:
                said(new)

        return timed


def _salted(rid: str) -> dict[str, str]:
    salt = salt_of(rid)
    return {"cache_salt": salt} if salt else {}


async def climb(settings: OpenAICompatibleSettings, tokens: TokenText) -> Ladder:
    """The server that the settings name, on the best tier that it is found to speak. Raises `RetryLaterError`,
    `Unable`.
    """
    key = os.environ.get(settings.api_key_env, "")
    wire = Wire(settings.base_url, settings.model, key, settings.timeout_s)
    try:
        return await Ladder.open(wire, tokens)
    except BaseException:
        await wire.close()
        raise
