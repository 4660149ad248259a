"""What a client of OpenAI's chat completions gets back, in one piece and as a stream, without a server."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.gateway_site import TOKENS
from tidegate.schemas import Published, Receipt
from tidegate.services.gateway.http.completions import ChatReply
from tidegate.services.gateway.http.openai import read_chat

TURN = {"role": "user", "content": "When do you open?"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "who", "schema": {"type": "object"}}}


def published(text: str = "At nine.", **fields: Any) -> Published:
    receipt = Receipt(site="site1", route="edge", plan=None, lineage=(), citations=(), decisions=())
    parts: dict[str, Any] = {"outcome": "answered", "text": text, "receipt": receipt, **fields}
    return Published(rid="r1", tenant="kiosk", site="site1", asked_at_ms=1, deadline_at_ms=2, **parts)


def reply_to(**fields: Any) -> ChatReply:
    return ChatReply(
        read_chat(json.dumps({"model": "tidegate", "messages": [TURN], **fields}).encode()),
        "When do you open?",
        "r1",
        5,
        TOKENS,
    )


def whole(answer: Published, **fields: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(msgspec.json.encode(reply_to(**fields).whole(answer)))
    return found


@pytest.mark.parametrize(
    ("outcome", "finish"), [("answered", "stop"), ("abstained", "stop"), ("withheld", "content_filter")]
)
def test_the_finish_reason_tells_whether_something_was_withheld(outcome: str, finish: str) -> None:
    found = whole(published(outcome=outcome))
    assert found["choices"][0]["finish_reason"] == finish
    assert found["tidegate"]["outcome"] == outcome
    assert (found["choices"][0]["message"]["content"], found["choices"][0]["message"]["refusal"]) == ("At nine.", None)


def test_a_stream_of_which_something_was_withdrawn_says_so_though_there_is_an_answer() -> None:
    answer = published()
    receipt = msgspec.structs.replace(answer.receipt, withdrawn_chars=9)
    for each, finish in ((answer, "stop"), (msgspec.structs.replace(answer, receipt=receipt), "content_filter")):
        assert stream(each)[-1]["choices"][0]["finish_reason"] == finish


@pytest.mark.parametrize("outcome", ["abstained", "withheld"])
def test_where_json_was_asked_for_words_are_a_refusal_and_no_content(outcome: str) -> None:
    answer = published("I do not know.", outcome=outcome)
    message = whole(answer, response_format=SCHEMA)["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "I do not know.")
    chunks = stream(answer, response_format=SCHEMA)
    assert joined(chunks, "refusal") == "I do not know."
    assert all("content" not in chunk["choices"][0]["delta"] for chunk in chunks)


def test_where_json_was_asked_for_json_is_the_content() -> None:
    answer = published('{"a":1}', format="json")
    message = whole(answer, response_format=SCHEMA)["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == ('{"a":1}', None)
    chunks = stream(answer, response_format=SCHEMA)
    assert joined(chunks, "content") == '{"a":1}'
    assert joined(chunks, "refusal") == ""


@pytest.mark.parametrize(
    ("limits", "text", "finish"),
    [
        ({"stop": "nine"}, "At ", "stop"),
        ({"stop": ["zebra", "sharp", "nine s"]}, "At ", "stop"),
        ({"stop": "zebra"}, "At nine sharp.", "stop"),
        ({"max_tokens": TOKENS.count("At")}, "At", "length"),
        ({"max_completion_tokens": 100}, "At nine sharp.", "stop"),
        ({"max_tokens": 100, "max_completion_tokens": TOKENS.count("At")}, "At", "length"),
        ({"max_tokens": TOKENS.count("At"), "stop": "nine"}, "At", "length"),
        ({"max_tokens": 100, "stop": "At"}, "", "stop"),
    ],
)
def test_an_answer_ends_where_the_client_wants_it_to(limits: Any, text: str, finish: str) -> None:
    answer = published("At nine sharp.")
    choice = whole(answer, **limits)["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == (text, finish)
    assert whole(answer, **limits)["usage"]["completion_tokens"] == TOKENS.count(text)
    chunks = stream(answer, **limits)
    assert (joined(chunks, "content"), chunks[-1]["choices"][0]["finish_reason"]) == (text, finish)


def events(data: bytes) -> list[dict[str, Any]]:
    lines = data.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.partition("data: ")[2]) for line in lines[:-2]]


def stream(answer: Published, **fields: Any) -> list[dict[str, Any]]:
    """The chunks of a stream of two pieces and its end."""
    reply, is_json = reply_to(stream=True, **fields), answer.format == "json"
    pieces = [reply.piece(piece, is_json=is_json, id="0.1.1") for piece in (answer.text[:4], answer.text[4:])]
    return events(reply.opening() + b"".join(pieces) + reply.ending(answer, "0.1.1"))


def joined(chunks: list[dict[str, Any]], field: str) -> str:
    return "".join(choice["delta"].get(field, "") for chunk in chunks for choice in chunk["choices"])


@settings(derandomize=True, max_examples=100)
@given(st.text(max_size=200))
def test_the_pieces_of_a_stream_are_the_whole_text(text: str) -> None:
    chunks = stream(published(text))
    assert joined(chunks, "content") == text
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert msgspec.convert(chunks[-1]["tidegate"], Published).text == text


def test_usage_comes_last_and_only_when_it_was_asked_for() -> None:
    chunks = stream(published("At nine sharp."), stream_options={"include_usage": True})
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    asked, answered = TOKENS.count("When do you open?"), TOKENS.count("At nine sharp.")
    assert chunks[-1]["usage"] == {
        "prompt_tokens": asked,
        "completion_tokens": answered,
        "total_tokens": asked + answered,
        "tokenizer": TOKENS.name,
    }
    assert not any("usage" in chunk for chunk in stream(published()))


def test_the_usage_of_a_resumed_stream_is_that_of_the_whole_answer() -> None:
    reply = reply_to(stream=True, stream_options={"include_usage": True})
    chunks = events(reply.piece("sharp.", is_json=False) + reply.ending(published("At nine sharp."), "0.14.14"))
    assert chunks[-1]["usage"]["completion_tokens"] == TOKENS.count("At nine sharp.")


def test_notices_follow_the_text_once_and_are_no_tokens_of_it() -> None:
    owed = published("At nine sharp.", notices=("Ask us first.", "It may change."))
    text = "At nine sharp.\n\nAsk us first.\n\nIt may change."
    found = whole(owed)
    assert found["choices"][0]["message"]["content"] == text
    assert found["usage"]["completion_tokens"] == TOKENS.count("At nine sharp.")
    assert joined(stream(owed), "content") == text
    resumed = events(reply_to(stream=True).piece("sharp.", is_json=False) + reply_to().ending(owed, "0.14.14"))
    assert joined(resumed, "content").count("Ask us first.") == 1
    cut = whole(owed, max_tokens=1)["choices"][0]
    assert cut["message"]["content"].endswith("\n\nAsk us first.\n\nIt may change.")
    assert cut["finish_reason"] == "length"


def test_nothing_follows_json() -> None:
    answer = published('{"who": "Ann"}', format="json", notices=("Ask us first.",))
    found = whole(answer, response_format=SCHEMA)
    assert found["choices"][0]["message"]["content"] == '{"who": "Ann"}'
    assert found["tidegate"]["notices"] == ["Ask us first."]
    assert joined(stream(answer, response_format=SCHEMA), "content") == '{"who": "Ann"}'
