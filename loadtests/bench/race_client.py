"""A client that reads an answer as it is made: what it showed and when, by its own monotonic clock."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from typing import Any

import httpx
import msgspec

from tidegate.schemas import Asked, Published, encode_json

STREAMS = "/v1/streams"


class Refusal(RuntimeError):
    """The gateway did not take the question, or the stream ended without an answer."""


class Contradiction(RuntimeError):
    """The events of a stream do not make the text that they end with."""


class Received(msgspec.Struct, kw_only=True):
    """One answer as its client saw it; times are milliseconds since the question was sent, None for never.

    `shown_ms` is the first text of any state, `committed_ms` the first that stands, `final_ms` the end of the stream.
    """

    shown_ms: float | None = None
    committed_ms: float | None = None
    final_ms: float = 0.0
    retractions: int = 0
    committed_chars: int = 0
    text: str = ""
    published: Published | None = None

    @property
    def is_answered(self) -> bool:
        """Whether there is an answer, and it was shown."""
        return self.published is not None and self.published.outcome == "answered" and self.shown_ms is not None

    @property
    def mode(self) -> str:
        """The mode of the plan that the answer was made by."""
        plan = self.published.receipt.plan if self.published else None
        return plan.mode if plan else ""

    @property
    def guess(self) -> str:
        """What was shown as provisional, as the receipt says; empty where nothing was."""
        return (self.published.receipt.guess or "") if self.published else ""

    def take(self, event: dict[str, Any], now_ms: float) -> None:
        """Show what a `delta` event says, as `tidegate.services.streaming` tells clients to. Raises `Contradiction`."""
        state, offset, text = event["state"], event.get("offset", 0), event.get("text", "")
        if offset > len(self.text):
            raise Contradiction(f"{state} text from {offset} on, where {len(self.text)} characters are shown")
        if state == "retracted":
            if offset < self.committed_chars:
                raise Contradiction(f"cut at {offset}, where {self.committed_chars} characters stand for ever")
            self.text = self.text[:offset]
            self.retractions += 1
            return
        end = offset + len(text)
        if state == "committed":
            self._commit(offset, text, event.get("epoch", 0))
        else:
            self.text = self.text[:offset] + text + self.text[end:]
        if text and self.shown_ms is None:
            self.shown_ms = now_ms
        if text and state == "committed" and self.committed_ms is None:
            self.committed_ms = now_ms

    def end(self, published: Published, now_ms: float) -> None:
        """The stream is over. Raises `Contradiction` where what is shown is not the answer."""
        self.final_ms = now_ms
        self.published = published
        if published.outcome == "answered" and published.text != self.text:
            raise Contradiction(f"shown are {self.text!r}, and the answer is {published.text!r}")

    def _commit(self, offset: int, text: str, epoch: int) -> None:
        if offset != self.committed_chars:
            raise Contradiction(f"committed from {offset} on, where {self.committed_chars} characters are")
        end = offset + len(text)
        shown = self.text[offset:end]
        if not text.startswith(shown) and not epoch:
            raise Contradiction(f"{text!r} is committed where {shown!r} is shown, and nothing was taken back")
        self.text = self.text[:offset] + text + ("" if epoch else self.text[end:])
        self.committed_chars = end


async def receive(http: httpx.AsyncClient, asked: Asked) -> Received:
    """Ask, and read the stream to its end. Raises `Refusal`, `Contradiction`, and what httpx raises."""
    received = Received()
    headers = {"content-type": "application/json", "accept": "text/event-stream"}
    began_s = time.perf_counter()
    async with http.stream("POST", STREAMS, content=encode_json(asked), headers=headers) as response:
        if response.status_code != httpx.codes.OK:
            raise Refusal(f"{response.status_code}: {(await response.aread()).decode(errors='replace')[:300]}")
        async for name, data in events(response.aiter_lines()):
            now_ms = (time.perf_counter() - began_s) * 1e3
            if name == "delta":
                received.take(data, now_ms)
            elif name == "end":
                received.end(msgspec.convert(data.get("published", data), Published, strict=False), now_ms)
                return received
            elif name == "error":
                raise Refusal(f"{data.get('code')}: {data.get('reason')}")
    raise Refusal("the stream broke off")


async def events(lines: AsyncIterator[str]) -> AsyncIterator[tuple[str, dict[str, Any]]]:
    """The events of a stream: name and data (HTML Living Standard, 9.2.6); comments and events without data go."""
    name, parts = "", list[str]()
    async for line in lines:
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            parts.append(value)
        elif not line:
            if parts:
                data = msgspec.json.decode("\n".join(parts))
                yield name or data.get("event", "message"), data
            name, parts = "", []
