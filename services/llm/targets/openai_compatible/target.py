"""A `Target` on any OpenAI-compatible server: by the best way that it is seen to support, one lower when that fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from tidegate.brokers.egress import NOTHING_LEAVES, EgressGate
from tidegate.schemas import Artefact, RetryLaterError, Speculation
from tidegate.services.llm.decoding.speculative import Generated
from tidegate.services.llm.errors import ContextOverflowError, TargetClosedError
from tidegate.services.llm.targets.base import GenerationRequest, OnTokens, StepTimes, TargetState, encoded_size
from tidegate.services.llm.targets.openai_compatible.capabilities import (
    Capability,
    FanOutCapability,
    PromptLogprobsCapability,
    RemoteRun,
    TextStreamCapability,
    TokenStreamCapability,
)
from tidegate.services.llm.targets.openai_compatible.client import (
    CapabilityError,
    CompletionsClient,
    DetokenizeResponse,
    TokenizeResponse,
)
from tidegate.services.llm.targets.openai_compatible.settings import OpenAICompatibleSettings
from tidegate.services.llm.text.prompts import answer_prompt
from tidegate.services.llm.text.tokenizer import TokenText

PROBE = "Straße 12, ab 09:30 Uhr: l’agence ferme à 18 h; ¿cuánto cuesta? — 3.50 €"
PROBE_TOKENS = 6
PROBE_AGAIN_S = 60.0


class OpenAICompatibleTarget:
    """Capabilities, best first: `fan_out`, `prompt_logprobs`, `stream`, `text`.

    Token ids travel only to a server that spells every token of our vocabulary as we do. Whether it has a capability is
    seen at the start, by a request whose answer another capability confirms. One that fails later is left for the next,
    in the middle of an answer if need be, and tried again after `PROBE_AGAIN_S`.
    """

    def __init__(
        self,
        client: CompletionsClient,
        tokens: TokenText,
        *,
        context: int = 1024,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.tokenizer = tokens
        self.artefact = Artefact("model", client.model, client.model)
        self._client = client
        self._context = context
        self._clock = clock
        self._capabilities: tuple[Capability, ...] = ()
        self._fell_at_s: float | None = None
        self._running: set[RemoteRun] = set()
        self._steps = StepTimes()
        self._is_closed = False

    @classmethod
    async def open(cls, client: CompletionsClient, tokens: TokenText, *, context: int = 1024) -> OpenAICompatibleTarget:
        """Find out what the server does. Raises what `negotiate` raises."""
        target = cls(client, tokens, context=context)
        await target.negotiate()
        return target

    @property
    def capability(self) -> str:
        """The name of the capability in use."""
        return self._capabilities[0].name

    @property
    def text_path(self) -> str:
        """Where the server is asked in words, as one whose model is not ours is: `chat/completions` or `completions`.
        Empty where it takes token ids."""
        best = self._capabilities[0]
        return best.path if isinstance(best, TextStreamCapability) else ""

    async def negotiate(self) -> None:
        """Try the capabilities by real requests, keep those that work. Raises `RetryLaterError`, `CapabilityError`."""
        self._capabilities = await self._token_capabilities() or await self._text_capabilities()
        self._fell_at_s = None

    async def _token_capabilities(self) -> tuple[Capability, ...]:
        """Those that are sent token ids; none where the server's are not ours, or where it streams none."""
        if not await self._has_our_tokens():
            return ()
        stream = TokenStreamCapability(self._client, self.tokenizer)
        try:
            ids = (await self._probe(stream, ())).ids
        except CapabilityError:
            return ()
        drafting = (
            FanOutCapability(self._client, self.tokenizer),
            PromptLogprobsCapability(self._client, self.tokenizer),
        )
        return (*[each for each in drafting if await self._confirms(each, ids)], stream)

    async def _text_capabilities(self) -> tuple[Capability, ...]:
        for path in ("chat/completions", "completions"):
            text = TextStreamCapability(self._client, self.tokenizer, path)
            with suppress(CapabilityError):
                await self._probe(text, ())
                return (text,)
        raise CapabilityError("the server neither chats nor completes")

    async def generate(self, request: GenerationRequest, on_tokens: OnTokens | None = None) -> Generated:
        """See `Target`. Raises `RetryLaterError`, and `CapabilityError` when the last capability fails too."""
        if self._is_closed:
            raise TargetClosedError
        if len(request.prompt) >= self._context:
            raise ContextOverflowError(len(request.prompt), self._context)
        if self._fell_at_s is not None and self._clock() - self._fell_at_s >= PROBE_AGAIN_S:
            await self.negotiate()
        run = RemoteRun(request, self.tokenizer, self._steps.timed(on_tokens))
        run.most = min(run.most, self._context - len(run.prompt))
        self._running.add(run)
        try:
            await self._go_on(run)
        finally:
            self._running.discard(run)
        spent = Speculation(
            steps=max(run.alignment.steps, 1),
            tokens=len(run.ids) + run.is_finished,
            drafted=run.alignment.drafted,
            accepted=run.alignment.accepted,
            draft_bytes=encoded_size(run.draft),
        )
        return Generated(tuple(run.ids), spent, run.is_finished)

    def state(self) -> TargetState:
        """Mean time between two pieces; requests that have no token yet."""
        return TargetState(step_ms=self._steps.mean_ms, queue=sum(not run.ids for run in self._running))

    async def close(self) -> None:
        """Close the connections; requests in flight end."""
        self._is_closed = True
        await self._client.close()

    async def _go_on(self, run: RemoteRun) -> None:
        while True:
            known = self._capabilities
            try:
                return await known[0].go_on(run)
            except (CapabilityError, RetryLaterError, RuntimeError) as error:  # the last: httpx's, once it is closed
                if self._is_closed:
                    raise TargetClosedError from error
                if not isinstance(error, CapabilityError) or len(known) == 1:
                    raise
            if self._capabilities is known:  # or another request has stepped down already
                self._capabilities, self._fell_at_s = known[1:], self._clock()

    async def _has_our_tokens(self) -> bool:
        """Whether the server spells each of our tokens as we do, and cuts a text into the same ones."""
        ours = list(range(self.tokenizer.FIRST_MARK + self.tokenizer.MOST_PASSAGES, self.tokenizer.size))
        try:
            text = await self._client.post("../detokenize", DetokenizeResponse, tokens=ours)
            ids = await self._client.post("../tokenize", TokenizeResponse, prompt=PROBE, add_special_tokens=False)
        except CapabilityError:
            return False
        return text.prompt == self.tokenizer.decode(ours) and ids.tokens == self.tokenizer.encode(PROBE)

    async def _probe(self, capability: Capability, draft: Sequence[int]) -> RemoteRun:
        prompt = answer_prompt(self.tokenizer, "When does it open?", (PROBE,), 240).ids
        request = GenerationRequest(rid="probe.", prompt=prompt, draft=draft, max_tokens=PROBE_TOKENS)
        run = RemoteRun(request, self.tokenizer)
        await capability.go_on(run)
        return run

    async def _confirms(self, capability: Capability, ids: Sequence[int]) -> bool:
        """Whether it generates what the stream did, from a draft that is right and then wrong."""
        wrong = (ids[-1] + 1) % self.tokenizer.size if ids else self.tokenizer.NONE
        try:
            run = await self._probe(capability, [*ids[:-1], wrong, *ids])
        except CapabilityError:
            return False
        return run.ids == ids and run.alignment.drafted > 0


async def open_openai_compatible(
    settings: OpenAICompatibleSettings, tokens: TokenText, gate: EgressGate = NOTHING_LEAVES
) -> OpenAICompatibleTarget:
    """The server that the settings name. Raises `RetryLaterError`, `CapabilityError`."""
    client = CompletionsClient(settings, os.environ.get(settings.api_key_env, ""), gate=gate)
    try:
        return await OpenAICompatibleTarget.open(client, tokens)
    except BaseException:
        await client.close()
        raise
