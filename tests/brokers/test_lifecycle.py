"""One process from start to end: ready when all is open, drained on the first signal, dead on the second."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from brokers.base import House, Unreachable
from brokers.lifecycle import BadStage, ready_file, serve
from brokers.memory import MemoryHouse
from brokers.settings import Settings
from brokers.stage import Handler, Retry, Stage
from brokers.telemetry import Telemetry
from schemas import Asked, Message, Question, Screened

pytestmark = pytest.mark.anyio

HERE = Path(__file__).parent
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


SERVED = """
import asyncio, sys
from contextlib import asynccontextmanager
from brokers.lifecycle import serve, start
from brokers.memory import MemoryHouse
from brokers.settings import Settings

@asynccontextmanager
async def house(settings):
    yield MemoryHouse(settings.site)
    if "stubborn" in sys.argv:
        await asyncio.Event().wait()

parent = int(sys.argv[2]) if sys.argv[2].isdigit() else None
start(serve([], Settings(state_dir=sys.argv[1]), open_house=house, name="all", parent=parent))
"""
PARENT = f"""
import os, subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {SERVED!r}, sys.argv[1], str(os.getpid())])
print(child.pid, flush=True)
sys.stdin.read()
os._exit(1)
"""


@contextlib.contextmanager
def a_process(code: str, *args: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", code, *args],
        cwd=HERE.parents[1],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 15
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_first_signal_drains_and_ends_well(tmp_path: Path, number: signal.Signals) -> None:
    with a_process(SERVED, str(tmp_path), "free") as process:
        wait_for(ready_file(Settings(state_dir=str(tmp_path)), "all").exists)
        process.send_signal(number)
        _, errors = process.communicate(timeout=10)
    assert process.returncode == 0
    assert [json.loads(line)["action"] for line in errors.splitlines()] == ["ready", "draining", "closed"]
    assert not ready_file(Settings(state_dir=str(tmp_path)), "all").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_second_signal_kills(tmp_path: Path, number: signal.Signals) -> None:
    ready = ready_file(Settings(state_dir=str(tmp_path)), "all")
    with a_process(SERVED, str(tmp_path), "stubborn") as process:
        wait_for(ready.exists)
        process.send_signal(number)
        wait_for(lambda: not ready.exists())
        assert process.poll() is None
        process.send_signal(number)
        process.communicate(timeout=10)
    assert process.returncode == -number


def test_a_process_does_not_outlive_the_parent_that_asked_for_it(tmp_path: Path) -> None:
    ready = ready_file(Settings(state_dir=str(tmp_path)), "all")
    with a_process(PARENT, str(tmp_path)) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        wait_for(ready.exists)
        parent.kill()
        wait_for(lambda: not is_alive(child))
    assert not ready.exists()


def test_a_process_whose_parent_is_gone_already_ends_at_once(tmp_path: Path) -> None:
    with a_process(SERVED, str(tmp_path), "999999999") as process:
        process.communicate(timeout=10)
    assert process.returncode == 0


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"
