"""OpenAI's own client works unchanged: answers, streams, errors."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import openai
import pytest
from structlog.testing import capture_logs

from tests.support.gateway_site import EMAIL, TOKENS, Site, at_rest, http_site, open_openai, site
from tidegate.schemas import Published
from tidegate.services.gateway.settings import GatewayLimits

pytestmark = pytest.mark.anyio
ANSWER = "Your question has 4 words, and this is the answer to it."
TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
open_site = pytest.fixture(http_site, scope="module")
running = pytest.fixture(at_rest)


@pytest.fixture
async def client(running: Site) -> AsyncIterator[openai.AsyncOpenAI]:
    async with open_openai(running) as client:
        yield client


def turn(text: str = "When do you open?") -> Any:
    return [{"role": "user", "content": text}]


async def test_the_openai_client_gets_an_answer_in_one_piece(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="tidegate", messages=turn(), user="ada", temperature=0)
    [choice] = whole.choices
    assert choice.message.content == "Your question has 4 words, and this is the answer to it."
    assert (choice.message.role, choice.finish_reason, whole.object) == ("assistant", "stop", "chat.completion")
    assert whole.usage is not None
    assert whole.usage.completion_tokens == TOKENS.count(choice.message.content)
    assert whole.usage.prompt_tokens == TOKENS.count("When do you open?")
    assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
    published = msgspec.convert(whole.model_extra["tidegate"], Published)  # type: ignore[index]
    assert whole.id == f"chatcmpl-{published.rid}"
    assert published.receipt.site == "site1"
    assert whole._request_id == published.rid


async def test_the_openai_client_gets_the_same_answer_as_a_stream(client: openai.AsyncOpenAI) -> None:
    options: Any = {"include_usage": True}
    stream = await client.chat.completions.create(
        model="tidegate", messages=turn(), stream=True, stream_options=options
    )
    chunks = [chunk async for chunk in stream]
    assert chunks[0].choices[0].delta.role == "assistant"
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1])
    assert text == "Your question has 4 words, and this is the answer to it."
    assert chunks[-2].choices[0].finish_reason == "stop"
    assert msgspec.convert(chunks[-2].model_extra["tidegate"], Published).text == text  # type: ignore[index]
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == TOKENS.count(text)
    assert len({chunk.id for chunk in chunks}) == 1


async def test_the_openai_client_learns_that_what_is_cited_was_recognised_in_a_picture(
    client: openai.AsyncOpenAI,
) -> None:
    for question, expected in (("scan of the hours", (2, True)), ("When do you open?", (0, False))):
        whole: Any = await client.chat.completions.create(model="tidegate", messages=turn(question))
        stream: Any = await client.chat.completions.create(model="tidegate", messages=turn(question), stream=True)
        last = [chunk async for chunk in stream][-1]
        for reply in (whole, last):
            [citation] = msgspec.convert(reply.model_extra["tidegate"], Published).citations
            assert (citation.page, citation.is_recognised) == expected


async def test_the_openai_client_finds_the_model(client: openai.AsyncOpenAI) -> None:
    assert [model.id async for model in client.models.list()] == ["tidegate"]
    assert (await client.models.retrieve("tidegate")).id == "tidegate"
    with pytest.raises(openai.NotFoundError):
        await client.models.retrieve("gpt-4o")


@pytest.mark.parametrize(
    ("limits", "text", "finish"),
    [
        ({"stop": ","}, "Your question has 4 words", "stop"),
        ({"stop": ["zebra", " answer to", "the answer"]}, "Your question has 4 words, and this is ", "stop"),
        ({"stop": "zebra"}, ANSWER, "stop"),
        ({"max_tokens": TOKENS.count(ANSWER[:13])}, ANSWER[:13], "length"),
        ({"max_completion_tokens": TOKENS.count(ANSWER[:13])}, ANSWER[:13], "length"),
        ({"max_tokens": 1000}, ANSWER, "stop"),
        ({"max_tokens": TOKENS.count(ANSWER)}, ANSWER, "stop"),
    ],
)
async def test_an_answer_ends_where_the_client_wants_it_to(
    client: openai.AsyncOpenAI, limits: Any, text: str, finish: str
) -> None:
    whole = await client.chat.completions.create(model="tidegate", messages=turn(), **limits)
    assert (whole.choices[0].message.content, whole.choices[0].finish_reason) == (text, finish)
    assert whole.usage is not None
    assert whole.usage.completion_tokens == TOKENS.count(text)
    options: Any = {"include_usage": True}
    stream = await client.chat.completions.create(
        model="tidegate", messages=turn(), stream=True, stream_options=options, **limits
    )
    chunks = [chunk async for chunk in stream]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks[:-1]) == text
    assert chunks[-2].choices[0].finish_reason == finish
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == TOKENS.count(text)


@pytest.mark.parametrize("text", ["abstain", "withhold"])
async def test_words_where_json_was_asked_for_are_a_refusal(client: openai.AsyncOpenAI, text: str) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    whole = await client.chat.completions.create(model="tidegate", messages=turn(text), response_format=wanted)
    message = whole.choices[0].message
    assert (message.content, message.refusal) == (None, "I would rather not say.")
    stream = await client.chat.completions.create(
        model="tidegate", messages=turn(text), response_format=wanted, stream=True
    )
    deltas = [chunk.choices[0].delta async for chunk in stream]
    assert "".join(delta.refusal or "" for delta in deltas) == "I would rather not say."
    assert not any(delta.content for delta in deltas)


async def test_json_where_json_was_asked_for_is_the_content(client: openai.AsyncOpenAI) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    request: Any = {"model": "tidegate", "messages": turn("json please"), "response_format": wanted, "user": "ada"}
    whole = await client.chat.completions.create(**request)
    assert whole.choices[0].message.refusal is None
    assert json.loads(whole.choices[0].message.content or "")["email"] == EMAIL
    deltas = [chunk.choices[0].delta async for chunk in await client.chat.completions.create(**request, stream=True)]
    assert "".join(delta.content or "" for delta in deltas) == whole.choices[0].message.content
    assert not any(delta.refusal for delta in deltas)


@pytest.mark.parametrize(
    ("change", "param"),
    [
        ({"n": 2}, "n"),
        ({"logprobs": True}, "logprobs"),
        ({"tools": [TOOL], "tool_choice": "required"}, "tool_choice"),
        ({"tools": [TOOL], "tool_choice": {"type": "function", "function": {"name": "f"}}}, "tool_choice"),
        ({"extra_body": {"top_k": 3}}, "top_k"),
        ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_what_is_not_honoured_is_refused_by_name(
    client: openai.AsyncOpenAI, change: Any, param: str, stream: bool
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(model="tidegate", messages=turn(), stream=stream, **change)
    assert caught.value.param == param


async def test_tools_that_need_not_be_called_are_answered_in_text(client: openai.AsyncOpenAI) -> None:
    for choice in ("auto", "none"):
        request: Any = {"tools": [TOOL], "tool_choice": choice}
        whole = await client.chat.completions.create(model="tidegate", messages=turn(), **request)
        assert (whole.choices[0].message.content, whole.choices[0].message.tool_calls) == (ANSWER, None)


async def test_a_stream_with_limits_cannot_be_resumed(client: openai.AsyncOpenAI) -> None:
    headers = {"Last-Event-ID": "0.5.5"}
    request: Any = {"model": "tidegate", "messages": turn(), "stream": True, "extra_headers": headers}
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(**request, stop="x")
    assert caught.value.param == "Last-Event-ID"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("change", "headers", "error"),
    [
        ({"model": "gpt-4o"}, {}, openai.NotFoundError),
        ({"messages": []}, {}, openai.BadRequestError),
        ({"messages": turn("")}, {}, openai.BadRequestError),
        ({"messages": turn("Restore <EMAIL_0123456789ab>")}, {}, openai.BadRequestError),
        ({"messages": turn("x" * 9000)}, {}, openai.BadRequestError),
        ({}, {"X-Tidegate-Budget-Ms": "-1"}, openai.BadRequestError),
        ({}, {"X-Tidegate-Deadline-At-Ms": "1"}, openai.BadRequestError),
        ({}, {"X-Tidegate-Workload": "sing"}, openai.BadRequestError),
        ({}, {"X-Tidegate-Tenant": "stranger"}, openai.PermissionDeniedError),
    ],
)
async def test_errors_map_to_the_openai_clients_exceptions_with_one_log_line(
    client: openai.AsyncOpenAI, change: Any, headers: Any, error: type[openai.APIStatusError], stream: bool
) -> None:
    request: Any = {"model": "tidegate", "messages": turn(), **change}
    with capture_logs() as lines, pytest.raises(error) as caught:
        await client.chat.completions.create(**request, stream=stream, extra_headers=headers)
    assert isinstance(caught.value.body, dict)
    assert caught.value.body["hint"]
    assert "Traceback" not in caught.value.message
    assert [line["event"] for line in lines] == ["ask_refused"]


async def test_too_many_waiting_is_429_with_retry_after_and_late_is_504(tmp_path: Path) -> None:
    async with (
        site(tmp_path, http=True, limits=GatewayLimits(max_waiting=1), grace_s=0.1) as running,
        open_openai(running) as client,
    ):
        budget = {"X-Tidegate-Budget-Ms": "600", "X-Request-Id": "r1"}
        chat = client.chat.completions.create(model="tidegate", messages=turn("wait here"), extra_headers=budget)
        waiting = asyncio.create_task(chat)
        await running.arrivals.get()
        with pytest.raises(openai.RateLimitError) as busy:
            await client.chat.completions.create(model="tidegate", messages=turn())
        assert busy.value.response.headers["retry-after"] == "1"
        with pytest.raises(openai.InternalServerError) as late:
            await waiting
        assert late.value.status_code == 504
        assert late.value.code == "late"
        assert late.value.response.headers["x-request-id"] == "r1"
        assert late.value.response.headers["x-should-retry"] == "false"


async def test_a_stream_that_ends_without_an_answer_ends_with_an_error_event(client: openai.AsyncOpenAI) -> None:
    headers = {"X-Tidegate-Budget-Ms": "50"}
    stream = await client.chat.completions.create(
        model="tidegate", messages=turn("vanish"), stream=True, extra_headers=headers
    )
    with capture_logs() as lines, pytest.raises(openai.APIError, match="deadline"):
        [chunk async for chunk in stream]
    assert [line["code"] for line in lines] == ["late"]


@pytest.mark.parametrize(("text", "finish"), [("withhold", "content_filter"), ("abstain", "stop")])
async def test_what_is_not_answered_is_worded_politely(client: openai.AsyncOpenAI, text: str, finish: str) -> None:
    whole = await client.chat.completions.create(model="tidegate", messages=turn(text))
    assert whole.choices[0].finish_reason == finish
    assert whole.choices[0].message.content == "I would rather not say."


async def test_the_asker_sees_their_own_words_on_every_path(client: openai.AsyncOpenAI) -> None:
    whole = await client.chat.completions.create(model="tidegate", messages=turn("personal data"), user="ada")
    assert whole.choices[0].message.content == f"We write to {EMAIL} today, and to {EMAIL} tomorrow."
    stream = await client.chat.completions.create(
        model="tidegate", messages=turn("personal data"), user="ada", stream=True
    )
    text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
    assert text == whole.choices[0].message.content
