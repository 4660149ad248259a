"""The mapping between OpenAI's chat completions and the pipeline, without a server."""

from __future__ import annotations

import json
import string
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.gateway_site import TOKENS
from tidegate.schemas import Published, Receipt, Refused
from tidegate.schemas.refusals import REFUSALS, refusal
from tidegate.services.gateway.http.chat import read_asked
from tidegate.services.gateway.http.completions import ChatReply
from tidegate.services.gateway.http.errors import error_body
from tidegate.services.gateway.http.openai import ChatRequest, read_chat, read_question
from tidegate.services.gateway.http.parameters import HONOURED, REFUSED, WITHOUT_EFFECT
from tidegate.services.gateway.refusals import RequestRefusedError

TURN = {"role": "user", "content": "When do you open?"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "who", "schema": {"type": "object"}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


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
        (b"null", "unreadable", None),
        (b'{"model":' + b"[" * 100_000, "unreadable", None),
        (b'{"tools":' + b"[" * 100_000, "unreadable", None),
        (body(messages=[]), "unreadable", "messages"),
        (body(messages="hello"), "unreadable", "messages"),
        (body(messages=[{"role": "wizard", "content": "x"}]), "unreadable", "messages[0].role"),
        (body(model=7), "unreadable", "model"),
        (body(model="gpt-4o"), "unknown_model", "model"),
        (body(stream="yes"), "unreadable", "stream"),
        (body(user="x" * 129), "unreadable", "user"),
        (body(messages=[{"role": "system", "content": "x"}]), "empty_text", "messages"),
        (body(messages=[{"role": "user", "content": None}]), "empty_text", "messages"),
        (body(response_format={"type": "json_object"}), "unsupported", "response_format"),
        (body(response_format={"type": "json_schema"}), "unsupported", "response_format"),
        (body(response_format={"type": "grammar"}), "unreadable", "response_format.type"),
        (
            body(response_format={"type": "json_schema", "json_schema": {"schema": {"title": "x" * 16384}}}),
            "bad_schema",
            "response_format",
        ),
        (body(stop=["a", "b", "c", "d", "e"]), "unreadable", "stop"),
        (body(stop=""), "unreadable", "stop"),
        (body(stop=["a", ""]), "unreadable", "stop[1]"),
        (body(stop=7), "unreadable", "stop"),
        (body(max_tokens=0), "unreadable", "max_tokens"),
        (body(max_tokens="5"), "unreadable", "max_tokens"),
        (body(max_completion_tokens=-1), "unreadable", "max_completion_tokens"),
        (body(temperature=3), "unreadable", "temperature"),
        (body(top_p="high"), "unreadable", "top_p"),
        (body(metadata=[1]), "unreadable", "metadata"),
        (body(stream_options={"include_usage": True}), "unsupported", "stream_options"),
        (body(stream=True, stream_options={"include": True}), "unreadable", "stream_options"),
        (
            body(stream=True, stream_options={"include_obfuscation": True}),
            "unsupported",
            "stream_options.include_obfuscation",
        ),
        (body(tools=[TOOL], tool_choice="required"), "unsupported", "tool_choice"),
        (body(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "f"}}), "unsupported", "tool_choice"),
        (body(tools=[TOOL], tool_choice={"type": "custom", "custom": {"name": "f"}}), "unsupported", "tool_choice"),
        (
            body(tool_choice={"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": []}}),
            "unsupported",
            "tool_choice",
        ),
        (body(tools="f"), "unreadable", "tools"),
        (body(n=2), "unsupported", "n"),
        (body(n=0), "unsupported", "n"),
        (body(n=True), "unsupported", "n"),
        (body(logprobs=True), "unsupported", "logprobs"),
        (body(top_logprobs=2), "unsupported", "top_logprobs"),
        (body(logit_bias={"7": 1}), "unsupported", "logit_bias"),
        (body(presence_penalty=0.5), "unsupported", "presence_penalty"),
        (body(frequency_penalty=-1), "unsupported", "frequency_penalty"),
        (body(functions=[{"name": "f"}]), "unsupported", "functions"),
        (body(function_call={"name": "f"}), "unsupported", "function_call"),
        (body(modalities=["text", "audio"]), "unsupported", "modalities"),
        (body(audio={"voice": "alloy", "format": "wav"}), "unsupported", "audio"),
        (body(prediction={"type": "content", "content": "x"}), "unsupported", "prediction"),
        (body(store=True), "unsupported", "store"),
        (body(service_tier="flex"), "unsupported", "service_tier"),
        (body(reasoning_effort="high"), "unsupported", "reasoning_effort"),
        (body(verbosity="low"), "unsupported", "verbosity"),
        (body(web_search_options={}), "unsupported", "web_search_options"),
        (body(top_k=5), "unsupported", "top_k"),
        (body(**{"x" * 100: 5}), "unsupported", "x" * 64),
        (body(messages=[TURN, {"role": "tool", "content": "9"}]), "unsupported", "messages[1].role"),
        (body(messages=[TURN, {"role": "function", "content": "9"}]), "unsupported", "messages[1].role"),
        *(
            (
                body(messages=[{"role": role, "content": [{"type": "text", "text": "x"}, {"type": kind}]}, TURN]),
                "unsupported",
                "messages[0].content[1].type",
            )
            for role in ("user", "system")
            for kind in ("image_url", "input_audio", "file", "video", "refusal")
        ),
    ],
)
def test_a_bad_body_is_refused_with_its_code_and_the_field_at_fault(data: bytes, code: str, param: str) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        read_asked(read_chat(data), {}, "kiosk")
    assert (caught.value.refused.code, caught.value.param) == (code, param)
    assert caught.value.refused.hint


HARMLESS: dict[str, Any] = {
    "temperature": [0, 1.5, None], "top_p": [1, None], "seed": [7, None], "metadata": [{"a": "b"}, None],
    "parallel_tool_calls": [False], "prompt_cache_key": ["k"], "prompt_cache_retention": ["24h"],
    "safety_identifier": ["u"], "n": [1], "logprobs": [False], "top_logprobs": [0], "logit_bias": [{}],
    "presence_penalty": [0, 0.0], "frequency_penalty": [0], "functions": [[]], "function_call": ["auto", "none"],
    "modalities": [["text"]], "audio": [None], "prediction": [None], "store": [False],
    "service_tier": ["auto", "default"], "reasoning_effort": ["none", "minimal"], "verbosity": ["medium"],
    "web_search_options": [None], "tools": [[TOOL], []], "response_format": [{"type": "text"}, SCHEMA],
    "tool_choice": ["auto", "none", {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [TOOL]}}],
    "stop": ["x", [], ["a", "b", "c", "d"], None], "max_tokens": [1], "max_completion_tokens": [1],
    "stream": [True, None], "stream_options": [None], "user": ["ada"], "model": ["tidegate"], "messages": [[TURN]],
}  # fmt: skip


def test_every_parameter_of_the_table_is_accepted_where_it_asks_for_nothing_that_is_not_done() -> None:
    assert set(HARMLESS) == HONOURED | set(WITHOUT_EFFECT) | set(REFUSED)
    assert set(ChatRequest.__struct_fields__) == HONOURED | set(WITHOUT_EFFECT)
    for name, values in HARMLESS.items():
        for value in values:
            assert read_asked(read_chat(body(**{name: value})), {}, "kiosk").text == TURN["content"], name


def test_of_two_token_limits_the_smaller_counts() -> None:
    assert read_chat(body(max_tokens=5, max_completion_tokens=3)).limits.max_tokens == 3
    assert read_chat(body(max_tokens=2, max_completion_tokens=3)).limits.max_tokens == 2
    assert not read_chat(body(stop=[], max_tokens=None)).limits


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
def test_a_bad_header_is_refused_by_its_name(header: str, value: str) -> None:
    with pytest.raises(RequestRefusedError) as caught:
        read_asked(read_chat(body()), {header: value}, "kiosk")
    assert caught.value.refused.code == "bad_header"
    assert caught.value.param == header
    assert header in caught.value.refused.reason


def test_headers_fill_the_fields_that_openai_has_no_parameter_for() -> None:
    headers = {"x-request-id": "r-1", "x-tidegate-tenant": "bank", "x-tidegate-budget-ms": "250"}
    asked = read_asked(read_chat(body(user="ada")), headers, "kiosk")
    assert (asked.rid, asked.tenant, asked.budget_ms, asked.asker) == ("r-1", "bank", 250, "ada")
    assert read_asked(read_chat(body()), {}, "kiosk").tenant == "kiosk"


def test_the_last_user_message_is_the_question_and_text_parts_are_joined() -> None:
    turns = [
        {"role": "system", "content": "Be rude."},
        {"role": "user", "content": "Hello", "name": "ada"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}], "refusal": "No."},
        {"role": "user", "content": [{"type": "text", "text": "When do you"}, {"type": "text", "text": "open?"}]},
        {"role": "assistant", "content": "We"},
    ]
    assert read_question(read_chat(body(messages=turns))) == "When do you\nopen?"


def test_a_json_schema_makes_an_extract() -> None:
    schema = {"type": "object", "properties": {"name": {"type": "string"}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "who", "strict": True, "schema": schema}}
    asked = read_asked(read_chat(body(response_format=wanted)), {}, "kiosk")
    assert asked.workload == "extract"
    assert json.loads(asked.schema) == schema


def test_every_refusal_has_a_hint_and_an_openai_error_object() -> None:
    for code, terms in REFUSALS.items():
        gaps = [name for _, name, _, _ in string.Formatter().parse(terms.reason + terms.hint) if name]
        refused = refusal(code, "r1", **dict.fromkeys(gaps, "x"))
        error = json.loads(error_body(refused))["error"]
        assert {"message", "type", "param", "code"} <= set(error)
        assert refused.hint
        assert refused.hint in error["message"]


def reply_to(**fields: Any) -> ChatReply:
    return ChatReply(read_chat(body(**fields)), "When do you open?", "r1", 5, TOKENS)


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


def test_an_error_never_repeats_the_question() -> None:
    refused = Refused(code="late", reason="no answer", rid="r1")
    assert json.loads(error_body(refused, None))["error"]["rid"] == "r1"
    with pytest.raises(RequestRefusedError) as caught:
        read_chat(b'{"model":"tidegate","messages":[{"role":"user","content":{"secret":"IBAN DE89"}}]}')
    assert "DE89" not in caught.value.refused.reason
