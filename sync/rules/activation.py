"""Activates a critical policy at all sites in two phases, so that no partition blocks it and no site mixes epochs.

1. An epoch has one digest and one outcome; both are stored before anything that follows from them is sent.
2. A commit is decided once every site with a live lease has voted for it; a lease that ran out is waited for no longer.
3. A site goes on with what is in force until it hears the outcome; its epoch only grows; a vote promises no more.
4. A fault of any site, or the deadline, aborts; the epoch is used up, and the next attempt has the next one.

The states are stored, so that a coordinator which was killed goes on with `recovered`. Source: Gray and Lamport,
Consensus on Transaction Commit, 2006. Next: staleness.py, for a site that hears nothing."""

from __future__ import annotations

from typing import Literal

import msgspec

from tidegate.schemas.artefact import ActivationVote, ArtefactDescriptor, DecideActivation

Phase = Literal["idle", "preparing", "committed", "aborted"]
CoordinatorEventKind = Literal["propose", "vote", "tick", "recovered"]
CoordinatorAction = Literal["store", "send-prepare", "send-decision", "ignore"]
"""In order: what is stored is durable before the next action is begun."""


class Coordinator(msgspec.Struct, frozen=True, kw_only=True):
    """The hub's side of one artefact name, as it is stored. `votes` are the sites that hold `artefact`, verified;
    `last_epoch` is the last that was ever proposed, and `in_force` the last that was committed."""

    phase: Phase = "idle"
    artefact: ArtefactDescriptor | None = None
    votes: frozenset[str] = frozenset()
    deadline_ms: int = 0
    decided_at_ms: int = 0
    last_epoch: int = 0
    in_force: int = 0


class CoordinatorEvent(msgspec.Struct, frozen=True, kw_only=True):
    """What happened at `now_ms`: an artefact was proposed, a site voted, time passed, or the process started anew.

    `leased` are the sites whose lease is live now.
    """

    kind: CoordinatorEventKind
    now_ms: int
    leased: frozenset[str] = frozenset()
    artefact: ArtefactDescriptor | None = None
    vote: ActivationVote | None = None
    timeout_ms: int = 30_000


class CoordinatorStep(msgspec.Struct, frozen=True):
    """The coordinator after an event, and what is to be done, in order."""

    coordinator: Coordinator
    actions: tuple[CoordinatorAction, ...]


_RECOVERY: dict[Phase, tuple[CoordinatorAction, ...]] = {
    "idle": ("ignore",),
    "preparing": ("send-prepare",),
    "committed": ("send-decision",),
    "aborted": ("send-decision",),
}


def step_coordinator(coordinator: Coordinator, event: CoordinatorEvent) -> CoordinatorStep:
    """What follows from an event, in any phase. An epoch that was proposed before is ignored, as is a vote for another
    epoch; a decided coordinator repeats its decision to whoever votes."""
    if event.kind == "recovered":
        return CoordinatorStep(coordinator, _RECOVERY[coordinator.phase])
    if event.kind == "propose":
        return _proposed(coordinator, event)
    if coordinator.phase != "preparing":
        repeats = event.kind == "vote" and coordinator.phase != "idle"
        return CoordinatorStep(coordinator, ("send-decision",) if repeats else ("ignore",))
    if event.kind == "vote":
        return _voted(coordinator, event)
    return _judged(coordinator, event, ("ignore",))


def decision_of(coordinator: Coordinator) -> DecideActivation | None:
    """The decision to send, of a coordinator that has made one."""
    if coordinator.artefact is None or coordinator.phase not in ("committed", "aborted"):
        return None
    return DecideActivation(
        tenant=coordinator.artefact.tenant,
        name=coordinator.artefact.name,
        epoch=coordinator.artefact.epoch,
        digest=coordinator.artefact.digest,
        outcome="commit" if coordinator.phase == "committed" else "abort",
        decided_at_ms=coordinator.decided_at_ms,
    )


class Participant(msgspec.Struct, frozen=True, kw_only=True):
    """A site's side of one artefact name, as it is stored: what is in force, and what is prepared, if anything."""

    in_force: ArtefactDescriptor | None = None
    prepared: ArtefactDescriptor | None = None

    @property
    def epoch(self) -> int:
        """The epoch of every decision that is made now; 0 before the first."""
        return self.in_force.epoch if self.in_force else 0


class ParticipantStep(msgspec.Struct, frozen=True):
    """The participant after a message, stored before anything is sent; whether readers get another epoch now, whether
    it has to fetch first what was committed without it, and whether it votes for what is prepared."""

    participant: Participant
    swaps: bool = False
    fetches: bool = False
    votes: bool = False


def prepare(participant: Participant, artefact: ArtefactDescriptor, verified: str) -> ParticipantStep:
    """A `PrepareActivation` arrived, and the bytes fetched for it have the digest `verified`.

    It votes only for what it holds, and for no epoch that is over; asked again, it votes again. What is in force stays.
    """
    if artefact.epoch <= participant.epoch or verified != artefact.digest:
        return ParticipantStep(participant)
    known = participant.prepared
    if known is not None and (known.epoch > artefact.epoch or (known.epoch, known.digest) == _key(artefact)):
        return ParticipantStep(participant, votes=known.epoch == artefact.epoch)
    if known is not None and known.epoch == artefact.epoch:
        return ParticipantStep(participant)  # two digests under one epoch: no vote for the second
    return ParticipantStep(msgspec.structs.replace(participant, prepared=artefact), votes=True)


def decide(participant: Participant, decision: DecideActivation) -> ParticipantStep:
    """A `DecideActivation` arrived, in whatever order and however often; an epoch that is over changes nothing."""
    known = participant.prepared
    is_prepared = known is not None and (known.epoch, known.digest) == (decision.epoch, decision.digest)
    if decision.outcome == "abort":
        return ParticipantStep(msgspec.structs.replace(participant, prepared=None) if is_prepared else participant)
    if decision.epoch <= participant.epoch:
        return ParticipantStep(participant)
    if not is_prepared:
        return ParticipantStep(participant, fetches=True)
    return ParticipantStep(Participant(in_force=known), swaps=True)


def split_brain_s(decided_at_ms: int, activated_at_ms: dict[str, int | None], now_ms: int) -> float:
    """Seconds for which sites decide, or decided, by an older epoch than the one that is committed; None: they do."""
    return max((max(0, (at or now_ms) - decided_at_ms) for at in activated_at_ms.values()), default=0) / 1000


def _key(artefact: ArtefactDescriptor) -> tuple[int, str]:
    return artefact.epoch, artefact.digest


def _proposed(coordinator: Coordinator, event: CoordinatorEvent) -> CoordinatorStep:
    artefact = event.artefact
    if coordinator.phase == "preparing" or artefact is None or artefact.epoch <= coordinator.last_epoch:
        return CoordinatorStep(coordinator, ("ignore",))
    after = Coordinator(
        phase="preparing",
        artefact=artefact,
        deadline_ms=event.now_ms + event.timeout_ms,
        last_epoch=artefact.epoch,
        in_force=coordinator.in_force,
    )
    return CoordinatorStep(after, ("store", "send-prepare"))


def _voted(coordinator: Coordinator, event: CoordinatorEvent) -> CoordinatorStep:
    vote, artefact = event.vote, coordinator.artefact
    if vote is None or artefact is None or (vote.name, vote.epoch) != (artefact.name, artefact.epoch):
        return CoordinatorStep(coordinator, ("ignore",))
    if vote.fault or vote.digest != artefact.digest:
        return _decided(coordinator, "aborted", event.now_ms)
    after = msgspec.structs.replace(coordinator, votes=coordinator.votes | {vote.site})
    return _judged(after, event, ("store",))


def _judged(
    coordinator: Coordinator, event: CoordinatorEvent, otherwise: tuple[CoordinatorAction, ...]
) -> CoordinatorStep:
    if event.leased <= coordinator.votes:
        return _decided(coordinator, "committed", event.now_ms)
    if event.now_ms >= coordinator.deadline_ms:
        return _decided(coordinator, "aborted", event.now_ms)
    return CoordinatorStep(coordinator, otherwise)


def _decided(coordinator: Coordinator, phase: Literal["committed", "aborted"], now_ms: int) -> CoordinatorStep:
    epoch = coordinator.last_epoch if phase == "committed" else coordinator.in_force
    after = msgspec.structs.replace(coordinator, phase=phase, decided_at_ms=now_ms, in_force=epoch)
    return CoordinatorStep(after, ("store", "send-decision"))
