"""The mapping between OpenAI's chat completions and the pipeline, without a server."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.schemas import Published, Receipt, Refused
from tidegate.schemas.refusals import REFUSALS, refusal
from tidegate.services.gateway.http import openai as openai_api
from tidegate.services.gateway.http.chat import read_asked
from tidegate.services.gateway.http.openai import RequestRefusedError, read_chat
from tidegate.services.gateway.http.routes import PAGE
from tidegate.services.pipeline import STAGES

TURN = {"role": "user", "content": "When do you open?"}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "tidegate", "messages": [TURN], **fields}).encode()


def published(text: str = "At nine.", **fields: Any) -> Published:
    receipt = Receipt(site="site1", route="edge", plan=None, lineage=(), citations=(), decisions=())
    parts: dict[str, Any] = {"outcome": "answered", "text": text, "receipt": receipt, **fields}
    return Published(rid="r1", tenant="kiosk", site="site1", asked_at_ms=1, deadline_at_ms=2, **parts)


@pytest.mark.parametrize(
    ("data", "code", "param"),
    [
        (b"\xff\xfe", "unreadable", None),
        (b'{"model":"tidegate","messages":[{"role":"user","content":"\xff"}]}', "unreadable", None),
        (b"", "unreadable", None),
        (b"{", "unreadable", None),
        (b"[]", "unreadable", None),
        (b'{"model":' + b"[" * 100_000, "unreadable", "model"),
        (b'{"tools":' + b"[" * 100_000, "unreadable", None),
        (body(messages=[]), "unreadable", "messages"),
        (body(messages="hello"), "unreadable", "messages"),
        (body(messages=[{"role": "wizard", "content": "x"}]), "unreadable", "messages[0].role"),
        (body(model=7), "unreadable", "model"),
        (body(model="gpt-4o"), "unknown_model", "model"),
        (body(n=2), "unsupported", "n"),
        (body(stream="yes"), "unreadable", "stream"),
        (body(user="x" * 129), "unreadable", "user"),
        (body(messages=[{"role": "system", "content": "x"}]), "empty_text", "messages"),
        (body(messages=[{"role": "user", "content": None}]), "empty_text", "messages"),
        (body(messages=[{"role": "user", "content": [{"type": "image_url"}]}]), "unsupported", "messages"),
        (body(response_format={"type": "json_object"}), "unsupported", "response_format"),
        (body(response_format={"type": "json_schema"}), "unsupported", "response_format"),
        (
            body(response_format={"type": "json_schema", "json_schema": {"schema": {"title": "x" * 16384}}}),
            "bad_schema",
            "response_format",
        ),
    ],
)
def test_a_bad_body_is_turned_away_with_its_code_and_the_field_at_fault(data: bytes, code: str, param: str) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        read_asked(read_chat(data), {}, "kiosk")
    assert (caught.value.refused.code, caught.value.param) == (code, param)
    assert caught.value.refused.hint


@pytest.mark.parametrize(
    ("header", "value"),
    [
        ("x-request-id", "has space"),
        ("x-request-id", "x" * 65),
        ("x-request-id", "a.b"),
        ("x-tidegate-tenant", "Bank!"),
        ("x-tidegate-tenant", "a.>"),
        ("x-tidegate-budget-ms", "-5"),
        ("x-tidegate-budget-ms", "0"),
        ("x-tidegate-budget-ms", "soon"),
        ("x-tidegate-deadline-at-ms", "-1"),
        ("x-tidegate-workload", "sing"),
    ],
)
def test_a_bad_header_is_turned_away_by_its_name(header: str, value: str) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        read_asked(read_chat(body()), {header: value}, "kiosk")
    assert caught.value.refused.code == "bad_header"
    assert caught.value.param == header
    assert header in caught.value.refused.reason


def test_headers_fill_the_fields_that_openai_has_no_place_for() -> None:
    headers = {"x-request-id": "r-1", "x-tidegate-tenant": "bank", "x-tidegate-budget-ms": "250"}
    asked = read_asked(read_chat(body(user="ada")), headers, "kiosk")
    assert (asked.rid, asked.tenant, asked.budget_ms, asked.asker) == ("r-1", "bank", 250, "ada")
    assert read_asked(read_chat(body()), {}, "kiosk").tenant == "kiosk"


def test_the_last_user_message_is_the_question_and_text_parts_are_joined() -> None:
    turns = [
        {"role": "system", "content": "Be rude."},
        {"role": "user", "content": "Hello"},
        {"role": "assistant", "content": "Hi"},
        {"role": "user", "content": [{"type": "text", "text": "When do you"}, {"type": "text", "text": "open?"}]},
        {"role": "tool", "content": "ignored"},
    ]
    assert openai_api.question_in(read_chat(body(messages=turns))) == "When do you\nopen?"


def test_a_json_schema_makes_an_extract() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "who", "strict": True, "schema": schema}}
    asked = read_asked(read_chat(body(response_format=wanted)), {}, "kiosk")
    assert asked.workload == "extract"
    assert json.loads(asked.schema) == schema


def test_every_refusal_has_a_hint_and_an_openai_error_object() -> None:
    for code in REFUSALS:
        facts = dict.fromkeys(("fault", "hint", "tenant", "chars", "limit", "limit_s", "model", "what", "header"), "x")
        refused = refusal(code, "r1", error_id="e1", **facts)
        error = json.loads(openai_api.error_body(refused))["error"]
        assert {"message", "type", "param", "code"} <= set(error)
        assert refused.hint
        assert refused.hint in error["message"]


@pytest.mark.parametrize(
    ("outcome", "finish"), [("answered", "stop"), ("abstained", "stop"), ("withheld", "content_filter")]
)
def test_the_finish_reason_says_whether_something_was_withheld(outcome: str, finish: str) -> None:
    whole = json.loads(openai_api.completion(published(outcome=outcome), "When?", 5))
    assert whole["choices"][0]["finish_reason"] == finish
    assert whole["tidegate"]["outcome"] == outcome


def events(data: bytes) -> list[dict[str, Any]]:
    lines = data.decode().split("\n\n")
    assert lines[-2:] == ["data: [DONE]", ""]
    return [json.loads(line.partition("data: ")[2]) for line in lines[:-2]]


def streamed(text: str, question: str, usage: bool) -> list[dict[str, Any]]:
    """The chunks of a stream of two pieces and its end."""
    pieces = (openai_api.piece("r1", 5, usage, piece, "0.1.1") for piece in (text[:3], text[3:]))
    return events(b"".join(pieces) + openai_api.ending(published(text), question, 5, usage, "0.1.1"))


@settings(derandomize=True, max_examples=200)
@given(st.text(max_size=200))
def test_the_pieces_of_a_stream_are_the_whole_text(text: str) -> None:
    chunks = streamed(text, "Q", False)
    assert "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks) == text
    assert [chunk["choices"][0]["finish_reason"] for chunk in chunks[:-1]] == [None] * (len(chunks) - 1)
    assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
    assert msgspec.convert(chunks[-1]["tidegate"], Published).text == text


def test_usage_comes_last_and_only_when_it_was_asked_for() -> None:
    chunks = streamed("At nine sharp.", "When do you open?", True)
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 4, "completion_tokens": 3, "total_tokens": 7}
    assert not any("usage" in chunk for chunk in streamed("At nine.", "When?", False))


def test_an_error_never_repeats_the_question() -> None:
    refused = Refused(code="late", reason="no answer", rid="r1")
    assert json.loads(openai_api.error_body(refused, None))["error"]["rid"] == "r1"
    with pytest.raises(RequestRefusedError) as caught:
        read_chat(b'{"model":"tidegate","messages":[{"role":"user","content":{"secret":"IBAN DE89"}}]}')
    assert "DE89" not in caught.value.refused.reason


def test_the_page_knows_the_stages_of_the_pipeline() -> None:
    names = json.dumps([stage.name for stage in STAGES])
    assert f"const STAGES = {names};" in (PAGE / "page.js").read_text()
