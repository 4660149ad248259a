"""What writes an answer's text: a target in this process by its chat template, or a server that is not ours.

Promises the text as it comes, and nothing after the request is given up. Next: `grounded_writer`.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Protocol, TypeAlias

import msgspec

from tidegate.schemas import Artefact, Speculation
from tidegate.services.answering.writing_prompts import ChatMessages, as_text, with_written
from tidegate.services.llm.targets.base import GenerationRequest, Target
from tidegate.services.llm.targets.openai_compatible.client import CompletionsClient
from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer
from tidegate.services.llm.text.vocabulary import Vocabulary

MOST_TOKENS = 160
MOST_SERVER_TOKENS = 400
"""A server's model may think before it answers."""
RETRY_TEMPERATURE = 0.7
"""A sentence that failed is drawn once more: at temperature 0 it would be the same one."""
PATH = "chat/completions"
_PARAGRAPH_END = re.compile(r"(?<=\S)\s*\n\s*\n")

OnText: TypeAlias = Callable[[str], bool]
"""Called with all that was written so far, each time more has come; returns whether more is wanted."""


class WritingRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be written: the answer to `messages`, behind `written`, of which each sentence stands already.

    `rid` is `tenant.site.id`; `expected` are the ids that a draft expects; `is_retry`: the last try was refused.
    """

    rid: str
    messages: ChatMessages
    written: str = ""
    expected: Sequence[int] = ()
    is_retry: bool = False

    @property
    def temperature(self) -> float:
        """0 for the model's best, more for another try."""
        return RETRY_TEMPERATURE if self.is_retry else 0.0


class WrittenText(msgspec.Struct, frozen=True):
    """A text as far as it was written, whether the model ended it, and what it took where that is known."""

    text: str
    is_finished: bool
    spent: Speculation | None = None


class ModelWriter(Protocol):
    """Writes texts. `cites`: it is told to name the passage behind each sentence, and to say where none answers."""

    cites: bool

    @property
    def artefact(self) -> Artefact:
        """The model, as far as it is known by now."""

    @property
    def tokens(self) -> Vocabulary | None:
        """Its tokenizer; None where no draft of ids is of use to it."""

    async def write(self, request: WritingRequest, on_text: OnText) -> WrittenText:
        """The text. It stops within a step once no more is wanted, and when it is cancelled."""


class TargetWriter:
    """A target with a chat template. Raises what the target raises."""

    cites = False

    def __init__(self, target: Target) -> None:
        """Raises `TypeError` for a target without a chat template."""
        if not isinstance(target.tokenizer, ChatTokenizer):
            raise TypeError("a writer needs a model with a chat template")
        self.tokens: ChatTokenizer = target.tokenizer
        self._target = target

    @property
    def artefact(self) -> Artefact:
        """The target."""
        return self._target.artefact

    async def write(self, request: WritingRequest, on_text: OnText) -> WrittenText:
        """See `ModelWriter`. Raises `ContextOverflowError`, `TargetClosedError`."""
        prompt = self.tokens.encode_chat(request.messages)
        behind = self.tokens.encode(request.written) if request.written else ()
        writing = _TargetText(self.tokens, on_text)
        asked = GenerationRequest(
            rid=request.rid,
            prompt=(*prompt, *behind),
            draft=request.expected,
            max_tokens=MOST_TOKENS,
            seed=int(request.is_retry),
            temperature=request.temperature,
        )
        generating = asyncio.create_task(self._target.generate(asked, writing.push))
        writing.on_end = generating.cancel
        try:
            generated = await generating
        except asyncio.CancelledError:
            asking = asyncio.current_task()
            if not writing.is_ended or (asking is not None and asking.cancelling()):
                generating.cancel()
                raise
            return WrittenText(writing.text, False, Speculation(steps=writing.steps, tokens=len(writing.ids)))
        return WrittenText(writing.text, generated.is_finished, generated.speculation)


class _TargetText:
    """What a target generates in one go, until no more is wanted."""

    def __init__(self, tokens: ChatTokenizer, on_text: OnText) -> None:
        self.ids: list[int] = []
        self.steps = 0
        self.is_ended = False
        self.on_end: Callable[[], object] = lambda: None
        self._tokens = tokens
        self._on_text = on_text

    @property
    def text(self) -> str:
        return self._tokens.decode(self.ids)

    def push(self, new: Sequence[int]) -> None:
        if self.is_ended:
            return
        self.ids += new
        self.steps += 1
        if not self._on_text(self.text):
            self.is_ended = True
            self.on_end()


class ServerWriter:
    """A server that speaks the OpenAI API: its chat, or where it has none the completion of a text, of which the first
    paragraph is the answer. Raises `RetryLaterError` while it cannot be reached, `CapabilityError` when it refuses the
    request."""

    cites = True
    tokens = None

    def __init__(self, client: CompletionsClient, path: Callable[[], str] = lambda: PATH) -> None:
        """`path` says where it is asked: `chat/completions` or `completions`."""
        self._client = client
        self._path = path
        self._version = client.model

    @property
    def artefact(self) -> Artefact:
        """The model that was asked for, in the version that the server says it is."""
        return Artefact("model", self._client.model, self._version)

    async def write(self, request: WritingRequest, on_text: OnText) -> WrittenText:
        """See `ModelWriter`. A model that has thought until nothing was left is asked once more, without a limit."""
        path = self._path()
        written = await self._stream(path, request, on_text)
        if not (written.text or written.is_finished) and self._client.lift_limit(path):
            written = await self._stream(path, request, on_text)
        return written

    async def _stream(self, path: str, request: WritingRequest, on_text: OnText) -> WrittenText:
        is_chat = path == PATH
        text = reason = ""
        body: dict[str, object] = {"temperature": request.temperature, "max_tokens": MOST_SERVER_TOKENS}
        if is_chat:
            body["messages"] = with_written(request.messages, request.written)
        else:
            body["prompt"] = as_text(request.messages, request.written)
        async with aclosing(self._client.stream(path, **body)) as pieces:
            async for piece in pieces:
                self._version = piece.model or self._version
                for choice in piece.choices[:1]:
                    reason = choice.finish_reason or reason
                    text += choice.content
                    if not is_chat and (end := _PARAGRAPH_END.search(text)):  # what follows is no answer any more
                        return WrittenText(text[: end.start()], True)
                    if choice.content and not on_text(text):
                        return WrittenText(text, False)
        return WrittenText(text, reason != "length")
