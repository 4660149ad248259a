"""The race's client keeps to the grammar of streams, bars hold what ratios cannot."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.bench import run as bench
from loadtests.bench.measure import Bar, Entry, Measurement, Sampled, Target, held, interleaved, measure, quantile
from loadtests.bench.race_client import Contradiction, Received, Refusal, events, receive
from loadtests.link.link import HOST
from tidegate.schemas import Asked, Cursor, Published, Receipt, encode_json
from tidegate.services.streaming.events import StreamStep, pending_steps, render_event
from tidegate.services.streaming.log import AnswerLog

pytestmark = pytest.mark.anyio

RECEIPT = Receipt(site="site1", route="edge", plan=None, lineage=(), citations=(), decisions=())


def published(text: str) -> Published:
    return Published(
        rid="r1",
        tenant="kiosk",
        site="site1",
        asked_at_ms=1,
        deadline_at_ms=2,
        outcome="answered",
        text=text,
        confidence=0.9,
        receipt=RECEIPT,
    )


def delta(state: str, offset: int, text: str = "", epoch: int = 0) -> dict[str, Any]:
    return {"event": "delta", "state": state, "offset": offset, "text": text, "epoch": epoch}


# --- what a client shows


def test_a_client_tells_shown_from_committed_text_and_counts_what_was_taken_back() -> None:
    received = Received()
    received.take(delta("provisional", 0, "Ten to four."), 20.0)
    received.take(delta("committed", 0, "Ten "), 90.0)
    received.take(delta("retracted", 4, epoch=1), 120.0)
    received.take(delta("committed", 4, "to five.", epoch=1), 121.0)
    received.end(published("Ten to five."), 130.0)

    assert (received.shown_ms, received.committed_ms, received.final_ms) == (20.0, 90.0, 130.0)
    assert (received.text, received.retractions) == ("Ten to five.", 1)
    assert received.is_answered


def test_after_a_retraction_a_commit_ends_what_is_shown_and_before_it_does_not() -> None:
    received = Received()
    received.take(delta("provisional", 0, "Ten to four."), 1.0)
    received.take(delta("committed", 0, "Ten"), 2.0)
    assert received.text == "Ten to four."
    received.take(delta("retracted", 7, epoch=1), 3.0)
    received.take(delta("committed", 3, " to", epoch=1), 4.0)
    assert received.text == "Ten to"


WRONG = {
    "a gap": [delta("provisional", 3, "x")],
    "a gap between commits": [delta("committed", 0, "ab"), delta("committed", 1, "b")],
    "another text is committed": [delta("provisional", 0, "ten"), delta("committed", 0, "two")],
    "what stands is taken back": [delta("committed", 0, "ten"), delta("retracted", 2, epoch=1)],
}


@pytest.mark.parametrize("events", WRONG.values(), ids=WRONG)
def test_a_stream_that_contradicts_itself_is_no_measurement(events: list[dict[str, Any]]) -> None:
    received = Received()
    *before, last = events
    for event in before:
        received.take(event, 1.0)
    with pytest.raises(Contradiction):
        received.take(last, 2.0)


def test_a_stream_that_ends_with_another_text_than_it_showed_is_no_measurement() -> None:
    received = Received()
    received.take(delta("committed", 0, "ten"), 1.0)
    with pytest.raises(Contradiction, match=r"'ten'.*'eleven'"):
        received.end(published("eleven"), 2.0)


@given(
    draft=st.text("ab ", max_size=12),
    answer=st.text("ab ", min_size=1, max_size=12),
    cuts=st.lists(st.integers(0, 12), max_size=4),
)
def test_a_client_ends_with_the_answer_whatever_the_products_own_log_shows_it(
    draft: str, answer: str, cuts: list[int]
) -> None:
    log, received, cursor = AnswerLog("r1", "kiosk"), Received(), Cursor()
    for line in log.show_provisional(draft):
        log = log.with_line(line)
    for step in pending_steps(log, cursor):
        cursor = taken(received, log, step)
    for end in [*sorted(cuts), None]:
        for line in log.close(answer) if end is None else log.commit(answer[:end]):
            log = log.with_line(line)
        for step in pending_steps(log, cursor):
            cursor = taken(received, log, step)
    received.end(published(answer), 2.0)
    assert received.retractions <= 1


def taken(received: Received, log: AnswerLog, step: StreamStep) -> Cursor:
    """The client takes in the event of one step, as it is sent."""
    received.take(json.loads(msgspec.json.encode(render_event(step, log.text, lambda token: token))), 1.0)
    return step.cursor


# --- how it reads a stream


async def lines_of(text: str) -> AsyncIterator[str]:
    for line in text.splitlines():
        yield line


async def test_events_are_read_by_name_or_by_what_they_say_they_are() -> None:
    text = (
        'retry: 1000\n\n: waiting\n\nid: 0.2.0\nevent: delta\ndata: {"state":"provisional",\ndata: "text":"ab"}\n\n'
        'data: {"event":"end"}\n\ndata: cut off'
    )
    found = [event async for event in events(lines_of(text))]
    assert found == [("delta", {"state": "provisional", "text": "ab"}), ("end", {"event": "end"})]


@dataclass
class ScriptedServer:
    """A server that speaks the grammar over a real socket, with pauses in it."""

    events: list[tuple[float, str, dict[str, Any]]]
    status: int = 200
    body: bytes = b""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        self.body = await reader.readexactly(length)
        writer.write(b"HTTP/1.1 %d X\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" % self.status)
        for wait_s, name, data in self.events:
            await writer.drain()
            await asyncio.sleep(wait_s)
            writer.write(f"event: {name}\ndata: {json.dumps(data)}\n\n".encode())
        await writer.drain()
        writer.close()


async def receive_from(server: ScriptedServer) -> Received:
    listening = await asyncio.start_server(server.serve, HOST, 0)
    async with listening, httpx.AsyncClient(base_url=f"http://{HOST}:{listening.sockets[0].getsockname()[1]}") as http:
        return await receive(http, Asked(tenant="kiosk", text="When?", can_retract=True))


async def test_times_are_of_the_first_text_the_first_that_stands_and_the_end() -> None:
    server = ScriptedServer(
        [
            (0.05, "delta", delta("provisional", 0, "At ten.")),
            (0.05, "delta", delta("committed", 0, "At ten.")),
            (0.05, "end", {"published": json.loads(encode_json(published("At ten.")))}),
        ]
    )
    received = await receive_from(server)
    assert received.shown_ms is not None
    assert received.committed_ms is not None
    assert received.shown_ms >= 50
    assert received.committed_ms >= 100
    assert received.final_ms >= 150
    assert received.shown_ms < received.committed_ms < received.final_ms
    asked = json.loads(server.body)
    assert asked["can_retract"] is True
    assert asked["type"] == "asked"


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (ScriptedServer([], status=429), "429"),
        (ScriptedServer([(0.0, "error", {"code": "late", "reason": "nobody answered"})]), "late: nobody answered"),
        (ScriptedServer([(0.0, "delta", delta("committed", 0, "At"))]), "broke off"),
    ],
)
async def test_a_stream_without_an_answer_says_why(server: ScriptedServer, why: str) -> None:
    with pytest.raises(Refusal, match=why):
        await receive_from(server)


# --- bars


@pytest.mark.parametrize(("share", "value"), [(0.0, 1.0), (0.5, 10.0), (0.95, 19.0), (0.96, 20.0), (1.0, 20.0)])
def test_a_quantile_is_a_sample_that_was_measured(share: float, value: float) -> None:
    assert quantile([float(number) for number in range(20, 0, -1)], share) == value


@given(values=st.lists(st.floats(0, 1e6), min_size=1), share=st.floats(0.0, 1.0))
def test_at_least_the_share_is_not_above_the_quantile(values: list[float], share: float) -> None:
    found = quantile(values, share)
    assert found is not None
    assert sum(value <= found for value in values) >= math.floor(share * len(values))
    assert sum(value < found for value in values) <= max(0, math.ceil(share * len(values)) - 1)


SAMPLES: dict[Any, dict[str, list[float]]] = {"ours": {"x": [1.0, 2.0, 30.0]}, "peer": {"x": [10.0, 20.0, 30.0]}}


@pytest.mark.parametrize(
    ("bar", "value", "holds"),
    [
        (Bar(samples="x", quantile=0.5, target=Target("≤", 2.0)), 2.0, True),
        (Bar(samples="x", quantile=1.0, target=Target("≤", 29.0)), 30.0, False),
        (Bar(samples="x", quantile=0.5, of="ratio", target=Target("≤", 0.1)), 0.1, True),
        (Bar(samples="x", quantile=0.0, of="peer"), 10.0, None),
        (Bar(samples="y", quantile=0.5, target=Target("≤", 2.0)), None, False),
        (Bar(samples="y", quantile=0.5, of="ratio"), None, None),
    ],
)
def test_a_bar_is_held_to_its_samples_and_nothing_is_no_success(bar: Bar, value: float | None, holds: bool) -> None:
    found = held(bar, SAMPLES)
    assert (found.value, found.holds) == (value, holds)


@pytest.mark.parametrize(("is_warm", "first"), [(False, 3.0), (True, 1.0)])
async def test_sides_that_are_warm_have_their_first_block_counted(is_warm: bool, first: float) -> None:
    blocks_run = 0.0

    async def block() -> float:
        nonlocal blocks_run
        blocks_run += 1.0
        return blocks_run

    measured = [each.value async for each in interleaved(2, block, block, is_warm=is_warm)]
    assert measured == [first, first + 1.0, first + 2.0, first + 3.0]


async def blocks(repeats: int) -> AsyncIterator[Measurement]:
    async def ours() -> Sampled:
        return Sampled(1.0, {"x": (1.0, 99.0)})

    async def peer() -> float:
        return 2.0

    async for block in interleaved(repeats, ours, peer):
        yield block


def entry_with(*bars: Bar) -> Entry:
    return Entry(name="x", unit="ms", peer_name="p", target=Target("≤", 1.0), blocks=blocks, bars=bars)


async def test_an_entry_holds_only_if_its_bars_do_and_samples_of_all_blocks_are_pooled() -> None:
    told_only = Bar(samples="x", quantile=1.0)
    assert (await measure(entry_with(told_only), 5, lambda: None)).result.holds
    result = (
        await measure(entry_with(told_only, Bar(samples="x", quantile=1.0, target=Target("≤", 98.0))), 5, print)
    ).result
    assert result.ratio == 0.5
    assert not result.holds
    assert [bar.value for bar in result.bars] == [99.0, 99.0]


def test_bars_are_in_the_report_and_in_the_exit_code(tmp_path: Any) -> None:
    bars = (Bar(samples="x", quantile=1.0, target=Target("≤", 98.0)), Bar(samples="x", quantile=0.5))
    assert bench.report([entry_with(*bars)], repeats=5, as_json=False, path=tmp_path / "bench.json") == 1
    (written,) = json.loads((tmp_path / "bench.json").read_text())
    assert written["bars"] == [
        {"name": "x, highest", "value": 99.0, "unit": "ms", "target": "≤ 98.0", "holds": False},
        {"name": "x, p50", "value": 1.0, "unit": "ms"},
    ]


@pytest.mark.parametrize(("bound", "text"), [(1.0, "≤ 1.0"), (0.3, "≤ 0.3"), (1.05, "≤ 1.05")])
def test_a_target_is_written_as_it_is(bound: float, text: str) -> None:
    assert str(Target("≤", bound)) == text
