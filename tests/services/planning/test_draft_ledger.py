"""The ledger of drafts: what is entered, when a draft earns its keep, and that a class can come back."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidegate.schemas import Speculation
from tidegate.services.planning.answer_class import AnswerClass
from tidegate.services.planning.draft_ledger import (
    EXPLORED,
    LEAST_SEEN,
    DraftLedger,
    DraftRecord,
    LedgerLine,
    drafts_pay,
    explores,
    record_of,
)

CARDS = AnswerClass("cloud", "kiosk", "target@1", "grounded", "cards")
WIDE = CARDS._replace(name="")
everywhere = settings(derandomize=True, max_examples=40)
STEP_MS, WORTH_MS = 20.0, 5.0


def spent(steps: int, tokens: int, *, sent: int = 0, **more: int) -> Speculation:
    return Speculation(steps=steps, tokens=tokens, draft_bytes=sent, model="target@1", **more)  # type: ignore[arg-type]


def record(shipped: list[Speculation], plain: list[Speculation]) -> DraftRecord:
    ledger = DraftLedger()
    for each in (*shipped, *plain):
        ledger.observe(CARDS, each)
    return record_of(CARDS, ledger.records)


HELPED = spent(10, 40, sent=300, drafted=40, accepted=30)
IDLE = spent(40, 40, sent=300, drafted=20)
ALONE = spent(40, 40)
ALONE_AS_GOOD = spent(10, 40, drafted=40, accepted=30)
QUOTED = spent(2, 40, sent=300, forced=38)
UNCALLED = spent(0, 0, sent=300)


@pytest.mark.parametrize(
    ("shipped", "plain", "step_ms", "ms_per_byte", "pays"),
    [
        pytest.param([], [], STEP_MS, 0.0, None, id="nothing is known"),
        pytest.param([HELPED] * (LEAST_SEEN - 1), [], STEP_MS, 0.0, None, id="too little is known"),
        pytest.param([HELPED] * LEAST_SEEN, [], STEP_MS, 0.0, True, id="three steps in four are saved"),
        pytest.param([HELPED] * LEAST_SEEN, [ALONE] * LEAST_SEEN, STEP_MS, 0.0, True, id="and none without a draft"),
        pytest.param(
            [HELPED] * LEAST_SEEN, [ALONE_AS_GOOD] * LEAST_SEEN, STEP_MS, 0.0, False, id="as many without one"
        ),
        pytest.param([HELPED] * LEAST_SEEN, [ALONE_AS_GOOD] * 3, STEP_MS, 0.0, True, id="which three do not prove"),
        pytest.param([IDLE] * LEAST_SEEN, [], STEP_MS, 0.0, False, id="nothing is accepted"),
        pytest.param([QUOTED] * LEAST_SEEN, [], STEP_MS, 0.0, False, id="all but two tokens are forced"),
        pytest.param([UNCALLED] * LEAST_SEEN, [], STEP_MS, 0.0, False, id="no model is called"),
        pytest.param([UNCALLED] * 30 + [HELPED] * 30, [], STEP_MS, 0.0, True, id="it was not called long ago"),
        pytest.param([HELPED] * 30 + [IDLE] * 60, [], STEP_MS, 0.0, False, id="it helped long ago"),
        pytest.param([HELPED] * LEAST_SEEN, [], 0.1, 0.0, False, id="steps are too cheap to save"),
        pytest.param([HELPED] * LEAST_SEEN, [], STEP_MS, 8.0, False, id="the uplink is too thin"),
    ],
)
def test_drafts_pay_by_what_it_saves_beyond_no_draft(
    shipped: list[Speculation], plain: list[Speculation], step_ms: float, ms_per_byte: float, pays: bool | None
) -> None:
    assert drafts_pay(record(shipped, plain), step_ms, ms_per_byte, WORTH_MS) is pays


@st.composite
def an_answer(draw: st.DrawFn) -> Speculation:
    """What an answer can have taken, as a target counts it."""
    chosen, forced = draw(st.integers(1, 160)), draw(st.integers(0, 60))
    steps = draw(st.integers(1, chosen))
    return spent(steps, chosen + forced, forced=forced, sent=draw(st.sampled_from([0, 40, 400])))


answers = an_answer()


@given(st.lists(answers, max_size=60), st.floats(0.1, 100), st.floats(0, 10))
@everywhere
def test_dearer_bytes_never_turn_drafting_on_and_dearer_steps_never_off(
    entered: list[Speculation], step_ms: float, ms_per_byte: float
) -> None:
    seen = record(entered, [])
    pays = drafts_pay(seen, step_ms, ms_per_byte, WORTH_MS)
    assert not (drafts_pay(seen, step_ms, ms_per_byte + 1, WORTH_MS) and pays is False)
    assert not (drafts_pay(seen, 2 * step_ms, ms_per_byte, WORTH_MS) is False and pays)


@given(st.lists(answers, max_size=60))
@everywhere
def test_the_account_adds_up_whatever_is_entered_and_survives_a_restart(entered: list[Speculation]) -> None:
    ledger = DraftLedger()
    for each in entered:
        ledger.observe(CARDS, each)
        kept = msgspec.json.decode(msgspec.json.encode(ledger.lines), type=tuple[LedgerLine, ...])
        assert kept == ledger.lines
        ledger = DraftLedger(kept)
    if not entered:
        assert ledger.lines == ()
        return
    for line in ledger.lines:
        assert line.answers in (CARDS, WIDE)
        assert line.count == len(entered)
        assert line.shipped == sum(each.draft_bytes > 0 for each in entered)
        assert line.saved == sum(each.saved for each in entered)
        assert line.draft_bytes == sum(each.draft_bytes for each in entered)
        assert line.record.seen == len(entered)
        assert 0.0 <= line.record.shipped.steps_share <= 1.0


def test_counts_that_contradict_each_other_are_left_out() -> None:
    ledger = DraftLedger()
    ledger.observe(CARDS, spent(3, 10, drafted=4, accepted=5))
    ledger.observe(CARDS, spent(3, 10, forced=11))
    assert ledger.lines == ()


def test_the_number_of_accounts_is_bounded_and_a_class_of_little_is_judged_by_the_wider_one() -> None:
    ledger = DraftLedger(classes=4)
    for number in range(20):
        ledger.observe(CARDS._replace(name=f"intent{number}"), IDLE)
    assert len(ledger.lines) == 4
    new = record_of(CARDS._replace(name="never seen"), ledger.records)
    assert drafts_pay(new, STEP_MS, 0.0, WORTH_MS) is False
    assert record_of(CARDS._replace(tenant="other"), ledger.records) == DraftRecord()


def test_one_request_in_sixteen_is_planned_against_the_verdict_and_always_the_same_ones() -> None:
    rids = [f"request-{number}" for number in range(16_000)]
    explored = [rid for rid in rids if explores(rid)]
    assert len(explored) == pytest.approx(len(rids) / EXPLORED, rel=0.1)
    assert explored == [rid for rid in rids if explores(rid)]
    assert not explores("")


def test_bytes_for_each_accepted_token_are_told_where_there_are_any() -> None:
    assert LedgerLine(answers=CARDS).bytes_per_accepted is None
    line = LedgerLine(answers=CARDS)
    line.enter(HELPED)
    line.enter(UNCALLED)
    assert (line.bytes_per_accepted, line.wasted, line.uncalled) == (20.0, 10, 1)
