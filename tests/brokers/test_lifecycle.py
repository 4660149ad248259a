"""One process from start to end: ready when all is open, closed in reverse, failed when a part of it fails."""

from __future__ import annotations

import asyncio
import io
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from tidegate.brokers.base import House, Unreachable, report
from tidegate.brokers.memory.bus import MemoryHouse
from tidegate.brokers.process.lifecycle import BadStage, ready_file, serve
from tidegate.brokers.process.telemetry import Telemetry
from tidegate.brokers.stage import Handler, Retry, Stage
from tidegate.schemas import Asked, Message, Question, Screened
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio

QUESTION = Question(text="?", language="en", intent="cards", intent_confidence=1.0)
story: list[str] = []


@pytest.fixture(params=[asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, object]]:
    return ("asyncio", {"loop_factory": request.param})


@pytest.fixture(autouse=True)
def _fresh_story() -> None:
    story.clear()


@asynccontextmanager
async def told(name: str) -> AsyncIterator[None]:
    story.append(f"{name} opens")
    try:
        yield
    finally:
        story.append(f"{name} closes")


@asynccontextmanager
async def open_screening(*_: object) -> AsyncIterator[Handler]:
    async def handler(asked: Asked) -> list[Message]:
        story.append(f"began {asked.rid}")
        await asyncio.sleep(0.05)
        story.append(f"answered {asked.rid}")
        return [
            Screened(rid=asked.rid, tenant="kiosk", site="site1", asked_at_ms=0, deadline_at_ms=0, question=QUESTION)
        ]

    async with told("screening"):
        yield handler


@asynccontextmanager
async def open_second(*_: object) -> AsyncIterator[Handler]:
    async def handler(_: Screened) -> list[Message]:
        return []

    async with told("second"):
        yield handler


@asynccontextmanager
async def open_broken(*_: object) -> AsyncIterator[Handler]:
    raise LookupError("no model")
    yield


def stage(opens: str, accepts: type[Message] = Asked) -> Stage:
    return Stage(opens.removeprefix("open_"), (accepts,), (Screened,), f"{__name__}:{opens}")


def asked(rid: str) -> Asked:
    return Asked(tenant="kiosk", rid=rid, text="?")


class Running:
    """A process's life inside this one."""

    def __init__(self, tmp_path: Path) -> None:
        self.settings = Settings(state_dir=str(tmp_path), grace_s=2.0)
        self.house = MemoryHouse("site1")
        self.stop = asyncio.Event()
        self.log = io.BytesIO()
        self.ready = ready_file(self.settings, "all")

    @asynccontextmanager
    async def open_house(self, *_: object) -> AsyncIterator[House]:
        async with told("house"):
            yield self.house

    @asynccontextmanager
    async def beside(self, *_: object) -> AsyncIterator[None]:
        async with told("gateway"):
            yield

    async def serve(self, *stages: Stage, beside: bool = False, stop: asyncio.Event | None = None) -> None:
        await serve(
            stages,
            self.settings,
            open_house=self.open_house,
            name="all",
            beside=[self.beside] if beside else [],
            telemetry=Telemetry("site1", output=self.log),
            stop=stop or self.stop,
        )

    async def until_ready(self) -> None:
        await until(self.ready.exists)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a file and a process tell nobody
            await asyncio.sleep(0.005)


async def test_everything_opens_in_order_and_closes_in_reverse(tmp_path: Path) -> None:
    running = Running(tmp_path)
    task = asyncio.create_task(running.serve(stage("open_screening"), stage("open_second", Screened), beside=True))
    await running.until_ready()
    assert json.loads(running.ready.read_text()) == {"pid": os.getpid(), "stages": ["screening", "second"]}
    assert running.ready == tmp_path / "site1" / "ready" / "all"
    running.stop.set()
    await task
    assert not running.ready.exists()
    assert story == [
        "house opens",
        "screening opens",
        "second opens",
        "gateway opens",
        "gateway closes",
        "second closes",
        "screening closes",
        "house closes",
    ]
    actions = [json.loads(line)["action"] for line in running.log.getvalue().splitlines()]
    assert actions == ["ready", "draining", "closed"]


async def test_an_error_that_nobody_waits_for_is_one_line_that_quotes_nobody(tmp_path: Path) -> None:
    running = Running(tmp_path)
    task = asyncio.create_task(running.serve(stage("open_screening")))
    await running.until_ready()
    report(ValueError("my card is 4111 1111 1111 1111"), "a request was not answered")
    running.stop.set()
    await task
    [line] = [line for line in running.log.getvalue().splitlines() if b"unhandled_error" in line]
    said = json.loads(line)
    assert (said["what"], said["error"]) == ("a request was not answered", "ValueError")
    assert b"4111" not in running.log.getvalue()


async def test_what_is_in_flight_when_told_to_stop_is_finished(tmp_path: Path) -> None:
    running = Running(tmp_path)
    task = asyncio.create_task(running.serve(stage("open_screening")))
    await running.until_ready()
    await running.house.publish(asked("r1"), id="r1", headers={})
    await until(lambda: "began r1" in story)
    running.stop.set()
    await task
    assert story.index("answered r1") < story.index("screening closes")
    assert len(running.house.stored("PIPE")) == 1


async def test_what_runs_beside_may_still_be_answered_while_it_ends(tmp_path: Path) -> None:
    running = Running(tmp_path)

    @asynccontextmanager
    async def last_wish(_: Settings, house: House) -> AsyncIterator[None]:
        yield
        await house.publish(asked("late"), id="late", headers={})
        await until(lambda: bool(running.house.stored("PIPE")))
        story.append("wish granted")

    stop = asyncio.Event()
    task = asyncio.create_task(
        serve(
            [stage("open_screening")],
            running.settings,
            open_house=running.open_house,
            name="all",
            beside=[last_wish],
            telemetry=Telemetry("site1", output=running.log),
            stop=stop,
        )
    )
    await running.until_ready()
    stop.set()
    await task
    assert "wish granted" in story


async def test_what_cannot_open_ends_the_process_unready_and_closes_what_was_open(tmp_path: Path) -> None:
    running = Running(tmp_path)
    with pytest.raises(LookupError, match="no model"):
        await running.serve(stage("open_screening"), stage("open_broken"), beside=True)
    assert story == ["house opens", "screening opens", "screening closes", "house closes"]
    assert not running.ready.exists()


@pytest.mark.parametrize("opens", ["no.such.room:open", f"{__name__}:open_nothing"])
async def test_a_stage_that_cannot_be_found_is_named_with_a_hint(tmp_path: Path, opens: str) -> None:
    with pytest.raises(BadStage, match="stage lost") as bad:
        await Running(tmp_path).serve(Stage("lost", (Asked,), (), opens))
    assert bad.value.hint


async def test_a_stage_that_fails_takes_the_process_with_it(tmp_path: Path) -> None:
    class Severed(MemoryHouse):
        async def publish(self, *_: object, **__: object) -> bool:
            raise Unreachable("gone")

        async def bury(self, *_: object) -> None:
            raise Unreachable("gone")

    running = Running(tmp_path)
    running.house = Severed("site1")
    await MemoryHouse.publish(running.house, asked("r1"), id="r1", headers={})
    hopeless = Stage("screening", (Asked,), (Screened,), f"{__name__}:open_screening", retry=Retry(attempts=0))
    with pytest.raises(ExceptionGroup) as failed:
        async with asyncio.timeout(10):
            await running.serve(hopeless, beside=True)
    assert failed.value.subgroup(Unreachable) is not None
    assert story[-1] == "house closes"
    assert "gateway closes" in story
    assert not running.ready.exists()
