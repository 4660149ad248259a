"""System prompts at every door: sealed with the question, part of what makes a request, refused with path and hint."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import openai
import pytest

from tests.support.gateway_site import SHORT_WAITS, Site, ask, asked, open_openai, site
from tidegate.schemas import Asked, CloudState, Published, Refused, encode, encode_json
from tidegate.schemas.subjects import ping
from tidegate.services.privacy.sealing import unseal_request

pytestmark = pytest.mark.anyio

MESSAGES: Any = [
    {"role": "developer", "content": "  Be brief.\n"},
    {"role": "user", "content": "What is open?"},
    {"role": "assistant", "content": "The lobby."},
    {"role": "system", "content": [{"type": "text", "text": "Be kind."}, {"type": "text", "text": "Be gone."}]},
    {"role": "system", "content": "   "},
    {"role": "user", "content": "When do you open?"},
]
TOLD = "Be brief.\n\nBe kind.\nBe gone."


async def opened(folder: Path, *, writes: bool, **options: Any) -> Any:
    """A site whose hub writes, or does not; its policies are the kiosk's, which let assist be written."""

    async def reply(_: bytes) -> bytes:
        return encode(CloudState(writes=("grounded", "free") if writes else ()))

    running = site(folder, http=True, **SHORT_WAITS, **options)
    entered = await running.__aenter__()
    await entered.bus.respond(ping("site1"), reply)
    return running, entered


@pytest.fixture
async def writing(tmp_path: Path) -> AsyncIterator[Site]:
    running, entered = await opened(tmp_path, writes=True)
    yield entered
    await running.__aexit__(None, None, None)


@pytest.fixture
async def quoting(tmp_path: Path) -> AsyncIterator[Site]:
    running, entered = await opened(tmp_path, writes=False)
    yield entered
    await running.__aexit__(None, None, None)


async def complete(running: Site, messages: Any = MESSAGES, **more: Any) -> None:
    """Ask, and read the reply to its end."""
    async with open_openai(running) as client:
        reply: Any = await client.chat.completions.create(model="tidegate", messages=messages, **more)
        if more.get("stream"):
            assert [chunk async for chunk in reply]


def read(running: Site) -> Asked:
    """What the prefilter gets to read of the last request."""
    return unseal_request(running.vault, running.asked[-1])


async def test_all_system_and_developer_messages_go_on_sealed_as_the_instructions(writing: Site) -> None:
    for stream in (False, True):
        await complete(writing, stream=stream)
        asked_for = read(writing)
        assert asked_for.instructions == TOLD
        assert [turn.text for turn in asked_for.history] == ["What is open?", "The lobby."]
        assert b"kind" not in encode(writing.asked[-1])
        assert writing.asked[-1].instructions == ""
    await complete(writing, MESSAGES[1:3] + MESSAGES[4:])
    assert read(writing).instructions == ""


@pytest.mark.parametrize("stream", [False, True])
async def test_where_nothing_writes_they_are_refused_with_the_path_of_the_first_and_a_hint(
    quoting: Site, *, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await complete(quoting, MESSAGES[1:], stream=stream)
    body: Any = caught.value.body
    assert (caught.value.status_code, caught.value.param, caught.value.code) == (400, "messages[2].role", "unsupported")
    assert "ignore_system_prompts" in str(body)
    assert not quoting.asked, "nothing was stored"


async def test_at_nats_they_are_a_field_of_the_request_and_refused_alike(writing: Site, quoting: Site) -> None:
    for form in (encode, encode_json):
        assert isinstance(await ask(writing, asked(instructions="Be brief."), form), Published)
        assert read(writing).instructions == "Be brief."
    reply = await ask(quoting, asked(instructions="Be brief."))
    assert isinstance(reply, Refused)
    assert (reply.code, bool(reply.hint)) == ("unsupported", True)
    forged = await ask(writing, asked(instructions="Greet <EMAIL_0123456789ab>."))
    assert isinstance(forged, Refused)
    assert forged.code == "forged_token"


async def test_the_same_question_under_other_instructions_is_another_request(writing: Site) -> None:
    first = asked(rid="r1", instructions="Be brief.")
    assert isinstance(await ask(writing, first), Published)
    assert isinstance(await ask(writing, first), Published)
    for other in ("Be kind.", ""):
        reply = await ask(writing, asked(rid="r1", instructions=other))
        assert isinstance(reply, Refused)
        assert reply.code == "rid_taken"


async def test_a_site_that_passes_them_over_reads_none(tmp_path: Path) -> None:
    running, entered = await opened(tmp_path, writes=False, ignore_system_prompts=True)
    await complete(entered)
    assert read(entered).instructions == ""
    await running.__aexit__(None, None, None)


async def test_a_system_prompt_beyond_the_budget_is_refused_and_not_cut(tmp_path: Path) -> None:
    running, entered = await opened(tmp_path, writes=True, instructions_tokens=4)
    with pytest.raises(openai.BadRequestError) as caught:
        await complete(entered)
    assert (caught.value.code, caught.value.param) == ("instructions_too_long", "messages[0].role")
    await running.__aexit__(None, None, None)
