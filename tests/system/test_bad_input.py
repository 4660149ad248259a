"""Bad input over both transports of a running site: a clear refusal each, one log line, and nothing else."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import msgspec
import nats.errors
import pytest

from tests.support.prepared_state import settings_for
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.brokers.jetstream.dead_letters import list_dead_letters
from tidegate.brokers.jetstream.history import messages
from tidegate.schemas import Asked, Published, Refused, Screened, UnreadableError, decode
from tidegate.schemas.entries import OPERATOR, entry
from tidegate.schemas.refusals import REFUSALS
from tidegate.schemas.subjects import ASK
from tidegate.schemas.vault_token import VAULT_TOKEN
from tidegate.services.evaluation.byte_scan import find_values
from tidegate.services.evaluation.client import bearer, parse_gateway_reply
from tidegate.services.fleet.access import temporary_key
from tidegate.services.fleet.deployment import deploy
from tidegate.services.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.system]

PERSONAL = "ada.refused@example.net"
"""A personal value that is in every bad request where there is room for one; it may be in no file afterwards."""
GOOD = "How long does a guest wifi session last?"
TAKEN = "taken-by-ann"
ANNS = "ann.asks@example.org"
ANNS_TEXT = f"My email is {ANNS}. When is the lobby open?"
TEN_MB = 10_000_000
INSIDES = re.compile(r"Traceback|File \"|\.py\b|site-packages|/(?:home|tmp|usr|work)/|state_dir")
STREAMS = {"ASKS": "asks.>", "PIPE": "pipe.>", "ANSWERS": "answers.>", "ESCALATIONS": "escalations.>"}


class RunningSite(NamedTuple):
    """A running site as its clients and its operator see it."""

    bus: JetStreamBus
    http: httpx.AsyncClient
    state: Path
    token: str
    bob: dict[str, str]
    """What bob shows, whom an operator gave a key as well."""
    """A vault token that the site made for the asker `ann`."""

    @property
    def log(self) -> list[str]:
        return (self.state / "site1" / "logs" / "all.log").read_text().splitlines()

    async def stored(self) -> list[tuple[str, int, bytes]]:
        """Everything in the streams that a request may touch."""
        found = [await messages(self.bus.link.client, stream, subject) for stream, subject in STREAMS.items()]
        return [(fact.stream, fact.sequence, fact.data) for facts in found for fact in facts]


@pytest.fixture(scope="module")
def settings(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    state = tmp_path_factory.mktemp("bad") / "state"
    shutil.copytree(prepared, state)
    return settings_for(state)


@pytest.fixture(scope="module")
async def site(settings: Settings) -> AsyncIterator[RunningSite]:
    async with deploy(settings, ["site1"]) as deployment, AsyncExitStack() as stack:
        bus = await stack.enter_async_context(JetStreamBus.open(deployment.endpoints.sites["site1"], "site1"))
        headers = bearer(stack.enter_context(temporary_key(settings, "bad input", asker="ann")))
        http = httpx.AsyncClient(base_url=deployment.endpoints.http["site1"], timeout=20.0, headers=headers)
        await stack.enter_async_context(http)
        known = asked(text=ANNS_TEXT, asker="ann", rid=TAKEN)
        assert isinstance(
            decode(await bus.request(entrance_of(known), known, timeout_s=20.0), Published, Refused), Published
        )
        [screened] = await messages(bus.link.client, "PIPE", f"pipe.kiosk.screened.{TAKEN}")
        [token] = decode(screened.data, Screened).question.vault_tokens
        assert VAULT_TOKEN.fullmatch(token)
        bob = bearer(stack.enter_context(temporary_key(settings, "bad input", asker="bob")))
        yield RunningSite(bus, http, Path(settings.state_dir), token, bob)


def asked(form: str = "json", **changed: Any) -> bytes:
    """A request as a NATS client sends it; a field that is None is left out."""
    fields = {"type": "asked", "tenant": "kiosk", "text": f"I am {PERSONAL}. {GOOD}", "budget_ms": 10_000, **changed}
    fields = {name: value for name, value in fields.items() if value is not None}
    return msgspec.json.encode(fields) if form == "json" else msgspec.msgpack.encode(fields)


def chat(text: str = f"I am {PERSONAL}. {GOOD}", **fields: Any) -> bytes:
    """A request as an HTTP client sends it."""
    return msgspec.json.encode({"model": "tidegate", "messages": [{"role": "user", "content": text}], **fields})


DEEP = '{"a":' * 2000 + "1" + "}" * 2000

OVER_NATS: dict[str, tuple[bytes, str]] = {
    "JSON that is not UTF-8": (asked().replace(b"I am", b"\xff\xfe"), "unreadable"),
    "MessagePack that is not UTF-8": (asked("msgpack").replace(b"I am", b"\xff\xfe\xff\xfe"), "unreadable"),
    "noise": (b"\x00\xff" * 50 + PERSONAL.encode(), "unreadable"),
    "nothing": (b"", "unreadable"),
    "truncated JSON": (asked()[:-20], "unreadable"),
    "truncated MessagePack": (asked("msgpack")[:-20], "unreadable"),
    "unknown type": (asked(type="wished"), "unreadable"),
    "another fact": (asked(type="verified"), "unreadable"),
    "unknown workload": (asked(workload=f"mail {PERSONAL}"), "unreadable"),
    "negative budget": (asked(budget_ms=-1), "unreadable"),
    "negative deadline": (asked("msgpack", deadline_at_ms=-1), "unreadable"),
    "past deadline": (asked(deadline_at_ms=1), "deadline_past"),
    "unknown tenant": (asked("msgpack", tenant="nobody"), "unknown_tenant"),
    "tenant that is no name": (asked(tenant=PERSONAL), "unreadable"),
    "forged token": (asked(text=f"{PERSONAL}: who is <EMAIL_0123456789ab>?"), "forged_token"),
    "forged token in a schema": (asked(workload="extract", schema='{"a":"<EMAIL_0123456789ab>"}'), "forged_token"),
    "rid that is a wildcard": (asked(rid="a.>"), "unreadable"),
    "rid that is personal": (asked(rid=PERSONAL), "unreadable"),
    "empty text": (asked("msgpack", text=" \n"), "empty_text"),
    "schema nested without end": (asked(workload="extract", schema=DEEP), "bad_schema"),
    "schema that is not JSON": (asked(workload="extract", schema=PERSONAL), "bad_schema"),
    "rid of another asker": (asked(text=ANNS_TEXT, rid=TAKEN, asker="bob"), "rid_taken"),
    "rid of another question": (asked("msgpack", rid=TAKEN, asker="ann"), "rid_taken"),
}

BOB = {"Authorization": "bob"}
"""Stands for what bob shows; without it ann asks."""
OVER_HTTP: dict[str, tuple[bytes, dict[str, str], str]] = {
    "not UTF-8": (chat().replace(b"I am", b"\xff\xfe"), {}, "unreadable"),
    "noise": (b"\x00\xff" * 50 + PERSONAL.encode(), {}, "unreadable"),
    "nothing": (b"", {}, "unreadable"),
    "truncated JSON": (chat()[:-20], {}, "unreadable"),
    "nested without end": (b'{"a":' * 2000 + PERSONAL.encode(), {}, "unreadable"),
    "unknown role": (chat().replace(b'"user"', b'"robot"'), {}, "unreadable"),
    "unknown type": (chat(), {"Content-Type": "text/plain"}, "not_json"),
    "10 MB": (chat(PERSONAL + "x" * TEN_MB), {}, "body_too_large"),
    "unknown workload": (chat(), {"X-Tidegate-Workload": PERSONAL}, "bad_header"),
    "negative budget": (chat(), {"X-Tidegate-Budget-Ms": "-1"}, "bad_header"),
    "negative deadline": (chat(), {"X-Tidegate-Deadline-At-Ms": "-1"}, "bad_header"),
    "past deadline": (chat(), {"X-Tidegate-Deadline-At-Ms": "1"}, "deadline_past"),
    "empty tenant": (chat(), {"X-Tidegate-Tenant": ""}, "bad_header"),
    "unknown tenant": (chat(), {"X-Tidegate-Tenant": "nobody"}, "not_your_tenant"),
    "forged token": (chat(f"{PERSONAL}: who is <EMAIL_0123456789ab>?"), {}, "forged_token"),
    "rid that is a wildcard": (chat(), {"X-Request-Id": "a.>"}, "bad_header"),
    "rid that is personal": (chat(), {"X-Request-Id": PERSONAL}, "bad_header"),
    "empty text": (chat(" \n"), {}, "empty_text"),
    "another asker": (chat(ANNS_TEXT, user="bob"), {"X-Request-Id": TAKEN}, "not_your_asker"),
    "rid of another asker": (chat(ANNS_TEXT, user="bob"), {"X-Request-Id": TAKEN, **BOB}, "rid_taken"),
    "rid of another question": (chat(user="ann"), {"X-Request-Id": TAKEN}, "rid_taken"),
}


def entrance_of(data: bytes) -> str:
    """Where the operator asks this for the tenant that it names, if it can be read and names one."""
    try:
        tenant = decode(data, Asked).tenant
    except UnreadableError:
        tenant = ""
    return entry(ASK, tenant or "kiosk", OPERATOR)


async def refused_over_nats(site: RunningSite, data: bytes) -> tuple[Refused, str]:
    reply_bytes = await site.bus.request(entrance_of(data), data, timeout_s=10.0)
    reply = decode(reply_bytes, Published, Refused)
    assert isinstance(reply, Refused), "a bad request was answered"
    return reply, reply_bytes.decode(errors="replace")


async def refused_over_http(site: RunningSite, content: bytes | AsyncIterator[bytes], headers: dict[str, str]) -> Any:
    everything = {"Content-Type": "application/json", **headers, **(site.bob if BOB.items() <= headers.items() else {})}
    response = await site.http.post("/v1/chat/completions", content=content, headers=everything)
    error = response.json()["error"]
    assert response.status_code == REFUSALS[error["code"]].status
    assert 400 <= response.status_code < 500
    return Refused(code=error["code"], reason=error["message"], hint=error["hint"]), response.text


def check(site: RunningSite, before: list[str], refused: Refused, text: str, transport: str, code: str) -> None:
    """What holds for every refusal, whichever the transport."""
    assert refused.code == code, text
    assert refused.reason
    assert refused.hint
    assert not INSIDES.search(text), text
    fresh = site.log[len(before) :]
    assert len(fresh) == 1, fresh
    line = msgspec.json.decode(fresh[0])
    assert (line["action"], line["transport"], line["code"], line["site"]) == ("ask_refused", transport, code, "site1")


@pytest.mark.parametrize("case", OVER_NATS)
async def test_a_bad_request_over_nats_is_refused_with_a_code_a_hint_and_one_log_line(
    site: RunningSite, case: str
) -> None:
    data, code = OVER_NATS[case]
    before, stored = site.log, await site.stored()
    refused, text = await refused_over_nats(site, data)
    check(site, before, refused, text, "nats", code)
    assert await site.stored() == stored


@pytest.mark.parametrize("case", OVER_HTTP)
async def test_a_bad_request_over_http_is_refused_with_a_code_a_hint_and_one_log_line(
    site: RunningSite, case: str
) -> None:
    content, headers, code = OVER_HTTP[case]
    before, stored = site.log, await site.stored()
    refused, text = await refused_over_http(site, content, headers)
    check(site, before, refused, text, "http", code)
    assert await site.stored() == stored


@pytest.mark.parametrize("transport", ["nats", "http"])
async def test_the_vault_token_of_another_asker_opens_nothing(site: RunningSite, transport: str) -> None:
    before, question = site.log, f"I am {PERSONAL}. Whose is {site.token}?"
    if transport == "nats":
        refused, text = await refused_over_nats(site, asked(text=question, asker="bob"))
    else:
        refused, text = await refused_over_http(site, chat(question, user="bob"), BOB)
    check(site, before, refused, text, transport, "forged_token")
    assert ANNS not in text


async def test_ten_megabytes_of_unknown_length_are_refused_over_http_before_they_are_read(site: RunningSite) -> None:
    sent = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < TEN_MB:
            sent += 65_536
            yield b" " * 65_536

    before = site.log
    refused, text = await refused_over_http(site, body(), {})
    check(site, before, refused, text, "http", "body_too_large")


async def test_ten_megabytes_do_not_leave_a_nats_client(site: RunningSite) -> None:
    before = site.log
    with pytest.raises(nats.errors.MaxPayloadError):
        await site.bus.request(entry(ASK, "kiosk", OPERATOR), asked(text=PERSONAL + "x" * TEN_MB), timeout_s=10.0)
    assert site.log == before


async def test_a_publish_that_names_nowhere_to_answer_costs_nothing(site: RunningSite) -> None:
    before = site.log
    assert await site.bus.link.send(entry(ASK, "nobody", OPERATOR), asked(tenant="nobody"))
    refused, text = await refused_over_nats(site, asked(text=""))
    assert refused.code == "empty_text", text
    fresh = [msgspec.json.decode(line) for line in site.log[len(before) :]]
    assert sorted(line["code"] for line in fresh) == ["empty_text", "unknown_tenant"]


async def test_after_all_of_it_both_transports_answer_and_nothing_of_it_was_kept(site: RunningSite) -> None:
    over_nats = decode(
        await site.bus.request(entry(ASK, "kiosk", OPERATOR), asked(text=GOOD), timeout_s=20.0), Published, Refused
    )
    answered = await site.http.post(
        "/v1/chat/completions", content=chat(GOOD), headers={"Content-Type": "application/json"}
    )
    over_http = parse_gateway_reply(answered.json())
    for reply in (over_nats, over_http):
        assert isinstance(reply, Published)
        assert "90 minutes" in reply.text
    assert await list_dead_letters(site.bus.link.client) == []
    assert {"ask_failed", "dead_lettered"}.isdisjoint(msgspec.json.decode(line)["action"] for line in site.log)
    assert find_values(site.state, [PERSONAL, ANNS, "x" * 1000]) == {}
