"""What of OpenAI's chat completions is read, and how what cannot be is refused, without a server."""

from __future__ import annotations

import json
import string
from typing import Any

import pytest

from tidegate.schemas import Refused
from tidegate.schemas.refusals import REFUSALS, refusal
from tidegate.services.gateway.http.chat import read_asked
from tidegate.services.gateway.http.errors import error_body
from tidegate.services.gateway.http.openai import ChatRequest, read_chat, read_question
from tidegate.services.gateway.http.parameters import REFUSED, WITHOUT_EFFECT
from tidegate.services.gateway.refusals import RequestRefusedError

TURN = {"role": "user", "content": "When do you open?"}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "who", "schema": {"type": "object"}}}
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def body(**fields: Any) -> bytes:
    return json.dumps({"model": "tidegate", "messages": [TURN], **fields}).encode()


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
        read_asked(read_chat(data), {})
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
    assert set(HARMLESS) == {*ChatRequest.__struct_fields__, *REFUSED}
    assert set(ChatRequest.__struct_fields__) >= set(WITHOUT_EFFECT)
    for name, values in HARMLESS.items():
        for value in values:
            assert read_asked(read_chat(body(**{name: value})), {}).text == TURN["content"], name


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
        read_asked(read_chat(body()), {header: value})
    assert caught.value.refused.code == "bad_header"
    assert caught.value.param == header
    assert header in caught.value.refused.reason


def test_headers_fill_the_fields_that_openai_has_no_parameter_for() -> None:
    headers = {"x-request-id": "r-1", "x-tidegate-tenant": "bank", "x-tidegate-budget-ms": "250"}
    asked = read_asked(read_chat(body(user="ada")), headers)
    assert (asked.rid, asked.tenant, asked.budget_ms, asked.asker) == ("r-1", "bank", 250, "ada")
    assert read_asked(read_chat(body()), {}).tenant == ""


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
    asked = read_asked(read_chat(body(response_format=wanted)), {})
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


def test_an_error_never_repeats_the_question() -> None:
    refused = Refused(code="late", reason="no answer", rid="r1")
    assert json.loads(error_body(refused, None))["error"]["rid"] == "r1"
    with pytest.raises(RequestRefusedError) as caught:
        read_chat(b'{"model":"tidegate","messages":[{"role":"user","content":{"secret":"IBAN DE89"}}]}')
    assert "DE89" not in caught.value.refused.reason
