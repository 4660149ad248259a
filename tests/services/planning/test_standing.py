"""How old what a site holds is, as what it gives up: the rung of the ladder, and the label of what is stale."""

from __future__ import annotations

import pytest

from tidegate.schemas import Degradation
from tidegate.schemas.artefact import Rung
from tidegate.services.planning.standing import NOTHING_IN_FORCE, degradations_of, rung_of
from tidegate.sync.rules.staleness import RUNGS, Standing

POLICY = "artefacts/kiosk/policy/safe"


def test_a_site_that_is_up_to_date_gives_up_nothing() -> None:
    assert degradations_of(Standing(rung="full")) == ()
    assert rung_of(()) == "full"


@pytest.mark.parametrize("rung", RUNGS[1:])
def test_a_rung_is_given_up_with_its_reason_and_read_back(rung: Rung) -> None:
    [made] = degradations_of(Standing(rung=rung, because=(POLICY,)))
    assert made.stage == "standing"
    assert made.reason.startswith(f"{rung}: ")
    assert "kiosk/policy/safe" in made.reason
    assert rung_of((Degradation("router", "abstain", 0.0, 0.0), made)) == rung


def test_what_is_stale_is_named_and_takes_nothing_away() -> None:
    [made] = degradations_of(Standing(rung="full", stale=(POLICY, *(f"{POLICY}{n}" for n in range(4)))))
    assert made.level == "full"
    assert made.reason.endswith("kiosk/policy/safe, kiosk/policy/safe0, kiosk/policy/safe1 and 2 more")
    assert rung_of((made,)) == "full"
    both = degradations_of(Standing(rung="evidence-only", because=(POLICY,), stale=(POLICY,)))
    assert [each.level for each in both] == ["evidence_only", "full"]
    assert rung_of(both) == "evidence-only"


def test_that_the_machine_was_off_is_part_of_the_reason() -> None:
    [made] = degradations_of(Standing(rung="closed", because=(POLICY,), is_doubtful=True))
    assert "may be older" in made.reason


def test_another_stage_s_degradation_is_no_rung() -> None:
    assert rung_of((Degradation("router", "edge_only", 0.0, 0.0), Degradation("policy", "abstain", 0.0, 0.0))) == "full"
    assert rung_of(degradations_of(NOTHING_IN_FORCE)) == "closed"
