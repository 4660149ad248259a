"""What needs no document: small talk, and people in distress. A question is never taken for either by its greeting."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services.stages.test_prefilter import SERVE, asked, screened_by
from tidegate.schemas import Replied, Screened, Withheld
from tidegate.schemas.refusal_texts import refusal_text
from tidegate.services.stages.prefilter.handler import DetectedLanguage, IntentEstimate
from tidegate.services.stages.prefilter.replies import VerdictEstimate

pytestmark = pytest.mark.anyio

DESPAIR = IntentEstimate("self_harm", 0.7, 0.1, "assist", distress=VerdictEstimate("self_harm", 0.7))
CHAT = IntentEstimate("identity", 0.9, 0.0, "assist", smalltalk=VerdictEstimate("identity", 0.9))
POLISH = DetectedLanguage("pl", False)


@pytest.mark.parametrize(
    ("text", "estimate", "reason", "reply"),
    [
        ("I want to end it all", DESPAIR, "distress", "self_harm/distress/en"),
        ("Hi!", SERVE, "smalltalk", "greeting/smalltalk/en"),
        ("thanks a lot", SERVE, "smalltalk", "thanks/smalltalk/en"),
        ("Vielen Dank, tschüss!", SERVE, "smalltalk", "thanks/smalltalk/de"),
        ("Hello, who are you?", SERVE, "smalltalk", "identity/smalltalk/en"),
        ("do you ever sleep", CHAT, "smalltalk", "identity/smalltalk/en"),
    ],
)
async def test_it_is_replied_to_at_once(text: str, estimate: IntentEstimate, reason: str, reply: str) -> None:
    found = await screened_by(asked(text), estimate)
    assert isinstance(found, Replied)
    assert (found.reason, found.text, found.stage, found.language) == (reason, reply, "prefilter", reply[-2:])
    [decision] = found.decisions
    assert decision.rule == f"intent/{reply.split('/')[0]}"
    assert decision.reason.endswith(f"{found.confidence:.2f}")


@pytest.mark.parametrize(
    ("text", "estimate"),
    [
        ("Hi! Who is the branch manager? Thanks a lot", SERVE),
        ("Hello, when do you open?", SERVE),
        ("When do you open?", CHAT._replace(smalltalk=VerdictEstimate("identity", 0.79))),
        ("When do you open?", DESPAIR._replace(distress=VerdictEstimate("self_harm", 0.39))),
    ],
)
async def test_a_question_is_a_question_with_or_without_a_greeting(text: str, estimate: IntentEstimate) -> None:
    assert isinstance(await screened_by(asked(text), estimate), Screened)


@pytest.mark.parametrize(("times", "kind"), [(100, Replied), (200, Screened)])
async def test_pleasantries_are_looked_for_in_short_texts_alone(times: int, kind: type[Any]) -> None:
    assert isinstance(await screened_by(asked("Hi! " * times), SERVE), kind)


@pytest.mark.parametrize(
    ("distress", "unsafe", "kind"), [(0.3, 0.25, Replied), (0.3, 0.55, Withheld), (0.1, 0.1, Screened)]
)
async def test_where_danger_is_likely_the_likelier_kind_of_it_decides(
    distress: float, unsafe: float, kind: type[Any]
) -> None:
    estimate = IntentEstimate("x", 0.5, unsafe, "assist", distress=VerdictEstimate("self_harm", distress))
    assert isinstance(await screened_by(asked("Ann is here"), estimate), kind)


@pytest.mark.parametrize(("distress", "is_helped"), [(0.3, True), (0.1, True), (0.09, False), (0.0, False)])
async def test_who_is_refused_and_may_be_in_distress_gets_the_help_and_not_a_bare_refusal(
    distress: float, is_helped: bool
) -> None:
    estimate = IntentEstimate("x", 0.5, 0.8, "assist", distress=VerdictEstimate("self_harm", distress))
    found = await screened_by(asked("how many pills are too many"), estimate)
    assert isinstance(found, Withheld)
    assert (found.reason, found.language) == ("unsafe", "en")
    assert found.text == ("self_harm/distress/en" if is_helped else refusal_text("unsafe", "en"))


async def test_a_pack_says_in_its_own_words_what_is_unsafe() -> None:
    own = await screened_by(asked("a bomb"), SERVE._replace(unsafe=0.9), find_reply=lambda *parts: "/".join(parts))
    assert (own.reason, own.text) == ("unsafe", "unsafe/unsafe/en")


async def test_a_person_in_distress_is_helped_in_a_language_that_the_site_does_not_speak() -> None:
    found = await screened_by(asked("Nie chcę już żyć"), DESPAIR, POLISH)
    assert isinstance(found, Replied)
    assert found.language == "pl"


@pytest.mark.parametrize(
    "fields", [{"workload": "extract"}, {"workload": "classify"}, {"schema": '{"type": "object"}'}]
)
async def test_a_text_that_is_to_be_read_by_a_machine_gets_no_small_talk(fields: dict[str, str]) -> None:
    assert isinstance(await screened_by(asked("Hi!", **fields)), Screened)
    assert isinstance(await screened_by(asked("Hi!", **fields), DESPAIR), Replied)
