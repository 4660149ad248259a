"""Two phases that nothing blocks: the coordinator is killed at every step, messages are lost, sites are cut off."""

from __future__ import annotations

from itertools import product
from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.schemas import ActivationVote, ArtefactDescriptor, DecideActivation, StalenessBudget
from tidegate.sync.rules.activation import (
    Coordinator,
    CoordinatorEvent,
    CoordinatorEventKind,
    Participant,
    Phase,
    decide,
    decision_of,
    prepare,
    split_brain_s,
    step_coordinator,
)
from tidegate.sync.rules.staleness import HeldArtefact, TimeJudgement, standing

SITES = ("site1", "site2", "site3")
ALL = frozenset(SITES)
BUDGET = StalenessBudget(soft_s=60, hard_s=600)


def policy(epoch: int, digest: str = "") -> ArtefactDescriptor:
    return ArtefactDescriptor(
        tenant="kiosk",
        kind="policy",
        name="default",
        digest=digest or f"{epoch:064x}",
        size=1,
        epoch=epoch,
        budget=BUDGET,
        is_critical=True,
    )


def vote(site: str, epoch: int, digest: str = "", fault: str = "") -> ActivationVote:
    return ActivationVote(
        tenant="kiosk", name="default", site=site, epoch=epoch, digest=digest or f"{epoch:064x}", fault=fault
    )


class Rollout:
    """A hub that keeps what it stored, sites that do the same, and a network that forgets what the test says."""

    def __init__(self, kill_before: int = -1) -> None:
        self.stored = self.running = Coordinator()
        self.sites = {site: Participant(in_force=policy(1)) for site in SITES}
        self.cut: set[str] = set()
        self.leased, self.now_ms, self.begun, self.kill_before = set(SITES), 0, 0, kill_before
        self.outcomes: dict[int, set[tuple[str, str]]] = {}

    def hub(self, kind: CoordinatorEventKind, **more: object) -> None:
        event = msgspec.convert(
            {"kind": kind, "now_ms": self.now_ms, "leased": self.leased, **more}, CoordinatorEvent
        )  # fmt: skip
        step = step_coordinator(self.running, event)
        if step.coordinator.phase == "committed" != self.running.phase:
            assert self.leased <= step.coordinator.votes, "no site with a lease is left behind"
        self.running = step.coordinator
        for action in step.actions:
            self.begun += 1
            if self.begun == self.kill_before:  # what is not stored is lost, and what is not sent too
                self.running = self.stored
                self.hub("recovered")
                return
            if action == "store":
                self.stored = self.running
            elif action == "send-prepare":
                assert self.stored == self.running, "stored before it is sent"
                self.send_prepare()
            elif action == "send-decision":
                assert self.stored == self.running, "stored before it is sent"
                self.send_decision()

    def send_prepare(self) -> None:
        artefact = self.running.artefact
        assert artefact
        for site in SITES:
            if site not in self.cut:
                step = prepare(self.sites[site], artefact, artefact.digest)
                assert step.participant.in_force == self.sites[site].in_force, "a vote changes no answer"
                self.sites[site] = step.participant
                if step.votes and self.running.phase == "preparing":
                    self.hub("vote", vote=vote(site, artefact.epoch, artefact.digest))

    def send_decision(self) -> None:
        decision = decision_of(self.running)
        assert decision
        self.outcomes.setdefault(decision.epoch, set()).add((decision.digest, decision.outcome))
        for site in SITES:
            if site not in self.cut:
                self.hear(site, decision)

    def hear(self, site: str, decision: DecideActivation) -> None:
        before = self.sites[site]
        step = decide(before, decision)
        if step.fetches:
            fetched = prepare(step.participant, policy(decision.epoch, decision.digest), decision.digest)
            step = decide(fetched.participant, decision)
        self.sites[site] = step.participant
        assert step.participant.epoch >= before.epoch

    def heal(self) -> None:
        """The link is back: every site hears the last decision, as the stream has it, and renews its lease."""
        self.cut.clear()
        self.leased = set(SITES)
        self.hub("recovered")
        self.now_ms += 60_000
        self.hub("tick")
        self.hub("recovered")

    def phase(self) -> Phase:
        return self.stored.phase

    def epochs(self) -> set[int]:
        return {site.epoch for site in self.sites.values()}


@pytest.mark.parametrize("kill_before", range(1, 13))
def test_a_coordinator_that_is_killed_before_any_step_ends_with_one_epoch(kill_before: int) -> None:
    rollout = Rollout(kill_before)
    rollout.hub("propose", artefact=policy(2))
    if rollout.phase() == "idle":  # killed before it was stored: nobody has heard of it, it is proposed again
        assert rollout.epochs() == {1}
        rollout.hub("propose", artefact=policy(2))
    rollout.heal()
    assert rollout.epochs() == {2}
    assert rollout.phase() == "committed"
    assert rollout.outcomes == {2: {(policy(2).digest, "commit")}}


def test_a_silent_site_is_waited_for_until_its_lease_ends_and_keeps_the_old_epoch() -> None:
    rollout = Rollout()
    rollout.cut.add("site3")
    rollout.hub("propose", artefact=policy(2))
    assert rollout.phase() == "preparing"
    rollout.leased.remove("site3")
    rollout.now_ms = 20_000
    rollout.hub("tick")
    assert rollout.phase() == "committed"
    assert {site: each.epoch for site, each in rollout.sites.items()} == {"site1": 2, "site2": 2, "site3": 1}
    old = HeldArtefact(name="policy", budget=BUDGET, current_at_ms=0)
    assert standing([old], TimeJudgement(trusted_ms=599_999), is_linked=False).rung == "local-only"
    assert standing([old], TimeJudgement(trusted_ms=600_000), is_linked=False).rung == "evidence-only"
    rollout.heal()
    assert rollout.epochs() == {2}, "it fetches what was committed without it"


def test_a_site_with_a_live_lease_that_never_votes_does_not_block_for_ever() -> None:
    rollout = Rollout()
    rollout.cut.add("site3")
    rollout.hub("propose", artefact=policy(2))
    rollout.now_ms = 29_999
    rollout.hub("tick")
    assert rollout.phase() == "preparing"
    rollout.now_ms = 30_000
    rollout.hub("tick")
    assert rollout.phase() == "aborted"
    assert rollout.epochs() == {1}
    assert all(site.prepared is None for name, site in rollout.sites.items() if name != "site3")
    rollout.cut.clear()
    rollout.hub("propose", artefact=policy(3))
    assert rollout.epochs() == {3}
    assert rollout.stored.in_force == 3
    rollout.cut.update(SITES)
    rollout.hub("propose", artefact=policy(4))
    assert rollout.stored.in_force == 3, "until it is decided"


@pytest.mark.parametrize("bad", [vote("site1", 2, fault="disk full"), vote("site1", 2, digest="f" * 64)])
def test_a_site_that_does_not_hold_it_aborts_and_the_epoch_is_used_up(bad: ActivationVote) -> None:
    rollout = Rollout()
    rollout.cut.update(SITES)
    rollout.hub("propose", artefact=policy(2))
    rollout.hub("vote", vote=bad)
    assert rollout.phase() == "aborted"
    assert rollout.stored.in_force == 0
    rollout.hub("propose", artefact=policy(2, "e" * 64))
    assert rollout.phase() == "aborted", "an epoch never has two digests"


def coordinator(phase: Phase) -> Coordinator:
    artefact = None if phase == "idle" else policy(2)
    return Coordinator(phase=phase, artefact=artefact, deadline_ms=9, last_epoch=0 if phase == "idle" else 2)


@pytest.mark.parametrize(("phase", "kind"), [*product(get_args(Phase), get_args(CoordinatorEventKind))])
def test_every_event_has_an_answer_in_every_phase(phase: Phase, kind: CoordinatorEventKind) -> None:
    event = CoordinatorEvent(kind=kind, now_ms=1, leased=ALL, artefact=policy(2), vote=vote("site1", 2))
    expected = {
        ("idle", "propose"): "preparing store send-prepare",
        ("preparing", "recovered"): "preparing send-prepare",
        ("preparing", "vote"): "preparing store",
        ("committed", "recovered"): "committed send-decision",
        ("committed", "vote"): "committed send-decision",
        ("aborted", "recovered"): "aborted send-decision",
        ("aborted", "vote"): "aborted send-decision",
    }.get((phase, kind), f"{phase} ignore")
    step = step_coordinator(coordinator(phase), event)
    assert f"{step.coordinator.phase} {' '.join(step.actions)}" == expected


@pytest.mark.parametrize("other", [vote("site1", 3), msgspec.structs.replace(vote("site1", 2), name="other")])
def test_a_vote_for_something_else_counts_for_nothing(other: ActivationVote) -> None:
    preparing = coordinator("preparing")
    step = step_coordinator(preparing, CoordinatorEvent(kind="vote", now_ms=1, leased=ALL, vote=other))
    assert step.coordinator == preparing


def test_a_site_votes_only_for_what_it_holds_and_for_one_digest_of_an_epoch() -> None:
    site = Participant(in_force=policy(2))
    assert not prepare(site, policy(3), "f" * 64).votes, "other bytes"
    assert not prepare(site, policy(2), policy(2).digest).votes, "an epoch that is over"
    held = prepare(site, policy(3), policy(3).digest)
    assert held.votes
    assert prepare(held.participant, policy(3), policy(3).digest) == held, "asked again, it votes again"
    assert not prepare(held.participant, policy(3, "e" * 64), "e" * 64).votes
    newer = prepare(held.participant, policy(4), policy(4).digest)
    assert newer.votes
    assert not prepare(newer.participant, policy(3), policy(3).digest).votes


def decided(epoch: int, outcome: str = "commit") -> DecideActivation:
    return msgspec.convert(
        {"tenant": "kiosk", "name": "default", "epoch": epoch, "digest": f"{epoch:064x}", "outcome": outcome},
        DecideActivation,
    )


def test_a_site_swaps_once_and_never_back() -> None:
    held = prepare(Participant(in_force=policy(2)), policy(3), policy(3).digest).participant
    swapped = decide(held, decided(3))
    assert (swapped.swaps, swapped.participant) == (True, Participant(in_force=policy(3)))
    for late in (decided(3), decided(2), decided(3, "abort")):
        again = decide(swapped.participant, late)
        assert (again.swaps, again.fetches, again.participant) == (False, False, swapped.participant)
    assert decide(swapped.participant, decided(4)).fetches
    assert decide(held, decided(3, "abort")).participant == Participant(in_force=policy(2))
    assert decide(held, decided(4, "abort")).participant == held


def test_a_split_brain_is_measured_from_the_decision_to_the_last_site() -> None:
    assert split_brain_s(1000, {"site1": 1200, "site2": 3000}, 9000) == 2.0
    assert split_brain_s(1000, {"site1": 1200, "site2": None}, 9000) == 8.0
    assert split_brain_s(1000, {}, 9000) == 0.0


@given(
    st.lists(
        st.tuples(
            st.sampled_from(("cut", "join", "expire", "renew", "tick", "kill", "propose")), st.sampled_from(SITES)
        ),
        max_size=25,
    )
)
def test_whatever_is_cut_or_killed_all_sites_end_with_the_epoch_in_force(steps: list[tuple[str, str]]) -> None:
    rollout, epoch = Rollout(), 1
    for what, site in steps:
        if what == "propose":
            epoch += 1
            rollout.hub("propose", artefact=policy(epoch))
        elif what == "kill":
            rollout.kill_before = rollout.begun + 1 + SITES.index(site)
        elif what == "tick":
            rollout.now_ms += 20_000
            rollout.hub("tick")
        else:
            group, joins = (
                (rollout.cut, what == "cut") if what in ("cut", "join") else (rollout.leased, what == "renew")
            )
            (group.add if joins else group.discard)(site)
        assert rollout.epochs() <= {1, *(each for each, ends in rollout.outcomes.items() if "commit" in str(ends))}
    rollout.heal()
    assert rollout.phase() != "preparing"
    assert all(len(ends) == 1 for ends in rollout.outcomes.values()), "one digest and one outcome"
    if rollout.phase() == "committed":
        assert rollout.epochs() == {rollout.stored.in_force}
    else:
        assert max(rollout.epochs()) <= max(1, rollout.stored.in_force)
