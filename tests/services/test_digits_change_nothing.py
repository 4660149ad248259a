"""A question with personal data is read, routed and answered the same whatever digits its vault tokens were drawn."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support.active_site import prepare_site
from tests.support.edge_runtime import asked, open_runtime
from tidegate import EdgeRuntime
from tidegate.schemas import Published, Turn
from tidegate.schemas.vault_token import VAULT_TOKEN

pytestmark = pytest.mark.anyio

ASKERS = tuple(f"asker {number}" for number in range(6))
"""Each has a key of its own, from which the digits of its tokens follow."""
TALKS = (
    ("My name is Anna Kovacs, anna.kovacs@example.org. How late is the lobby open?",),
    ("Hello, this is Anna Kovacs. Are foreign coins exchanged? My number is +44 20 7946 0958.",),
    ("What does a banker's draft to DE89 3704 0044 0532 0130 00 cost?",),
    ("Ich heiße Peter Lindqvist. Wann ist die Filiale geöffnet?",),
    ("What does a replacement card cost for anna.kovacs@example.org?", "£6.", "And for peter@example.org?"),
)


@pytest.fixture(scope="module")
async def runtime(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[EdgeRuntime]:
    async with open_runtime(prepare_site(tmp_path_factory.mktemp("site"))) as opened:
        yield opened


async def ask(runtime: EdgeRuntime, talk: tuple[str, ...], asker: str, **more: Any) -> Published:
    sides: tuple[Any, Any] = ("user", "assistant")
    history = tuple(Turn(sides[at % 2], text) for at, text in enumerate(talk[:-1]))
    return await runtime.answer(asked(talk[-1], history=history, asker=asker, **more))


def without_draw(published: Published) -> tuple[object, ...]:
    """What was decided, with the tokens numbered as they appear."""
    order: dict[str, int] = {}

    def bare(text: str) -> str:
        return VAULT_TOKEN.sub(lambda token: f"<{token[1]}#{order.setdefault(token[0], len(order))}>", text)

    receipt = published.receipt
    understood = receipt.rewriting.question if receipt.rewriting else ""
    return (
        published.outcome, published.reason, bare(published.text), published.citations, receipt.route,
        receipt.checks, receipt.plan and receipt.plan.where, bare(understood),
        [(each.rule, each.verb, bare(each.reason)) for each in receipt.decisions],
    )  # fmt: skip


@pytest.mark.parametrize("talk", TALKS)
async def test_route_evidence_and_answer_are_the_same_for_every_asker(
    runtime: EdgeRuntime, talk: tuple[str, ...]
) -> None:
    found = [without_draw(await ask(runtime, talk, asker)) for asker in ASKERS]
    assert all(each == found[0] for each in found)
    assert found[0][0] == "answered"


async def test_yes_or_no_is_said_to_a_question_with_personal_data_as_to_one_without(runtime: EdgeRuntime) -> None:
    alone = await ask(runtime, ("Are foreign coins exchanged?",), "ann")
    found = await ask(runtime, ("Are foreign coins exchanged? I am at anna.kovacs@example.org.",), "ann")
    assert alone.text.startswith("No.")
    assert found.text == alone.text
