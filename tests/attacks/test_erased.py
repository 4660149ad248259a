"""What may not be kept is gone from the server, too: from the stream, and from the disk below it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.hub_intakes import hub_intake
from tests.support.intake_attacks import GOOD, SUBJECT
from tests.support.nats_fleet import STAGES, client_of
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.dead_letters import list_dead_letters
from tidegate.brokers.jetstream.declare import declare_hub
from tidegate.brokers.jetstream.erasing import erase
from tidegate.brokers.jetstream.history import messages
from tidegate.brokers.servers.nats_server import Server
from tidegate.brokers.stage import ScreenedHandler
from tidegate.brokers.worker import settle
from tidegate.schemas import Message, Verified, decode, encode, replace
from tidegate.schemas.subjects import ESCALATIONS, HUB, VERDICTS
from tidegate.services.pipeline import WORKERS

pytestmark = pytest.mark.anyio
STAGE = WORKERS["cloud-verifier"]
ADDRESS = "ada.lovelace@example.org"


def files_with(directory: Path, wanted: bytes) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and wanted in path.read_bytes()]


async def never(_: Message) -> list[Message]:
    raise AssertionError("nobody answers this")


async def test_an_escalation_with_personal_data_leaves_nothing_at_the_hub(tmp_path: Path) -> None:
    asked = replace(GOOD, question=replace(GOOD.question, text=f"Write to {ADDRESS}."))
    async with Server(HUB, tmp_path) as server:
        async with client_of(server) as client:
            await declare_hub(client, ["site1"], STAGES)
        async with JetStreamBus.open(server.nats, HUB) as bus:
            await bus.publisher.publish(SUBJECT, encode(asked), {"Nats-Msg-Id": "e1"})
            assert files_with(tmp_path, ADDRESS.encode())
            async with bus.subscribe(STAGE) as inbox:
                delivery = await inbox.next(wait_s=10.0)
                assert delivery is not None
                await settle(STAGE, ScreenedHandler(hub_intake().read_stored, never), delivery, bus)
            assert await messages(bus.link.client, ESCALATIONS, ">") == []
            [letter] = await list_dead_letters(bus.link.client)
            assert (letter.data, letter.id, letter.subject) == (b"", "", SUBJECT)
            [verdict] = await messages(bus.link.client, VERDICTS, "verdicts.site1.kiosk.r1")
            assert decode(verdict.data, Verified).refusal == "personal_data"
            await erase(bus.link.client, delivery.position)  # as a worker does that was killed before it had ended it
    assert files_with(tmp_path, ADDRESS.encode()) == []
