"""What is learned from a server's refusal: the parameter that it names, in whichever words servers do that."""

from __future__ import annotations

import json

import pytest

from tidegate.services.llm.targets.openai_compatible.parameters import AcceptedParameters

CHAT: dict[str, object] = {"model": "m", "messages": [], "temperature": 0, "max_tokens": 400, "seed": 0, "stream": True}
NOT_SUPPORTED = (
    "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
)
DEFAULT_ONLY = (
    "Unsupported value: 'temperature' does not support 0 with this model. Only the default (1) value is supported."
)


def error(message: str, **more: object) -> str:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error", **more}})


@pytest.mark.parametrize(
    ("refusal", "lost", "gained"),
    [
        (error(NOT_SUPPORTED, param="max_tokens", code="unsupported_parameter"), "max_tokens", "max_completion_tokens"),
        (error(NOT_SUPPORTED), "max_tokens", "max_completion_tokens"),
        (error(DEFAULT_ONLY, param="temperature", code="unsupported_value"), "temperature", ""),
        (error(DEFAULT_ONLY), "temperature", ""),
        (error("Invalid value", param="temperature", code="invalid_value"), "temperature", ""),
        (error("gpt-5 models don't support temperature=0. Only temperature=1 is supported."), "temperature", ""),
        (error("Unrecognized request argument supplied: seed"), "seed", ""),
        (error("Your organization must be verified to stream this model.", param="stream"), "stream", ""),
        (error("stream is not supported for this model"), "stream", ""),
        (json.dumps({"error": "Input validation error: `temperature` must be strictly positive"}), "temperature", ""),
        (json.dumps({"object": "error", "message": "Unknown parameter: seed", "param": None, "code": 400}), "seed", ""),
        (json.dumps({"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted"}]}), "seed", ""),
        (json.dumps({"message": {"detail": [{"loc": ["body", "seed"], "msg": "not permitted"}]}}), "seed", ""),
        ("seed: unexpected keyword argument", "seed", ""),
    ],
)
def test_the_parameter_that_is_refused_is_left_out_or_replaced(refusal: str, lost: str, gained: str) -> None:
    accepted = AcceptedParameters()
    assert accepted.adapt(CHAT) == CHAT
    accepted.learn(CHAT, refusal)
    expected = {name: value for name, value in CHAT.items() if name != lost} | ({gained: CHAT[lost]} if gained else {})
    assert accepted.adapt(CHAT) == expected
    assert accepted.adapt(expected) == expected


@pytest.mark.parametrize(
    "refusal",
    [
        error("max_tokens is too large: 400. This model supports at most 256 completion tokens", param="max_tokens"),
        error("max_tokens must be at most 256"),
        error(
            "The maximum context is 100 tokens; reduce the messages or max_tokens",
            code="context_length_exceeded",
        ),
        error("Unsupported value: 'messages[0].role' does not support 'system'", param="messages[0].role"),
        error("The model `m` has been deprecated", code="model_not_found", param="model"),
        error("Unsupported content, whatever max_tokens is", param="messages", code="unsupported_value"),
        error("Invalid API key"),
        "",
        "null",
        "[]",
        "{",
    ],
)
def test_of_any_other_refusal_nothing_is_learned(refusal: str) -> None:
    accepted = AcceptedParameters()
    accepted.learn(CHAT, refusal)
    assert accepted.adapt(CHAT) == CHAT


def test_a_replacement_that_is_refused_too_is_left_out() -> None:
    accepted = AcceptedParameters()
    for _ in range(3):
        sent = accepted.adapt(CHAT)
        name = "max_tokens" if "max_tokens" in sent else "max_completion_tokens"
        accepted.learn(sent, error(f"Unsupported parameter: {name}", param=name, code="unsupported_parameter"))
    assert accepted.adapt(CHAT).keys() == CHAT.keys() - {"max_tokens"}


def test_of_a_request_in_token_ids_no_parameter_is_optional() -> None:
    accepted = AcceptedParameters()
    sent: dict[str, object] = {"prompt": [1, 2], "temperature": 0, "max_tokens": 4, "seed": 1}
    accepted.learn(sent, error(DEFAULT_ONLY, param="temperature", code="unsupported_value"))
    assert accepted.adapt(sent) == sent
