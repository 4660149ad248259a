"""What was shown as final is taken back where the answer is blocked as a whole, or may only be quoted by now."""

from __future__ import annotations

from typing import Any

import pytest

from tests.services.streaming.test_log_writer import (
    LOST,
    QUESTION,
    RACE,
    WHOSE,
    approved,
    log_of,
    lost,
    partial_answer,
    published,
)
from tests.services.streaming.test_log_writer import bus as open_bus
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Approved, Published, Withheld, replace
from tidegate.services.stages.publisher.handler import PublisherPorts, publish
from tidegate.services.streaming.log_writer import AnswerLogWriter

pytestmark = pytest.mark.anyio
bus = open_bus
"""The fixture: on both buses."""


def blocked() -> Withheld:
    about: dict[str, Any] = {"stage": "policy", "language": "en", "plan": RACE, "route": "cloud", "question": QUESTION}
    return Withheld(**WHOSE, **about, reason="policy_block", text="I may not say.")


async def withdrawn(settled: Approved | Withheld, writer: AnswerLogWriter, *, may_stand: bool = True) -> Published:
    ports = PublisherPorts(
        writer.committed_part,
        writer.close,
        lambda _: None,
        may_stand=lambda _settled, _committed: may_stand,
        withdraw=writer.withdraw,
    )
    (answer,) = await publish(settled, ports, ())
    assert isinstance(answer, Published)
    return answer


async def test_a_blocked_answer_is_stopped_and_what_was_shown_of_it_is_withdrawn_with_the_reason(bus: Any) -> None:
    log_writer = AnswerLogWriter(bus)
    await log_writer.on_partial("", partial_answer("The fee is 5."))
    found = [await withdrawn(blocked(), log_writer)]
    found.append(await withdrawn(blocked(), AnswerLogWriter(bus)))  # the first was killed before it could publish
    assert found[0] == found[1]
    assert (found[0].outcome, found[0].reason, found[0].text) == ("withheld", "policy_block", "I may not say.")
    assert (found[0].receipt.withdrawn_chars, found[0].receipt.committed_chars) == (13, 0)
    lines = [(line.state, line.epoch, line.text, line.reason, line.withdrawn) for line in await log_of(bus)]
    assert lines == [
        ("committed", 0, "The fee is 5.", "", 0),
        ("withdrawn", 2, "I may not say.", "policy_block", 13),
    ]
    await log_writer.on_partial("", partial_answer("The fee is 5. You will be rich."))
    assert len(await log_of(bus)) == 2


@pytest.mark.parametrize("settled", [approved("The fee is 5."), lost()])
async def test_what_was_shown_before_a_switch_is_withdrawn_whoever_was_lost(
    bus: Any, settled: Approved | Withheld
) -> None:
    writer = AnswerLogWriter(bus)
    await writer.on_partial("", partial_answer("You pay five."))
    assert (await withdrawn(settled, AnswerLogWriter(MemoryBus("site1")), may_stand=False)).receipt.withdrawn_chars == 0
    answer = await withdrawn(settled, writer, may_stand=False)
    assert answer.text != "You pay five."
    assert answer.receipt.withdrawn_chars == 13
    assert (await log_of(bus))[-1].reason == "evidence_only"


async def test_a_log_that_ended_before_is_left_as_it_is_and_the_answer_says_that_it_may_not_stand(bus: Any) -> None:
    writer = AnswerLogWriter(bus)
    await writer.on_partial("", partial_answer("You pay five."))
    await published(approved("You pay five."), writer)
    before = await log_of(bus)
    answer = await withdrawn(lost(), AnswerLogWriter(bus), may_stand=False)
    assert (answer.text, answer.receipt.withdrawn_chars) == ("Lost.", 13)
    assert await log_of(bus) == before


async def test_what_the_edge_may_not_say_takes_nothing_back_of_what_the_cloud_has_said(bus: Any) -> None:
    writer = AnswerLogWriter(bus)
    await writer.on_partial("", partial_answer("First, block the card."))
    own = replace(blocked(), route="edge", degradations=(LOST,))
    assert (await withdrawn(own, writer)).text == "First, block the card."
