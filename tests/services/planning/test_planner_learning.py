"""What the planner does with what was learned: whether a draft is shipped, as a table, and what it then forecasts."""

from __future__ import annotations

import itertools
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.plans import CALM, TABLE, TENANT, cloud, plan
from tidegate.schemas import Mode, Speculation, Writing
from tidegate.services.planning.answer_class import BANDS, EVIDENCE_FROM, AnswerClass, band_of
from tidegate.services.planning.config import PlannerConfig, Signals
from tidegate.services.planning.draft_ledger import LEAST_SEEN, DraftLedger, explores
from tidegate.services.planning.learned_times import Correction
from tidegate.services.planning.planner import with_evidence

MODEL = "target@1"
OURS = AnswerClass("cloud", TENANT, MODEL, "grounded", "cards")
EXPLORING = next(rid for rid in map(str, itertools.count(1)) if explores(rid))
USUAL = next(rid for rid in map(str, itertools.count(1)) if not explores(rid))
HELPED = Speculation(steps=10, tokens=40, draft_bytes=300)
IDLE = Speculation(steps=40, tokens=40, draft_bytes=300)
SHORT = Speculation(steps=1, tokens=30, forced=29)
HUB = cloud(model=MODEL, writes=("grounded", "free"))
everywhere = settings(derandomize=True, max_examples=60)


def seen(*spent: Speculation, answers: AnswerClass = OURS, signals: Signals = HUB) -> Signals:
    """The signals of a site that had these answers, each often enough."""
    ledger = DraftLedger()
    for each in spent:
        for _ in range(LEAST_SEEN):
            ledger.observe(answers, each)
    return replace(signals, records=ledger.records)


@pytest.mark.parametrize(
    ("signals", "writing", "rid", "ships", "says"),
    [
        pytest.param(HUB, "grounded", USUAL, True, "drafts shipped", id="nothing is known: as computed"),
        pytest.param(HUB, "grounded", EXPLORING, False, "to see what drafts save", id="but for looking"),
        pytest.param(HUB, "quote", USUAL, False, "no step", id="no model is called for a quotation"),
        pytest.param(HUB, "quote", EXPLORING, False, "no step", id="and there is nothing to look for"),
        pytest.param(HUB, "free", USUAL, True, "drafts shipped", id="any way in which it writes"),
        pytest.param(cloud(model=MODEL, writes=()), "grounded", USUAL, False, "no step", id="the hub may only quote"),
        pytest.param(
            cloud(model=MODEL, writes=("quote",)), "grounded", USUAL, True, "drafts shipped", id="it only quotes"
        ),
        pytest.param(cloud(model=MODEL), "quote", USUAL, True, "drafts shipped", id="an older hub does not say"),
        pytest.param(seen(HELPED), "grounded", USUAL, True, "drafts shipped", id="it pays"),
        pytest.param(seen(HELPED), "grounded", EXPLORING, False, "to see", id="it pays, but for looking"),
        pytest.param(seen(IDLE), "grounded", USUAL, False, "0.0 of 40 steps, by the ledger", id="it does not pay"),
        pytest.param(seen(IDLE), "grounded", EXPLORING, True, "drafts shipped", id="it does not, but to look again"),
        pytest.param(seen(IDLE, HELPED), "grounded", USUAL, True, "drafts shipped", id="it came back"),
        pytest.param(seen(SHORT), "grounded", USUAL, False, "", id="answers of one step"),
        pytest.param(
            seen(IDLE, answers=OURS._replace(tenant="other")), "grounded", USUAL, True, "", id="another tenant's"
        ),
        pytest.param(
            seen(IDLE, answers=OURS._replace(model="target@2")), "grounded", USUAL, True, "", id="another model's"
        ),
        pytest.param(
            seen(IDLE, answers=OURS._replace(name="fees")),
            "grounded",
            USUAL,
            False,
            "by the ledger",
            id="other classes'",
        ),
    ],
)
@pytest.mark.parametrize("can_retract", [False, True])
def test_whether_a_draft_is_shipped(
    signals: Signals, writing: Writing, rid: str, ships: bool, says: str, can_retract: bool
) -> None:
    made = plan(signals, TABLE, writing=writing, rid=rid, can_retract=can_retract)
    modes: dict[bool, Mode] = {True: "race", False: "cloud_with_shipped_draft" if ships else "cloud_stream"}
    assert made.mode == modes[can_retract]
    assert (made.draft_length > 0) is ships
    assert says in made.reason


@pytest.mark.parametrize("mode", ["cloud_with_shipped_draft", "race", "remote_speculation"])
def test_a_mode_that_is_configured_ships_whatever_the_ledger_says(mode: Mode) -> None:
    made = plan(seen(IDLE), PlannerConfig(mode=mode), writing="grounded", rid=USUAL)
    assert made.mode == mode
    assert made.draft_length > 0


factors = st.floats(0.01, 50.0)


@given(factors, factors, st.floats(0, 500), st.booleans())
@everywhere
def test_a_forecast_is_the_link_and_what_was_learned_of_the_rest_and_keeps_the_order_of_the_modes(
    factor: float, own: float, rtt_ms: float, can_retract: bool
) -> None:
    signals = replace(HUB, rtt_ms=rtt_ms)
    edge = AnswerClass("edge", TENANT, "reader", "quote", "cards")
    known = replace(signals, corrections={OURS: Correction(factor, 9), edge: Correction(own, 3)})
    plain, made = (plan(each, TABLE, 9000, writing="grounded", can_retract=can_retract) for each in (signals, known))
    assert made.basis is not None
    assert (made.basis.cloud_seen, made.basis.edge_seen) == (9, 3)
    assert (made.mode, made.draft_length) == (plain.mode, plain.draft_length), "the choice rests on the closed forms"
    assert made.forecast_ms["edge_only"] == pytest.approx(plain.forecast_ms["edge_only"] * own, abs=0.2, rel=0.01)
    for mode in plain.forecast_ms.keys() - {"edge_only"}:
        rest_ms = plain.forecast_ms[mode] - rtt_ms
        assert made.forecast_ms[mode] == pytest.approx(rtt_ms + rest_ms * factor, abs=0.2, rel=0.01)
    in_order = sorted(plain.forecast_ms.keys() - {"edge_only"}, key=plain.forecast_ms.__getitem__)
    finals = [made.forecast_ms[mode] for mode in in_order]
    assert finals == sorted(finals)


@given(st.floats(0, 1), factors, factors)
@everywhere
def test_an_escalation_is_forecast_by_what_the_site_found(confidence: float, of_all: float, of_band: float) -> None:
    band = band_of(confidence)
    known = {OURS: Correction(of_all, 9), OURS._replace(evidence=band): Correction(of_band, 5)}
    made = plan(replace(HUB, corrections=known), writing="grounded")
    found = with_evidence(made, confidence)
    expected = plan(replace(HUB, corrections={OURS: Correction(of_band, 9)}), writing="grounded")
    assert found.basis is not None
    assert found.basis.evidence == band
    assert found.forecast_ms["edge_only"] == made.forecast_ms["edge_only"]
    assert found.forecast_ms["cloud_stream"] == pytest.approx(expected.forecast_ms["cloud_stream"], abs=2, rel=0.02)
    assert with_evidence(found, confidence).basis == found.basis


def test_every_confidence_has_a_band_and_a_surer_site_no_lower_one() -> None:
    bands = [band_of(confidence / 100) for confidence in range(101)]
    assert bands == sorted(bands)
    assert set(bands) == set(BANDS)
    assert [band_of(edge) - band_of(edge - 1e-9) for edge in EVIDENCE_FROM] == [1] * len(EVIDENCE_FROM)


def test_a_plan_of_an_older_site_has_no_basis_and_stays_as_it_is() -> None:
    old = msgspec.structs.replace(plan(CALM), basis=None)
    assert with_evidence(old, 0.5) is old
