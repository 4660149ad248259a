"""Policies beyond the white paper's, in a whole site with a hub that would answer: from the file to the asker."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator

import msgspec
import pytest

from tests.support.edge_runtime import AT_THE_EDGE, AT_THE_HUB, asked, open_runtime, serve
from tests.support.paths import KIOSK
from tests.support.scripted_hub import scripted_hub, vouched
from tidegate import EdgeRuntime
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import Question
from tidegate.schemas.answer import Answer
from tidegate.services.settings import Settings

pytestmark = [pytest.mark.anyio, pytest.mark.system]

RULES = """\
policy_id: beyond-v1
languages: [en, de]
residency: {default: site, cards: hub}
block:
  - {name: no_drafts, when: "folded_text.contains(\\"banker's draft\\")", reason: drafts are explained at the counter}
obligations:
  - {name: note, notice: {en: Ask at the counter., de: Fragen Sie am Schalter.}, when: "!is_escalated && citations > 0"}
"""
HUB_SAYS = "The art advisory service is headed by nobody."


@pytest.fixture(scope="module")
async def hub_asked() -> list[str]:
    """The questions that reached the hub."""
    return []


@pytest.fixture(scope="module")
async def runtime(
    site: Settings, hub_asked: list[str], tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[EdgeRuntime]:
    root = tmp_path_factory.mktemp("policies")
    shutil.copytree(KIOSK, root / "kiosk")
    (root / "kiosk" / "policies" / "beyond.yaml").write_text(RULES)
    settings = msgspec.structs.replace(site, pack_dir=str(root / "kiosk"))

    def answer_to(question: Question) -> tuple[Answer, int]:
        hub_asked.append(question.text)
        return vouched(HUB_SAYS, HUB_SAYS), 0

    async with (
        Server("hub", root / "nats") as server,
        scripted_hub(server.url, answer_to),
        open_runtime(settings, server.url) as opened,
    ):
        yield opened


async def test_an_answer_comes_with_the_notice_that_is_owed_and_its_receipt_says_why(runtime: EdgeRuntime) -> None:
    published = await runtime.answer(asked(AT_THE_EDGE))
    assert published.outcome == "answered", published.receipt.decisions
    assert published.notices == ("Ask at the counter.",)
    acting = {each.rule: each.verb for each in published.receipt.decisions}
    assert (acting["beyond-v1/note"], acting["beyond-v1/residency"]) == ("oblige", "allow")
    assert (await serve(runtime, asked(AT_THE_EDGE))).endswith("\n\nAsk at the counter.")


async def test_a_question_that_has_to_stay_never_reaches_the_hub(runtime: EdgeRuntime, hub_asked: list[str]) -> None:
    published = await runtime.answer(asked(AT_THE_HUB))
    assert published.outcome == "abstained"
    assert published.receipt.plan is not None
    assert "the policy beyond-v1 keeps such questions at the site" in published.receipt.plan.reason
    assert hub_asked == []


async def test_a_rule_with_a_condition_withholds_with_its_reason(runtime: EdgeRuntime) -> None:
    published = await runtime.answer(asked("What does a banker's draft cost?"))
    assert (published.outcome, published.reason) == ("withheld", "policy_block")
    reasons = {each.rule: each.reason for each in published.receipt.decisions}
    assert reasons["beyond-v1/no_drafts"] == "drafts are explained at the counter"


async def test_another_language_than_the_policies_list_is_refused_in_it(runtime: EdgeRuntime) -> None:
    published = await runtime.answer(asked("¿Cuánto dura una sesión de wifi para invitados?"))
    assert (published.outcome, published.reason) == ("withheld", "unsupported_language")
