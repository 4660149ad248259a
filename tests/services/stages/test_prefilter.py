"""The prefilter: nothing personal and nothing unsafe goes further, and what cannot be screened does not either."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest

from tidegate.schemas import Artefact, Asked, RejectError, Replied, Screened, Withheld, decode, encode
from tidegate.schemas.refusal_texts import refusal_text
from tidegate.schemas.vault_token import tokens_in
from tidegate.services.languages.followups import resolve_followup
from tidegate.services.privacy.dlp.finding import Finding
from tidegate.services.stages.prefilter.handler import (
    DetectedLanguage,
    IntentEstimate,
    PrefilterPorts,
    ScreeningRules,
    ScreeningVersions,
    UnscreenableError,
    screen,
)
from tidegate.services.stages.prefilter.replies import ReplyThresholds
from tidegate.services.stages.threads import in_thread

pytestmark = pytest.mark.anyio

LANGUAGES = ("en", "de", "fr", "es")
PARTS = ScreeningVersions(
    Artefact("detector", "d", "1"),
    Artefact("model", "l", "2"),
    Artefact("model", "e", "3"),
    Artefact("model", "i", "4"),
    Artefact("model", "s", "5"),
)
TOKEN = "<NAME_0123456789ab>"
ENGLISH = DetectedLanguage("en", True)
SERVE = IntentEstimate("hours", 0.9, 0.1, "classify")


def asked(text: str = "When do you open?", **fields: Any) -> Asked:
    known: dict[str, Any] = {"rid": "r1", "tenant": "kiosk", "site": "site1", "asked_at_ms": 5, "deadline_at_ms": 4005}
    return Asked(text=text, **(known | fields))


async def ann_is_personal(text: str) -> list[Finding]:
    return [
        Finding(kind="NAME", start=start, end=start + 3, value="Ann")
        for start in range(len(text))
        if text.startswith("Ann", start)
    ]


async def one_token(_: Asked, findings: Sequence[Finding]) -> list[str]:
    return [TOKEN for _ in findings]


async def screened_by(
    request: Asked,
    estimate: IntentEstimate = SERVE,
    language: DetectedLanguage = ENGLISH,
    *,
    max_chars: int = 8000,
    **ports: Any,
) -> Any:
    seen: list[str] = []

    async def classify(text: str) -> IntentEstimate:
        seen.append(text)
        return estimate

    def detect(text: str, _: str) -> DetectedLanguage:
        seen.append(text)
        return language

    known: dict[str, Any] = {
        "unseal": lambda request: request,
        "find_personal": ann_is_personal,
        "find_in_schema": ann_is_personal,
        "resolve": in_thread(resolve_followup),
        "tokenise": one_token,
        "detect_language": detect,
        "classify": classify,
        "find_reply": lambda *parts: "" if "unsafe" in parts else "/".join(parts),
    }
    rules = ScreeningRules(PARTS, LANGUAGES, ReplyThresholds(distress=0.4, unsafe=0.5, smalltalk=0.8), max_chars)
    [message] = await screen(request, PrefilterPorts(**(known | ports)), rules)
    assert all("Ann" not in text for text in seen), "the models read redacted text only"
    return decode(encode(message), Screened, Withheld, Replied)


async def test_a_plain_question_is_screened_with_all_that_had_a_part_in_it() -> None:
    found = await screened_by(asked(schema='{"type": "object"}'))
    assert isinstance(found, Screened)
    assert (found.rid, found.tenant, found.site, found.asked_at_ms, found.deadline_at_ms) == (
        "r1", "kiosk", "site1", 5, 4005,
    )  # fmt: skip
    assert found.lineage == tuple(PARTS)
    question = found.question
    assert (question.text, question.language, question.intent, question.intent_confidence) == (
        "When do you open?", "en", "hours", 0.9,
    )  # fmt: skip
    assert (question.workload, question.schema, question.vault_tokens) == ("classify", '{"type": "object"}', ())


async def test_personal_data_is_replaced_by_tokens_and_the_tokens_are_listed_once() -> None:
    found = await screened_by(asked("Ann and Ann ask."))
    assert found.question.text == f"{TOKEN} and {TOKEN} ask."
    assert found.question.vault_tokens == (TOKEN,)


async def test_the_asker_s_own_workload_comes_before_the_intent_s() -> None:
    assert (await screened_by(asked(workload="extract"))).question.workload == "extract"


async def test_a_request_without_a_deadline_has_its_budget() -> None:
    found = await screened_by(asked(deadline_at_ms=0, budget_ms=700))
    assert found.deadline_at_ms == 705


def refuses(_: Asked) -> str:
    raise ValueError("Ann does not open")


async def out_of_time(_: str) -> list[Any]:
    raise UnscreenableError("read half of Ann's text in time")


WITHHELD: tuple[tuple[str, str, Asked, dict[str, Any]], ...] = (
    ("an empty text", "unscreenable", asked(""), {}),
    ("white space", "unscreenable", asked(" \n\t"), {}),
    ("a text that is too long", "unscreenable", asked("x" * 11), {"max_chars": 10}),
    ("a text that does not open", "unscreenable", asked(), {"unseal": refuses}),
    ("half a character", "unscreenable", asked(), {"unseal": lambda _: asked("Ann \ud83d")}),
    ("a text that is not searched to its end", "unscreenable", asked("Ann"), {"find_personal": out_of_time}),
    ("a NUL", "unscreenable", asked("a\x00b"), {}),
    ("a token in the text", "forged_token", asked(f"Who is {TOKEN}, Ann?"), {}),
    ("a token in the schema", "forged_token", asked(schema=json.dumps({"title": TOKEN})), {}),
    ("a token in the schema's escapes", "forged_token", asked(schema='{"title": "\\u003cNAME_0123456789ab>"}'), {}),
    ("a person in the schema", "unscreenable", asked(schema='{"properties": {"Ann": {}}}'), {}),
    ("a person in the schema's escapes", "unscreenable", asked(schema='{"properties": {"\\u0041nn": {}}}'), {}),
    ("a schema that is not JSON", "unscreenable", asked(schema='{"title": '), {}),
    ("a bottomless schema", "unscreenable", asked(schema="[" * 16000), {}),
    ("another language", "unsupported_language", asked("Ann, dove sei?"), {"language": DetectedLanguage("it", False)}),
    ("something unsafe", "unsafe", asked("Ann, do harm"), {"estimate": IntentEstimate("harm", 0.6, 0.5, "assist")}),
    ("an unsafe sum", "unsafe", asked("Ann, do harm"), {"estimate": IntentEstimate("hours", 0.45, 0.55, "assist")}),
    ("no number", "unsafe", asked("Ann, do harm"), {"estimate": IntentEstimate("hours", 0.9, float("nan"), "assist")}),
)


@pytest.mark.parametrize(("name", "reason", "request_", "changed"), WITHHELD, ids=[case[0] for case in WITHHELD])
async def test_it_is_withheld(name: str, reason: str, request_: Asked, changed: dict[str, Any]) -> None:
    found = await screened_by(request_, **changed)
    assert isinstance(found, Withheld), name
    assert (found.reason, found.stage, found.rid, found.deadline_at_ms) == (reason, "prefilter", "r1", 4005)
    assert found.text
    assert b"Ann" not in encode(found)
    assert tokens_in(encode(found).decode("latin-1")) == ()


async def test_the_refusal_speaks_the_asker_s_language_where_it_can() -> None:
    unsafe = await screened_by(asked(), IntentEstimate("harm", 0.9, 0.9, "assist"), DetectedLanguage("de", True))
    assert unsafe.text == refusal_text("unsafe", "de")
    foreign = await screened_by(asked(), language=DetectedLanguage("it", False))
    assert foreign.language == "it"
    assert foreign.text == "Sorry, I cannot help in this language yet. I speak: en, de, fr, es."


async def test_one_below_the_threshold_passes() -> None:
    assert isinstance(await screened_by(asked(), IntentEstimate("hours", 0.5, 0.49, "assist")), Screened)


@pytest.mark.parametrize("missing", ["rid", "site"])
async def test_what_did_not_come_through_the_gateway_is_rejected(missing: str) -> None:
    with pytest.raises(RejectError, match="no id or no site"):
        await screened_by(asked(**{missing: ""}))


@pytest.mark.parametrize("broken", ["unseal", "find_personal", "tokenise", "detect_language", "classify"])
async def test_a_part_that_breaks_lets_nothing_pass(broken: str) -> None:
    def breaks(*_: object) -> Any:
        raise OSError("disk")

    ports: dict[str, Any] = {broken: breaks}
    with pytest.raises(OSError, match="disk"):
        await screened_by(asked("Ann asks."), **ports)


async def test_a_finding_without_a_token_lets_nothing_pass() -> None:
    async def too_few(_: Asked, findings: Sequence[Finding]) -> list[str]:
        return [TOKEN for _ in findings][1:]

    with pytest.raises(ValueError, match="shorter"):
        await screened_by(asked("Ann and Ann ask."), tokenise=too_few)
