"""The conformance suite of a stream: what every transport promises a client that comes, goes, and comes back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import msgspec

from loadtests.load.dropping import WHOLE, Transport
from loadtests.load.stream_client import Client
from loadtests.load.stream_site import ASKER, NKEY, Script, StreamSite
from tests.support.stream_scripts import ANSWER, CONFIRMED, DRAFT, JSON, PERSONAL, PLAIN, RETRACTED, SCRIPTS
from tidegate.schemas import Asked
from tidegate.services.fleet.access import temporary_key

Case = Callable[[StreamSite, Transport], Awaitable[None]]


def check(script: Script, client: Client) -> None:
    """The client shows the answer, was shown nothing twice, and no more was taken back than may be."""
    assert client.failed is None, client.failed
    assert client.published is not None
    assert client.text == script.seen() == client.published.text
    assert "".join(client.committed) == script.seen()
    assert client.retractions <= 1
    assert script.can_retract or client.states <= {"committed"}


async def finish(transport: Transport, asked: Asked, client: Client, *, asking: bool = False) -> Client:
    """Read to the end from where the client is."""
    async with asyncio.timeout(20):
        await (transport.ask if asking else transport.resume)(asked, client)
    return client


async def receive_live(site: StreamSite, transport: Transport, script: Script) -> Client:
    """Ask, and be there while the answer is made."""
    asked, client = script.asked(), Client()
    receiving = asyncio.create_task(finish(transport, asked, client, asking=True))
    await wait_until_accepted(site, asked)
    await site.run_script(script, asked, pause_s=0.03)
    return await receiving


async def wait_until_accepted(site: StreamSite, asked: Asked) -> None:
    """Return when the request is stored."""
    async with asyncio.timeout(10):
        while await site.bus.last("ASKS", f"asks.{asked.tenant}.{asked.rid}") is None:  # noqa: ASYNC110 a store has no event
            await asyncio.sleep(0.002)


async def answer_unread(site: StreamSite, transport: Transport, script: Script) -> Asked:
    """A request that was asked, left at once, and answered meanwhile."""
    asked = script.asked()
    leaving = asyncio.create_task(transport.ask(asked, Client()))
    await wait_until_accepted(site, asked)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await site.run_script(script, asked)
    return asked


async def every_answer_is_streamed_as_it_is_made(site: StreamSite, transport: Transport) -> None:
    for name, script in SCRIPTS.items():
        client = await receive_live(site, transport, script)
        check(script, client)
        assert client.retractions == (1 if name in ("retracted", "personal", "json taken back") else 0), name


async def a_provisional_word_is_shown_before_it_is_committed(site: StreamSite, transport: Transport) -> None:
    client = await receive_live(site, transport, CONFIRMED)
    assert client.states == {"provisional", "committed"}
    assert client.epoch == 0


async def from_every_cut_the_stream_goes_on_to_the_same_text(site: StreamSite, transport: Transport) -> None:
    """At every byte of the socket, or every message: what a client has then, and what it gets from there."""
    for script in (PERSONAL, JSON):
        asked = await answer_unread(site, transport, script)
        whole = Client()
        used = await transport.resume(asked, whole)
        check(script, whole)
        seen: set[str] = set()
        for budget in cuts(used, len(script.seen())):
            client = Client()
            await transport.resume(asked, client, budget)
            if client.is_done or client.id in seen:
                continue
            seen.add(client.id)
            check(script, await finish(transport, asked, client.resumed()))
        assert len(seen) > 2


def cuts(used: int, chars: int) -> list[int]:
    """Every message; of bytes, those that a few words and their frames are made of, and some of the rest."""
    return list(range(used + 1)) if used < 100 else random.Random(chars).sample(range(used + 1), 24)


async def a_client_that_drops_repeatedly_gets_everything_once(site: StreamSite, transport: Transport) -> None:
    chance = random.Random(11)
    for name in ("retracted", "personal", "json", "committed only"):
        check(SCRIPTS[name], await drop_repeatedly(site, transport, SCRIPTS[name], chance))


async def drop_repeatedly(site: StreamSite, transport: Transport, script: Script, chance: random.Random) -> Client:
    """A client that loses its line while the answer is made, over and over, and comes back."""
    asked, client = script.asked(), Client()
    performing = asyncio.create_task(site.run_script_when_asked(script, asked, chance.random() * 0.01))
    try:
        for drop in range(12):
            budget = chance.randrange(1, 8 if transport.name == "nats" else 1500) if drop < 11 else WHOLE
            async with asyncio.timeout(20):
                await transport.ask(asked, client, budget)
            if client.is_done:
                break
            client = client.resumed()
        await performing
    finally:
        performing.cancel()
    return client


async def a_new_gateway_goes_on_where_the_old_one_stopped(site: StreamSite, transport: Transport) -> None:
    asked, client = RETRACTED.asked(), Client()
    receiving = asyncio.create_task(transport.ask(asked, client))
    await wait_until_accepted(site, asked)
    await site.run_script(RETRACTED, asked, until=2)
    await wait_until_shown(client, DRAFT[:40])
    await site.close_gateway()
    await receiving
    assert client.failed is not None
    assert (client.failed.code, client.failed.is_resumable) == ("closing", True)
    await site.open_gateway()
    await continue_stream(site, same_transport(site, transport), asked, client, RETRACTED)


async def continue_stream(
    site: StreamSite, transport: Transport, asked: Asked, client: Client, script: Script, expected: int = 1
) -> None:
    """The rest of a play, whose first two acts the client was shown, for a client that comes back."""
    receiving = asyncio.create_task(finish(transport, asked, client.resumed()))
    await asyncio.sleep(0.05)
    await site.resume_script(script, asked, 2)
    client = await receiving
    check(script, client)
    assert client.retractions == expected


def same_transport(site: StreamSite, transport: Transport) -> Transport:
    """The same transport at the new gateway."""
    [found] = [other for other in site.transports if other.name == transport.name]
    return found


async def wait_until_shown(client: Client, text: str) -> None:
    """Return when the client shows at least this much."""
    async with asyncio.timeout(10):
        while not client.text.startswith(text):  # noqa: ASYNC110 nor has what a client shows
            await asyncio.sleep(0.002)


async def a_lost_log_is_replaced_by_the_answer(site: StreamSite, transport: Transport) -> None:
    for script, retractions in ((RETRACTED, 1), (PLAIN, 0), (PERSONAL, 1)):
        asked, client = script.asked(), Client()
        receiving = asyncio.create_task(transport.ask(asked, client))
        await wait_until_accepted(site, asked)
        await site.run_script(script, asked, until=2)
        await wait_until_shown(client, script.seen()[:10])
        receiving.cancel()
        await asyncio.gather(receiving, return_exceptions=True)
        await site.lose_tokens()
        await site.publish(script, asked)
        client = await finish(transport, asked, client.resumed())
        check(script, client)
        assert client.retractions == retractions


async def a_log_that_restarts_goes_on(site: StreamSite, transport: Transport) -> None:
    asked, client = RETRACTED.asked(), Client()
    receiving = asyncio.create_task(transport.ask(asked, client))
    await wait_until_accepted(site, asked)
    await site.run_script(RETRACTED, asked, until=2)
    await wait_until_shown(client, DRAFT[:40])
    await site.lose_tokens()  # and the client stays where it is
    await site.resume_script(RETRACTED, asked, 2)
    await receiving
    check(RETRACTED, client)
    assert client.retractions == 1


async def nobody_else_may_go_on_with_a_stream(site: StreamSite, transport: Transport) -> None:
    asked = await answer_unread(site, transport, PERSONAL)
    with temporary_key(site.settings, "a stranger", asker="bob", nkey=NKEY) as key:
        bob = transport.with_key(key)
        for way, stranger, code in (
            (bob, {"asker": "bob"}, "unknown_request"),
            (bob, {"asker": ASKER}, "not_your_asker"),
            (transport, {"asker": "bob"}, "not_your_asker"),
            (transport, {"rid": "never-asked"}, "unknown_request"),
            (transport, {"tenant": "bank"}, "not_your_tenant"),
            (transport.with_key("none"), {}, "unauthenticated"),
        ):
            changed = msgspec.structs.replace(asked, **stranger)
            assert await refusal_code(way, changed) == code
    check(PERSONAL, await finish(transport, asked, Client()))


async def refusal_code(transport: Transport, asked: Asked, id: str = "", asking: bool = False) -> str:
    """The code under which the transport refuses."""
    client = Client(id=id)
    try:
        await (transport.ask if asking else transport.resume)(asked, client)
    except ValueError as error:  # HTTP refuses by its status
        return str(msgspec.json.decode(str(error).partition(": ")[2])["error"]["code"])
    assert client.failed is not None
    assert not client.text
    return client.failed.code


async def a_bad_cursor_is_refused(site: StreamSite, transport: Transport) -> None:
    asked = await answer_unread(site, transport, PLAIN)
    for wrong in ("0.0", "0.0.x", "2.0.0", "0.1.2", "0.0.0.0", "0.9999.9999", f"1.9999.{len(ANSWER) + 1}"):
        assert await refusal_code(transport, asked, wrong) == "bad_cursor", wrong


async def a_bad_request_is_refused(site: StreamSite, transport: Transport) -> None:
    asked = PLAIN.asked()
    for code, bad in {
        "empty_text": msgspec.structs.replace(asked, text=" "),
        "not_your_tenant": msgspec.structs.replace(asked, tenant="stranger"),
        "forged_token": msgspec.structs.replace(asked, text="<IBAN_0a1b2c3d4e5f>"),
        "deadline_past": msgspec.structs.replace(asked, deadline_at_ms=1),
    }.items():
        assert await refusal_code(transport, bad, asking=True) == code
    assert await site.bus.last("ASKS", f"asks.{asked.tenant}.{asked.rid}") is None


async def a_request_that_is_late_says_so_and_may_be_resumed(site: StreamSite, transport: Transport) -> None:
    asked, client = msgspec.structs.replace(RETRACTED.asked(), budget_ms=300), Client()
    receiving = asyncio.create_task(transport.ask(asked, client))
    await wait_until_accepted(site, asked)
    await site.run_script(RETRACTED, asked, until=2)
    await receiving
    assert client.failed is not None
    assert (client.failed.code, client.failed.is_resumable, client.failed.id) == ("late", True, client.id)
    await site.resume_script(RETRACTED, asked, 2)
    client = await finish(transport, asked, client.resumed())
    check(RETRACTED, client)


async def a_client_that_left_takes_no_room(site: StreamSite, transport: Transport) -> None:
    asked = PLAIN.asked()
    leaving = asyncio.create_task(transport.ask(asked, Client()))
    await wait_until_accepted(site, asked)
    leaving.cancel()
    await asyncio.gather(leaving, return_exceptions=True)
    await site.run_script(PLAIN, asked)
    async with asyncio.timeout(5):
        while site.streams:  # noqa: ASYNC110 it happens inside the gateway
            await asyncio.sleep(0.005)


CASES: tuple[Case, ...] = (
    every_answer_is_streamed_as_it_is_made,
    a_provisional_word_is_shown_before_it_is_committed,
    from_every_cut_the_stream_goes_on_to_the_same_text,
    a_client_that_drops_repeatedly_gets_everything_once,
    a_new_gateway_goes_on_where_the_old_one_stopped,
    a_lost_log_is_replaced_by_the_answer,
    a_log_that_restarts_goes_on,
    nobody_else_may_go_on_with_a_stream,
    a_bad_cursor_is_refused,
    a_bad_request_is_refused,
    a_request_that_is_late_says_so_and_may_be_resumed,
    a_client_that_left_takes_no_room,
)
