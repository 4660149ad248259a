"""One process from start to end: ready when all is open, closed in reverse, failed when a part of it fails."""

from __future__ import annotations

import asyncio
import gc
import io
import json
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from tidegate.brokers.base import Bus, UnreachableError, report
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.process.lifecycle import StageOpenError, WorkerProcess, serve
from tidegate.brokers.process.ready import read_ready_processes, ready_file
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
async def record(name: str) -> AsyncIterator[None]:
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

    async with record("screening"):
        yield handler


@asynccontextmanager
async def open_second(*_: object) -> AsyncIterator[Handler]:
    async def handler(_: Screened) -> list[Message]:
        return []

    async with record("second"):
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
        self.bus = MemoryBus("site1")
        self.stop = asyncio.Event()
        self.log = io.BytesIO()
        self.ready = ready_file(self.settings, "all")

    @asynccontextmanager
    async def open_bus(self, *_: object) -> AsyncIterator[Bus]:
        async with record("bus"):
            yield self.bus

    @asynccontextmanager
    async def gateway(self, *_: object) -> AsyncIterator[None]:
        async with record("gateway"):
            yield

    async def serve(self, *stages: Stage, with_gateway: bool = False) -> None:
        services = [self.gateway] if with_gateway else []
        process = WorkerProcess("all", stages, self.open_bus, services)
        await serve(process, self.settings, Telemetry("site1", output=self.log), self.stop)

    async def until_ready(self) -> None:
        await until(self.ready.exists)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - a file and a process have no event
            await asyncio.sleep(0.005)


async def test_everything_opens_in_order_and_closes_in_reverse(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    running = Running(tmp_path)
    task = asyncio.create_task(
        running.serve(stage("open_screening"), stage("open_second", Screened), with_gateway=True)
    )
    await running.until_ready()
    ready = {"site": "site1", "name": "all", "pid": os.getpid(), "stages": ["screening", "second"]}
    assert json.loads(running.ready.read_text()).items() >= ready.items()
    [found] = read_ready_processes(tmp_path)
    assert (found.name, found.pid, found.stages, found.metrics_port) == ("all", os.getpid(), ("screening", "second"), 0)
    assert running.ready == tmp_path / "site1" / "ready" / "all"
    assert os.stat(tmp_path).st_mode & 0o777 == 0o750, "no other user of the machine reads what it keeps"
    running.stop.set()
    await task
    assert not running.ready.exists()
    assert story == [
        "bus opens",
        "screening opens",
        "second opens",
        "gateway opens",
        "gateway closes",
        "second closes",
        "screening closes",
        "bus closes",
    ]
    actions = [json.loads(line)["action"] for line in running.log.getvalue().splitlines()]
    assert actions == ["open_files", "ready", "draining", "closed"]


async def test_what_a_process_holds_once_it_is_ready_is_left_out_of_collections_until_it_closes(tmp_path: Path) -> None:
    running = Running(tmp_path)
    task = asyncio.create_task(running.serve(stage("open_screening")))
    await running.until_ready()
    assert gc.get_freeze_count() > 0
    running.stop.set()
    await task
    assert gc.get_freeze_count() == 0


async def test_the_ready_file_names_the_port_on_which_metrics_are_served(tmp_path: Path) -> None:
    running = Running(tmp_path)
    telemetry = Telemetry("site1", output=running.log)
    telemetry.metrics_port = 9464
    process = WorkerProcess("all", [], running.open_bus)
    task = asyncio.create_task(serve(process, running.settings, telemetry, running.stop))
    await running.until_ready()
    (tmp_path / "site1" / "ready" / "half").write_text("{")
    [found] = read_ready_processes(tmp_path)
    assert (found.site, found.metrics_host, found.metrics_port) == ("site1", "127.0.0.1", 9464)
    running.stop.set()
    await task
    assert read_ready_processes(tmp_path) == ()


async def test_an_error_that_nobody_waits_for_is_one_line_that_quotes_nobody(tmp_path: Path) -> None:
    running = Running(tmp_path)
    task = asyncio.create_task(running.serve(stage("open_screening")))
    await running.until_ready()
    report(ValueError("my card is 4111 1111 1111 1111"), "a request was not answered")
    running.stop.set()
    await task
    [line] = [line for line in running.log.getvalue().splitlines() if b"unhandled_error" in line]
    logged = json.loads(line)
    assert (logged["what"], logged["error"]) == ("a request was not answered", "ValueError")
    assert b"4111" not in running.log.getvalue()


async def test_what_is_in_flight_at_the_stop_is_finished(tmp_path: Path) -> None:
    running = Running(tmp_path)
    task = asyncio.create_task(running.serve(stage("open_screening")))
    await running.until_ready()
    await running.bus.publish(asked("r1"), id="r1", headers={})
    await until(lambda: "began r1" in story)
    running.stop.set()
    await task
    assert story.index("answered r1") < story.index("screening closes")
    assert len(running.bus.stored("PIPE")) == 1


async def test_a_service_may_still_be_answered_while_it_ends(tmp_path: Path) -> None:
    running = Running(tmp_path)

    @asynccontextmanager
    async def last_request(_: Settings, bus: Bus) -> AsyncIterator[None]:
        yield
        await bus.publish(asked("late"), id="late", headers={})
        await until(lambda: bool(running.bus.stored("PIPE")))
        story.append("last request answered")

    process = WorkerProcess("all", [stage("open_screening")], running.open_bus, [last_request])
    task = asyncio.create_task(serve(process, running.settings, Telemetry("site1", output=running.log), running.stop))
    await running.until_ready()
    running.stop.set()
    await task
    assert "last request answered" in story


async def test_what_cannot_open_ends_the_process_unready_and_closes_what_was_open(tmp_path: Path) -> None:
    running = Running(tmp_path)
    with pytest.raises(LookupError, match="no model"):
        await running.serve(stage("open_screening"), stage("open_broken"), with_gateway=True)
    assert story == ["bus opens", "screening opens", "screening closes", "bus closes"]
    assert not running.ready.exists()


@pytest.mark.parametrize("opens", ["no.such.room:open", f"{__name__}:open_nothing"])
async def test_a_stage_that_cannot_be_found_is_named_with_a_hint(tmp_path: Path, opens: str) -> None:
    with pytest.raises(StageOpenError, match="stage lost") as bad:
        await Running(tmp_path).serve(Stage("lost", (Asked,), (), opens))
    assert bad.value.hint


async def test_a_stage_that_fails_takes_the_process_with_it(tmp_path: Path) -> None:
    class Severed(MemoryBus):
        async def publish(self, *_: object, **__: object) -> bool:
            raise UnreachableError("gone")

        async def dead_letter(self, *_: object) -> None:
            raise UnreachableError("gone")

    running = Running(tmp_path)
    running.bus = Severed("site1")
    await MemoryBus.publish(running.bus, asked("r1"), id="r1", headers={})
    hopeless = Stage("screening", (Asked,), (Screened,), f"{__name__}:open_screening", retry=Retry(attempts=0))
    with pytest.raises(ExceptionGroup) as failed:
        async with asyncio.timeout(10):
            await running.serve(hopeless, with_gateway=True)
    assert failed.value.subgroup(UnreachableError) is not None
    assert story[-1] == "bus closes"
    assert "gateway closes" in story
    assert not running.ready.exists()


async def test_nothing_is_opened_or_ready_before_there_is_what_is_needed(tmp_path: Path) -> None:
    running, there = Running(tmp_path), asyncio.Event()
    running.ready.parent.mkdir(parents=True)
    running.ready.write_text("left by one that was killed")

    async def come(_: Settings) -> None:
        story.append("waits")
        await there.wait()

    process = WorkerProcess("all", [stage("open_screening")], running.open_bus, await_needed=come)
    for _ in range(2):
        telemetry = Telemetry("site1", output=running.log)
        task = asyncio.create_task(serve(process, running.settings, telemetry, running.stop))
        await until(lambda: bool(story))
        await asyncio.sleep(0.05)
        assert story == ["waits"]
        assert not running.ready.exists()
        running.stop.set()  # it may be stopped meanwhile
        await task
        assert story.copy() == ["waits"]
        story.clear()
        running.stop.clear()
    task = asyncio.create_task(serve(process, running.settings, Telemetry("site1", output=running.log), running.stop))
    there.set()
    await running.until_ready()
    running.stop.set()
    await task
    assert story[:3] == ["waits", "bus opens", "screening opens"]


async def test_what_keeps_the_needed_from_coming_ends_the_process(tmp_path: Path) -> None:
    async def fail(_: Settings) -> None:
        raise PermissionError("the state directory is another's")

    running = Running(tmp_path)
    process = WorkerProcess("all", [stage("open_screening")], running.open_bus, await_needed=fail)
    with pytest.raises(PermissionError):
        async with asyncio.timeout(10):
            await serve(process, running.settings, Telemetry("site1", output=running.log), running.stop)
    assert story == []
