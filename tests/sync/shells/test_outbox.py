"""Edits of a site past the stream: soon after the hub answers, by short questions until then, and not where the stream
brings them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.support.nats_fleet import count
from tests.support.sync_fleet import NOTICES, SyncFleet, eventually, sync_fleet, until
from tests.support.sync_parts import NOW, Hub, make_hub
from tidegate.schemas import decode, encode, replace
from tidegate.schemas.comparison import RangeRequest
from tidegate.schemas.errors import RetryLaterError
from tidegate.schemas.following import MOST_OPERATIONS, FollowRequest, HeadRequest, SendOperations
from tidegate.schemas.replication import RelayReceipt
from tidegate.schemas.subjects import EDITS, HUB, comparison
from tidegate.schemas.sync import SignedOperation
from tidegate.sync.shells import outbox
from tidegate.sync.shells.hub_requests import SHORT_TIMEOUT_S, TIMEOUT_S, timeout_of
from tidegate.sync.shells.site_shell import RECEIPTS_EVERY_S
from tidegate.sync.shells.wire_faults import fault_of

pytestmark = pytest.mark.anyio


class PlayedHub:
    """Answers what a site sends as a hub would that takes nothing from the stream; nothing while it is away."""

    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.is_away = True
        self.sent: list[int] = []
        """How many operations each request had."""

    async def answer(self, subject: str, data: bytes) -> bytes:
        assert subject == comparison("site1")
        request = decode(data, SendOperations, FollowRequest, HeadRequest, RangeRequest)
        if not isinstance(request, SendOperations):
            return encode(fault_of(RetryLaterError("this hub answers what is sent, and nothing else", after_s=0.1)))
        self.sent.append(len(request.operations))
        if self.is_away:
            return encode(fault_of(RetryLaterError("the hub reads its log", after_s=0.1)))
        if not request.operations:
            return encode(
                RelayReceipt(actor=request.actor, outcome="known", mark=self.hub.relay.mark_of(request.actor))
            )
        return encode(await self.hub.relay.take("site1", request.operations, NOW * 2))

    def texts(self) -> list[str]:
        with self.hub.store.reading() as reader:
            return sorted(each.document_id for each in reader.documents("notices"))


async def played_hub(fleet: SyncFleet, path: Path) -> PlayedHub:
    """A hub's place taken by one that only answers: the worker is stopped, its server runs."""
    await fleet.agree({})
    await fleet.stop(HUB)
    played = PlayedHub(make_hub(path / "played", NOTICES))
    await (await fleet.bus(HUB)).respond_by_subject(comparison("*"), played.answer)
    return played


async def test_what_waits_is_sent_once_the_hub_answers_and_nothing_but_short_questions_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outbox, "RESEND_AFTER_S", 0.3)
    monkeypatch.setattr(outbox, "MOST_OPERATIONS", 4)
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        played = await played_hub(fleet, tmp_path)
        written = [f"d{number}" for number in range(10)]
        await fleet.write("site1", dict.fromkeys(written, "text"))
        await until(lambda: len(played.sent) >= 3, lambda: played.sent)
        assert set(played.sent) == {0}
        played.is_away = False
        await until(lambda: played.texts() == written, played.texts)
        assert [each for each in played.sent if each] == [4, 4, 2]


async def test_what_the_stream_brings_is_not_sent_beside_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "RESEND_AFTER_S", 0.3)
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        played = await played_hub(fleet, tmp_path)
        await fleet.write("site1", {"a": "one", "b": "two", "c": "three"})
        bus = await fleet.bus(HUB)

        async def are_there() -> bool:
            return await count(bus.link.client, EDITS) == 3

        await eventually(are_there)
        await until(lambda: bool(played.sent))
        stored = [await bus.link.client.jetstream().get_msg(EDITS, number) for number in (1, 2, 3)]
        brought = [decode(each.data or b"", SignedOperation) for each in stored]
        await played.hub.relay.take("site1", brought, NOW * 2)
        played.is_away = False
        await until(lambda: not fleet.site("site1").tenants["kiosk"].outbox.settle(None))
        assert set(played.sent) == {0}, "the mark said it all"


async def test_what_the_hub_refuses_is_sent_again_no_sooner_than_what_has_no_receipt(tmp_path: Path) -> None:
    async with sync_fleet(tmp_path, ["site1"]) as fleet:
        played = await played_hub(fleet, tmp_path)
        played.hub.store.put_collection(replace(NOTICES, sites_write=False))
        await fleet.write("site1", {"a": "one"})
        played.is_away = False
        faults = fleet.site("site1").faults
        await until(lambda: "may not share" in " ".join(faults.all()), faults.all)
        before = len(played.sent)
        await asyncio.sleep(3 * RECEIPTS_EVERY_S)  # the loop has come round, and `RESEND_AFTER_S` is not over
        assert len(played.sent) == before


def test_a_question_for_the_mark_alone_is_answered_soon_or_asked_again() -> None:
    operation = SignedOperation(payload=b"x", signature=bytes(64))
    few, most = (
        SendOperations(tenant="kiosk", actor="site1@1", operations=(operation,) * number)
        for number in (0, MOST_OPERATIONS)
    )
    assert (timeout_of(few), timeout_of(most)) == (SHORT_TIMEOUT_S, TIMEOUT_S)
