"""NATS, and what NATS and HTTP share: every request gets one reply, and nobody else's."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from tests.support.gateway_site import Site, ask, asked, entrance, nats_site, site
from tidegate.schemas import Asked, Published, Refused, decode, encode, encode_json
from tidegate.schemas.subjects import ASK, ASKS
from tidegate.services.gateway.ingress import Ingress, IngressLimits
from tidegate.services.gateway.settings import GatewayLimits

pytestmark = pytest.mark.anyio
running = pytest.fixture(nats_site)


@pytest.mark.parametrize("form", [encode, encode_json])
async def test_a_request_is_answered_in_the_form_in_which_it_came(running: Site, form: Any) -> None:
    reply = await running.bus.request(entrance(running, ASK, asked()), form(asked()), timeout_s=5.0)
    published = decode(reply, Published)
    assert reply == form(published)
    assert published.outcome == "answered"
    assert published.receipt.site == "site1"
    assert [line.stage for line in published.timings] == [
        "prefilter", "router", "retriever", "drafter", "policy", "publisher",
    ]  # fmt: skip


BAD = {
    "not utf-8": b'{"tenant":"kiosk","text":"\xff\xfe"}',
    "not utf-8 in MessagePack": b"\x82\xa6tenant\xa5kiosk\xa4text\xa2\xff\xfe",
    "noise": bytes(range(128, 256)),
    "nothing": b"",
    "truncated MessagePack": encode(Asked(tenant="kiosk", text="When do you open?"))[:-3],
    "truncated JSON": b'{"tenant":"kiosk","text":"When',
    "bottomless": b'{"tenant":"kiosk","x":' + b"[" * 100_000,
    "unknown type": b'{"type":"screened","tenant":"kiosk","text":"x"}',
    "unknown workload": b'{"tenant":"kiosk","text":"x","workload":"sing"}',
    "negative budget": b'{"tenant":"kiosk","text":"x","budget_ms":-1}',
    "negative deadline": b'{"tenant":"kiosk","text":"x","deadline_at_ms":-1}',
    "tenant that is a wildcard": b'{"tenant":"*","text":"x"}',
    "rid with a dot": b'{"tenant":"kiosk","text":"x","rid":"a.b"}',
}


@pytest.mark.parametrize("data", BAD.values(), ids=BAD.keys())
async def test_what_cannot_be_read_is_refused_with_a_hint_and_one_log_line(running: Site, data: bytes) -> None:
    with capture_logs() as lines:
        refused = await ask(running, data)
    assert isinstance(refused, Refused)
    assert refused.code == "unreadable"
    assert refused.hint
    assert "Traceback" not in refused.reason
    assert [line["event"] for line in lines] == ["ask_refused"]
    assert running.asked == []


@pytest.mark.parametrize(
    "data",
    [
        b"hello",
        "grüß".encode(),
        b"",
        b" \n",
        b"[1]",
        b"null",
        b'"x"',
        b"\xc1",
        "ß heißt".encode("latin-1"),
        "Þú".encode("latin-1"),
        b"\xdf",
        "€ 5".encode("cp1252"),
        "hé".encode("utf-16"),
    ],
)
async def test_a_refusal_to_what_is_no_message_pack_is_text(running: Site, data: bytes) -> None:
    reply = await running.bus.request(entrance(running, ASK), data, timeout_s=5.0)
    assert msgspec.json.decode(reply)["code"] == "unreadable"


@pytest.mark.parametrize("size", [2, 3, 5, 20])
async def test_a_refusal_to_message_pack_that_is_cut_off_is_message_pack(running: Site, size: int) -> None:
    reply = await running.bus.request(entrance(running, ASK), encode(asked())[:size], timeout_s=5.0)
    assert msgspec.msgpack.decode(reply)["code"] == "unreadable"


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (Asked(tenant="stranger", text="x"), "unknown_tenant"),
        (asked("  \n"), "empty_text"),
        (asked("x" * 8001), "text_too_long"),
        (asked("Restore <EMAIL_0123456789ab> for me"), "forged_token"),
        (asked(schema='{"title":"<IBAN_0123456789ab>"}'), "forged_token"),
        (asked(deadline_at_ms=1), "deadline_past"),
        (asked(workload="extract"), "missing_schema"),
        (asked(workload="extract", schema="[]"), "bad_schema"),
        (asked(workload="extract", schema="{"), "bad_schema"),
    ],
)
async def test_what_may_not_pass_is_refused_and_nothing_is_stored(running: Site, request_: Asked, code: str) -> None:
    with capture_logs() as lines:
        refused = await ask(running, msgspec.structs.replace(request_, rid="r1"))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.rid) == (code, "r1")
    assert refused.hint
    [line] = lines
    assert (line["event"], line["code"], line["transport"]) == ("ask_refused", code, "nats")
    assert request_.text.strip() == "" or request_.text not in str(line)
    assert await running.bus.last(ASKS, f"asks.{request_.tenant}.r1") is None


async def test_what_is_stored_has_neither_the_text_nor_the_asker_in_clear(running: Site) -> None:
    await ask(running, asked("My secret word is xylophone", rid="r1", asker="ada", sealed=b"mine", site="elsewhere"))
    stored = await running.bus.last(ASKS, "asks.kiosk.r1")
    assert stored is not None
    assert b"xylophone" not in stored
    assert b"ada" not in stored
    kept = decode(stored, Asked)
    assert (kept.text, kept.site) == ("", "site1")
    assert kept.asker == running.vault.digest_of_asker("kiosk", "ada", "r1")
    assert kept.sealed != b"mine"


async def test_the_deadline_is_the_sooner_of_the_budget_and_the_clients_own(running: Site) -> None:
    soon = int(time.time() * 1000) + 1500
    first = await ask(running, asked(deadline_at_ms=soon, budget_ms=60_000))
    second = await ask(running, asked(deadline_at_ms=soon + 600_000, budget_ms=1000))
    assert isinstance(first, Published)
    assert isinstance(second, Published)
    assert first.deadline_at_ms == soon
    assert second.deadline_at_ms == second.asked_at_ms + 1000


async def test_the_same_request_again_has_the_same_answer_and_is_processed_once(running: Site) -> None:
    first = await ask(running, asked(rid="r1"))
    again = await ask(running, asked(rid="r1"))
    assert isinstance(first, Published)
    assert first == again
    assert len(running.asked) == 1


@pytest.mark.parametrize("change", [{"asker": "bob"}, {"asker": ""}, {"text": "Another question?"}, {"schema": "{}"}])
async def test_a_request_id_is_refused_to_everybody_but_its_asker_and_question(running: Site, change: Any) -> None:
    await ask(running, asked(rid="r1"))
    refused = await ask(running, msgspec.structs.replace(asked(rid="r1"), **change))
    assert isinstance(refused, Refused)
    assert refused.code == "rid_taken"


async def test_a_request_id_in_flight_is_refused_to_a_stranger_and_shared_with_its_asker(running: Site) -> None:
    first = asyncio.create_task(ask(running, asked("wait here", rid="r1")))
    await running.arrivals.get()
    stranger = await ask(running, asked("wait here", rid="r1", asker="bob"))
    again = asyncio.create_task(ask(running, asked("wait here", rid="r1")))
    await asyncio.sleep(0.02)
    running.may_answer.set()
    assert isinstance(stranger, Refused)
    assert stranger.code == "rid_taken"
    assert await first == await again
    assert len(running.asked) == 1


async def test_two_tenants_may_choose_the_same_request_id_and_never_notice(running: Site) -> None:
    ours = await ask(running, asked("When do you open?", rid="r1"))
    theirs = await ask(running, msgspec.structs.replace(asked("What about you?", rid="r1"), tenant="bank"))
    assert isinstance(ours, Published)
    assert isinstance(theirs, Published)
    assert (ours.tenant, theirs.tenant) == ("kiosk", "bank")
    assert len(running.asked) == 2


async def test_an_answer_that_does_not_come_is_late_and_can_be_fetched_under_the_same_id(running: Site) -> None:
    late = await ask(running, asked("wait here", rid="r1", budget_ms=50))
    assert isinstance(late, Refused)
    assert (late.code, late.rid) == ("late", "r1")
    assert "same request id" in late.hint
    running.may_answer.set()
    assert isinstance(await ask(running, asked("wait here", rid="r1")), Published)
    assert len(running.ingress.pending_replies) == 0


async def test_an_answer_that_was_stored_but_not_heard_is_found_at_the_deadline(running: Site) -> None:
    deaf = Ingress(running.settings, running.bus, running.vault, IngressLimits(grace_s=0.1))
    published = await deaf.submit(asked(rid="r1", budget_ms=100))
    assert isinstance(published, Published)


async def test_a_dead_letter_is_a_refusal_at_once_without_internals_and_again_when_asked_again(running: Site) -> None:
    with capture_logs() as lines:
        dead = await ask(running, asked("die", rid="r1", budget_ms=60_000))
        again = await ask(running, asked("die", rid="r1", budget_ms=60_000))
    assert isinstance(dead, Refused)
    assert (dead.code, dead.rid) == ("dead", "r1")
    assert "kills" not in dead.reason
    assert again == dead
    assert len([line for line in lines if line["event"] == "ask_refused"]) == 2


async def test_another_tenants_dead_letter_under_the_same_id_ends_nobody_elses_wait(running: Site) -> None:
    ours = asyncio.create_task(ask(running, asked("wait here", rid="r1")))
    await running.arrivals.get()
    theirs = await ask(running, msgspec.structs.replace(asked("die", rid="r1"), tenant="bank"))
    running.may_answer.set()
    assert isinstance(theirs, Refused)
    assert theirs.code == "dead"
    assert isinstance(await ours, Published)


async def test_the_number_of_waiting_requests_is_bounded(tmp_path: Path) -> None:
    async with site(tmp_path, limits=GatewayLimits(max_waiting=2)) as running:
        waiting = [asyncio.create_task(ask(running, asked("wait here"))) for _ in range(2)]
        for _ in waiting:
            await running.arrivals.get()
        busy = await ask(running, asked())
        running.may_answer.set()
        assert isinstance(busy, Refused)
        assert busy.code == "busy"
        assert all(isinstance(reply, Published) for reply in await asyncio.gather(*waiting))
        assert isinstance(await ask(running, asked()), Published)


async def test_a_client_that_leaves_no_longer_counts_and_the_request_is_answered_all_the_same(running: Site) -> None:
    leaving = asyncio.create_task(running.ingress.submit(asked("wait here", rid="r1")))
    await running.arrivals.get()
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await asyncio.sleep(0)
    assert len(running.ingress.pending_replies) == 0
    running.may_answer.set()
    assert isinstance(await ask(running, asked("wait here", rid="r1")), Published)
    assert len(running.asked) == 1


async def test_a_gateway_that_closes_gives_out_what_comes_in_time_and_refuses_the_rest(running: Site) -> None:
    running.ingress.settings = msgspec.structs.replace(running.settings, grace_s=0.2)
    in_time = asyncio.create_task(ask(running, asked("wait here")))
    never = asyncio.create_task(ask(running, asked("vanish", budget_ms=60_000, rid="r2")))
    for _ in range(2):
        await running.arrivals.get()
    closing = asyncio.create_task(running.ingress.close())
    await asyncio.sleep(0)
    while_closing = await ask(running, asked(rid="r1"))
    running.may_answer.set()
    await closing
    assert isinstance(await in_time, Published)
    assert isinstance(while_closing, Refused)
    last_word = await never
    assert isinstance(last_word, Refused)
    assert (last_word.code, last_word.rid, while_closing.code) == ("closing", "r2", "closing")
    assert await running.bus.last(ASKS, "asks.kiosk.r1") is None


async def test_a_fault_is_named_in_few_words_however_much_was_sent(running: Site) -> None:
    refused = await ask(running, b'{"tenant":"kiosk","text":"x","workload":"' + b"y" * 100_000 + b'"}')
    assert isinstance(refused, Refused)
    assert len(refused.reason) < 300


async def test_an_error_nobody_foresaw_is_a_refusal_under_an_id_that_the_log_has_too(running: Site) -> None:
    await ask(running, asked("personal data", rid="r1"))
    running.vault.close()
    with capture_logs() as lines:
        refused = await ask(running, asked("personal data", rid="r1"))
    assert isinstance(refused, Refused)
    assert (refused.code, refused.rid) == ("internal", "r1")
    [line] = lines
    assert line["event"] == "ask_failed"
    assert line["error_id"] in refused.reason
    assert "closed" not in str(line) + refused.reason
