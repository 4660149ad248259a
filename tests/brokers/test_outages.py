"""What only a server can do to us, and what we make of it."""

from __future__ import annotations

import asyncio
import dataclasses

import pytest

from tests.support.broker_harness import OpenRig, until
from tests.support.scripted_stage import (
    AFTER,
    STAGE,
    Script,
    ask,
    asked,
    holds,
    published,
    texts,
    working,
)
from tidegate.brokers.base import TopologyMissingError, UnreachableError
from tidegate.brokers.jetstream.publisher import NotStoredError
from tidegate.brokers.stage import Retry
from tidegate.brokers.worker import run
from tidegate.schemas import Message, Withheld

pytestmark = pytest.mark.anyio

# The server delivers into a connection that nobody reads until it is replaced, and each delivery is an attempt: with
# three of them, and an ack wait of a second, a busy machine that needs three seconds to notice makes a dead letter.
PATIENT = dataclasses.replace(STAGE, retry=Retry(attempts=1000))


@pytest.fixture(params=[False, True], ids=["asyncio", "uvloop"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, bool]]:
    return "asyncio", {"use_uvloop": request.param}


class TestServer:
    """What only a server can do to us."""

    async def test_a_server_that_is_killed_in_mid_flow_loses_and_doubles_nothing(
        self, open_server_rig: OpenRig
    ) -> None:
        async def answer(fact: Withheld) -> list[Message]:
            return [published(fact.rid, fact.text)]

        async with (
            open_server_rig(STAGE, AFTER) as rig,
            rig.peer() as other,
            working(STAGE, Script(), rig.bus),
            working(AFTER, answer, other),
        ):
            asking = [asyncio.create_task(ask(rig, asked(f"q{n}"))) for n in range(200)]
            await holds(rig, "ANSWERS", 20)
            rig.server.kill()
            await asyncio.sleep(0.1)
            await rig.server.start()
            await asyncio.gather(*asking)
            await holds(rig, "ANSWERS", 200)
            assert await texts(rig, "ANSWERS") == sorted(f"q{n}" for n in range(200))
            assert len(await rig.stored("PIPE")) == 200
            assert not await rig.stored("DEAD")

    async def test_what_is_published_while_the_server_is_down_is_stored_when_it_is_back(
        self, open_server_rig: OpenRig
    ) -> None:
        async with open_server_rig() as rig:
            rig.server.kill()
            publishing = asyncio.create_task(rig.bus.publish(asked("a"), id="a", headers={}))
            await asyncio.sleep(0.2)
            assert not publishing.done()
            await rig.server.start()
            assert await publishing is True
            assert await texts(rig, "ASKS") == ["a"]

    @pytest.mark.parametrize("how", ["closed for good", "deaf"])
    async def test_a_connection_that_nats_py_gave_up_is_mended(self, open_server_rig: OpenRig, how: str) -> None:
        # What the server sent into the dead connection comes again after the ack wait, hence a short one.
        async with open_server_rig(PATIENT, ack_wait_s=1.0) as rig, working(PATIENT, Script(), rig.bus):
            received: list[str] = []

            async def receive(subject: str, _: bytes) -> None:
                received.append(subject)

            await rig.bus.listen("live.answers.>", receive)
            await ask(rig, asked("a"))
            await holds(rig, "PIPE", 1)
            if how == "deaf":
                rig.bus.link.client._reading_task.cancel()  # as after any error inside nats-py's parser
            else:
                await rig.bus.link.client.close()  # as nats-py does itself when a credential expires
            await ask(rig, asked("b"))
            await holds(rig, "PIPE", 2)
            await rig.bus.publish(published("r1"), id="r1", headers={})

            async def all_received() -> bool:
                return received == ["live.answers.kiosk.r1"]

            await until(all_received)

    async def test_a_missing_consumer_ends_the_worker_and_its_error_has_a_hint(self, open_server_rig: OpenRig) -> None:
        async with open_server_rig() as rig:
            with pytest.raises(TopologyMissingError, match="consumer prefilter on stream ASKS") as missing:
                await run(STAGE, Script(), rig.bus, asyncio.Event())
            assert "tidegate topology apply" in missing.value.hint
            await rig.client.jetstream().delete_stream("ASKS")
            with pytest.raises(TopologyMissingError, match="stream ASKS"):
                await run(STAGE, Script(), rig.bus, asyncio.Event())

    async def test_a_consumer_that_is_deleted_under_a_worker_ends_it_loudly(self, open_server_rig: OpenRig) -> None:
        async with open_server_rig(STAGE) as rig:
            job = asyncio.create_task(run(STAGE, Script(), rig.bus, asyncio.Event()))
            await ask(rig, asked("a"))
            await holds(rig, "PIPE", 1)
            await rig.client.jetstream().delete_consumer("ASKS", "prefilter")
            with pytest.raises(ExceptionGroup) as caught:
                await asyncio.wait_for(job, 10)
            assert isinstance(caught.value.exceptions[0], TopologyMissingError)

    async def test_a_refusal_of_a_stream_is_an_error_with_its_reason(self, open_server_rig: OpenRig) -> None:
        async with open_server_rig() as rig:
            jetstream = rig.client.jetstream()
            config = (await jetstream.stream_info("ASKS")).config
            config.max_msg_size = 256
            await jetstream.update_stream(config)
            with pytest.raises(NotStoredError, match="message size exceeds maximum"):
                await rig.bus.publish(asked("a", "long" * 100), id="a", headers={})

    async def test_a_publish_that_no_stream_takes_gives_up_with_an_error(
        self, open_server_rig: OpenRig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tidegate.brokers.jetstream.publisher.GIVE_UP_S", 0.3)
        async with open_server_rig() as rig:
            with pytest.raises(TimeoutError, match="no stream holds this subject"):
                await rig.bus.publisher.publish("elsewhere.kiosk.a", b"", {"Nats-Msg-Id": "a"})

    async def test_a_server_that_is_not_there_is_unreachable(self, open_server_rig: OpenRig) -> None:
        async with open_server_rig() as rig:
            rig.server.kill()

            async def is_down() -> bool:
                return not rig.bus.link.is_up

            await until(is_down)
            with pytest.raises(UnreachableError):
                await rig.bus.request("ask", b"?", timeout_s=60.0)
            with pytest.raises(UnreachableError):
                await rig.bus.last("PIPE", "pipe.kiosk.withheld.a")
            await rig.server.start()

            async def is_back() -> bool:  # nats-py that is closed while it reconnects comes back, and then for ever
                return bool(rig.bus.link.is_up and rig.client.is_connected)

            await until(is_back)
