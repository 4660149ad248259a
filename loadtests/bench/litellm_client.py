"""One client of the OpenAI API for every side of the comparison with LiteLLM, under the open loop of `tidegate bench`.

A request goes to the next address of its side; every other one streams. Next: services/evaluation/open_loop.py.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import msgspec

from loadtests.bench.measure import MeasurementError
from tidegate.brokers.process.tasks import end_tasks
from tidegate.schemas import Published, Receipt, Refused
from tidegate.services.evaluation.client import bearer, decode_json, parse_gateway_reply
from tidegate.services.evaluation.load_clients import NotAnsweredError
from tidegate.services.evaluation.open_loop import FAULTS, LoadReply, LoadSample, arrivals, run_open_loop

PATH = "/v1/chat/completions"
MODEL = "tidegate"
BUDGET_MS = 10_000
"""What an asker waits; a request without a reply counts as having taken so long."""
PATIENCE_S = BUDGET_MS / 1000 + 5.0


class GatewaySide(msgspec.Struct, frozen=True):
    """Where one side is asked: its addresses, taken in turn, and the key that it lets in."""

    urls: tuple[str, ...]
    access_key: str


class Offered(msgspec.Struct, frozen=True):
    """What became of an open loop: its samples, how many had no end, and which requests were answered where."""

    samples: tuple[LoadSample, ...]
    unfinished: int
    routes: Counter[str]

    @property
    def sent(self) -> int:
        """How many requests there were."""
        return len(self.samples) + self.unfinished

    @property
    def replied(self) -> int:
        """How many had a reply, be it that there is no answer."""
        return sum(map(has_reply, self.samples))

    @property
    def whole_ms(self) -> tuple[float, ...]:
        """Milliseconds until the replies that were not streamed."""
        return self._times([each.final_s for each in self.samples if each.first_s is None and has_reply(each)])

    @property
    def streamed_ms(self) -> tuple[float, ...]:
        """Milliseconds until streamed replies had ended."""
        return self._times([each.final_s for each in self.samples if each.first_s is not None and has_reply(each)])

    @property
    def first_ms(self) -> tuple[float, ...]:
        """Milliseconds until the first text of streamed replies."""
        return self._times([each.first_s for each in self.samples if each.first_s is not None and has_reply(each)])

    def _times(self, seconds: Sequence[float]) -> tuple[float, ...]:
        """In milliseconds, with those that have no reply: of these nobody knows whether they would have streamed."""
        without = self.sent - self.replied
        return (*(each * 1000 for each in seconds), *[float(BUDGET_MS)] * without)


def has_reply(sample: LoadSample) -> bool:
    """Whether the side replied, be it that there is no answer."""
    return sample.became not in ("refused", "failed")


class ChatClient:
    """Asks one side."""

    def __init__(self, side: GatewaySide, http: httpx.AsyncClient) -> None:
        self._urls = [f"{url}{PATH}" for url in side.urls]
        self._http = http
        self._number = 0

    async def ask(self, text: str, *, streaming: bool) -> LoadReply:
        """The reply, as the gateway puts it beside the answer, or made of the answer. Raises `NotAnsweredError`."""
        url = self._urls[self._number % len(self._urls)]
        self._number += 1
        body = {"model": MODEL, "messages": [{"role": "user", "content": text}], "stream": streaming}
        try:
            return await (self._stream if streaming else self._post)(url, body)
        except httpx.TransportError as error:
            raise NotAnsweredError(str(error) or type(error).__name__) from error

    async def offer(self, texts: Sequence[str], due: Sequence[float]) -> Offered:
        """Ask each text when it is due, in seconds from now; every other one is streamed."""
        samples: list[LoadSample] = []
        routes: Counter[str] = Counter()

        async def ask(number: int) -> LoadReply:
            found = await self.ask(texts[number], streaming=number % 2 == 1)
            routes[route_of(found.reply)] += 1
            return found

        unfinished = await run_open_loop(ask, iter(due), samples.append, PATIENCE_S)
        return Offered(tuple(samples), unfinished, routes)

    async def saturate(self, texts: Iterator[str], in_flight: int, duration_s: float) -> float:
        """Answers a second with so many requests in flight all the time. Raises `MeasurementError` where there is none,
        and what `texts` raises."""
        answered, began_s = 0, time.perf_counter()

        async def ask_on() -> None:
            nonlocal answered
            while time.perf_counter() - began_s < duration_s:
                text = next(texts)
                try:
                    reply = (await self.ask(text, streaming=False)).reply
                except FAULTS:
                    continue  # it is no answer, and that is all that is counted
                answered += isinstance(reply, Published) and reply.outcome == "answered"

        tasks = [asyncio.create_task(ask_on()) for _ in range(in_flight)]
        try:
            await asyncio.gather(*tasks)
        finally:
            await end_tasks(*tasks)
        if not answered:
            raise MeasurementError(f"{self._urls[0]} answers nothing with {in_flight} requests in flight")
        return answered / (time.perf_counter() - began_s)

    async def _post(self, url: str, body: dict[str, Any]) -> LoadReply:
        response = await self._http.post(url, json=body)
        found = decode_json(response.content)
        if response.status_code != httpx.codes.OK:
            return LoadReply(refused(response.status_code, found))
        return LoadReply(published(found, found["choices"][0]["message"]["content"]))

    async def _stream(self, url: str, body: dict[str, Any]) -> LoadReply:
        began_s, first_s, text = time.perf_counter(), None, ""
        last: dict[str, Any] = {}
        async with self._http.stream("POST", url, json=body) as response:
            if response.status_code != httpx.codes.OK:
                return LoadReply(refused(response.status_code, decode_json(await response.aread())))
            async for line in response.aiter_lines():
                if not line.startswith("data: ") or line == "data: [DONE]":
                    continue
                chunk = decode_json(line[6:].encode())
                piece = (chunk.get("choices") or [{}])[0].get("delta", {}).get("content")
                if piece:
                    first_s = first_s or time.perf_counter() - began_s
                    text += piece
                if "tidegate" in chunk or "error" in chunk:
                    last = chunk
        return LoadReply(published(last, text), first_s or time.perf_counter() - began_s)


def published(body: dict[str, Any], text: str) -> Published | Refused:
    """What the gateway says of its answer; of the peer's, which has nothing beside its text, no more than that.

    Raises `UnreadableError`."""
    if "tidegate" in body or "error" in body:
        return parse_gateway_reply(body)
    receipt = Receipt(site="peer", route="cloud", plan=None, lineage=(), citations=(), decisions=())
    return Published(
        rid="peer",
        tenant="peer",
        site="peer",
        asked_at_ms=1,
        deadline_at_ms=1,
        outcome="answered" if text else "abstained",
        text=text,
        receipt=receipt,
    )


def refused(status: int, body: dict[str, Any]) -> Refused:
    """A reply that is none, by its code or status."""
    fault = body.get("error") or {}
    return Refused(code=str(fault.get("code") or status), reason=str(fault.get("message"))[:200])


def route_of(reply: Published | Refused) -> str:
    """Where a request was answered, or what became of it instead."""
    if isinstance(reply, Refused):
        return f"refused: {reply.code}"
    return reply.receipt.route if reply.outcome == "answered" else f"{reply.outcome}: {reply.reason}"


def due_times(rate: float, duration_s: float, seed: str) -> list[float]:
    """When requests are due, the same for every side that has the seed."""
    return list(arrivals(rate, duration_s, random.Random(seed)))


@asynccontextmanager
async def open_chat(side: GatewaySide) -> AsyncIterator[ChatClient]:
    """A client with as many connections as there are requests under way."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    headers = {**bearer(side.access_key), "X-Tidegate-Budget-Ms": str(BUDGET_MS)}
    async with httpx.AsyncClient(headers=headers, limits=limits, timeout=PATIENCE_S, trust_env=False) as http:
        yield ChatClient(side, http)
