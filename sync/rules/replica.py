"""The life of a replica of one collection at one site: every state, every event, and what the shell does then.

1. Nothing is applied or installed in `fenced` or `revoked`, and nothing leaves `revoked`.
2. The position only grows, by epoch and index; only an empty disk (`wiped`) takes it back.
3. A delta is applied at the next index of the same epoch only: no hole is ever skipped.
4. Readers get a generation only once it is whole: after a snapshot was verified, or the log read to its end.
5. The last good generation is kept, whatever happens to its successor, until the disk is empty.
6. Without a lease nothing of a sensitive collection is fetched, applied or installed.
7. A replica is fenced as long as any fence stands; each is lifted by its own event only.
8. Every fence, every refused snapshot and every drift is an alarm.

Next: plan.py, which tells the events apart; counters.py and merkle.py, which find the others."""

from __future__ import annotations

from typing import Literal, get_args

import msgspec

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.sync import LogPosition

ReplicaState = Literal["empty", "restoring", "following", "lagging", "repairing", "fenced", "revoked"]
ReplicaEventKind = Literal[
    "snapshot-needed",
    "snapshot-verified",
    "snapshot-refused",
    "delta-next",
    "delta-duplicate",
    "hole-found",
    "fell-behind",
    "caught-up",
    "epoch-begun",
    "origin-rolled-back",
    "drift-found",
    "repair-done",
    "repair-failed",
    "counter-went-back",
    "readmitted",
    "lease-granted",
    "lease-expired",
    "wiped",
    "revoked",
]
ReplicaAction = Literal[
    "fetch-snapshot", "fetch-tail", "compare", "install", "apply", "ignore", "plan", "hold", "discard", "alarm"
]  # fmt: skip
"""`install`: join the snapshot, store it with its position, swap it in for readers. `apply`: the same with one delta.
`compare`: begin the dialogue of merkle.py. `plan`: ask plan.py anew. `hold`: stop reading the log. `discard`: what was
held is gone."""
Fence = Literal["origin-rolled-back", "counter-went-back"]
EVENTS: tuple[ReplicaEventKind, ...] = get_args(ReplicaEventKind)
NEEDS_LEASE = frozenset({"fetch-snapshot", "fetch-tail", "compare", "install", "apply"})
LIFTED_BY: dict[ReplicaEventKind, Fence] = {
    "epoch-begun": "origin-rolled-back",
    "readmitted": "counter-went-back",
}

_TABLE = """
                  | empty            | restoring            | following       | lagging         | repairing       | fenced
snapshot-needed   | restoring @      | restoring @          | restoring @     | restoring @     | restoring @     | -
snapshot-verified | lagging install  | lagging install plan | lagging install | lagging install | lagging install | - alarm
snapshot-refused  | - alarm          | - alarm @            | - alarm         | - alarm         | - alarm         | - alarm
delta-next        | lagging apply    | -                    | - apply         | - apply         | - apply         | -
delta-duplicate   | -                | -                    | -               | -               | -               | -
hole-found        | - plan           | -                    | lagging tail    | - tail          | - tail          | -
fell-behind       | - plan           | -                    | lagging tail    | - tail          | -               | -
caught-up         | following        | -                    | -               | following       | -               | -
epoch-begun       | restoring @      | restoring @          | restoring @     | restoring @     | restoring @     | restoring @
origin-rolled-back| fenced hold !    | fenced hold !        | fenced hold !   | fenced hold !   | fenced hold !   | - !
drift-found       | -                | -                    | repairing cmp ! | repairing cmp ! | - cmp !         | - !
repair-done       | -                | -                    | -               | -               | lagging plan    | -
repair-failed     | -                | -                    | -               | -               | restoring @ !   | -
counter-went-back | fenced hold !    | fenced hold !        | fenced hold !   | fenced hold !   | fenced hold !   | - !
readmitted        | - plan           | -                    | - plan          | - plan          | -               | restoring @
lease-granted     | - plan           | - @                  | - plan          | - plan          | - cmp           | -
lease-expired     | - hold           | - hold               | - hold          | - hold          | - hold          | -
wiped             | - plan           | restoring discard @  | restoring discard @ ! | restoring discard @ ! | restoring discard @ ! | - discard !
revoked           | revoked hold !   | revoked hold !       | revoked hold !  | revoked hold !  | revoked hold !  | revoked hold !
"""  # noqa: E501 - a table is read in columns
_SHORT: dict[str, ReplicaAction] = {"@": "fetch-snapshot", "!": "alarm", "tail": "fetch-tail", "cmp": "compare"}


class ReplicaCell(msgspec.Struct, frozen=True, array_like=True):
    """What an event does in a state: the next state, and what the shell does, in order."""

    state: ReplicaState
    actions: tuple[ReplicaAction, ...]


class UnknownEventError(TidegateError):
    """An event lacks the position that it is about."""

    hint = "pass the position of the snapshot or of the delta"


class ReplicaEvent(msgspec.Struct, frozen=True):
    """Something that the shell saw; `position` is that of the snapshot or of the delta, where it is about one."""

    kind: ReplicaEventKind
    position: LogPosition | None = None


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """A replica as it is stored: its state and position, the number of its last good generation (0: none is served),
    whether the site has a lease, whether the collection needs one, and the fences that stand."""

    state: ReplicaState = "empty"
    position: LogPosition | None = None
    generation: int = 0
    has_lease: bool = False
    is_sensitive: bool = True
    fences: tuple[Fence, ...] = ()

    @property
    def may_read(self) -> bool:
        """Whether it may fetch and apply: a lease is there, or not needed."""
        return self.has_lease or not self.is_sensitive


class Step(msgspec.Struct, frozen=True):
    """The replica after an event, to be stored before or with what is done, and what is to be done, in order."""

    replica: Replica
    actions: tuple[ReplicaAction, ...]


def _cells() -> dict[tuple[ReplicaState, ReplicaEventKind], ReplicaCell]:
    header, *rows = [[cell.strip() for cell in line.split("|")] for line in _TABLE.strip("\n").splitlines()]
    cells: dict[tuple[ReplicaState, ReplicaEventKind], ReplicaCell] = {}
    for event, *columns in rows:
        for state, cell in zip(header[1:], columns, strict=True):
            after, *actions = cell.split()
            spelt = [_SHORT.get(action, action) for action in actions] or ["ignore"]
            following = state if after == "-" else after
            key = msgspec.convert((state, event), tuple[ReplicaState, ReplicaEventKind])
            cells[key] = msgspec.convert((following, spelt), ReplicaCell)
    return cells | {("revoked", event): ReplicaCell("revoked", ("ignore",)) for event in EVENTS}


TABLE: dict[tuple[ReplicaState, ReplicaEventKind], ReplicaCell] = _cells()
"""Every state by every event."""


def step(replica: Replica, event: ReplicaEvent) -> Step:
    """What follows from an event; total, and checked against the numbered invariants by the tests.

    An event that claims more than its position bears out is what it really is: a delta that is not the next one is a
    duplicate or a hole, a verified snapshot of before the position is refused. Raises `UnknownEventError`.
    """
    if replica.state == "revoked":
        return Step(replica, ("ignore",))
    kind = _real_kind(replica, event)
    cell = TABLE[replica.state, kind]
    has_lease = kind == "lease-granted" or (replica.has_lease and kind not in ("lease-expired", "revoked"))
    after = msgspec.structs.replace(replica, has_lease=has_lease)
    if not after.may_read and NEEDS_LEASE & set(cell.actions):
        kept = ("hold", *(action for action in cell.actions if action not in NEEDS_LEASE))
        if kind in ("snapshot-verified", "delta-next"):  # they are fetched again once there is a lease
            return Step(after, kept)
        cell = ReplicaCell(cell.state, kept)
    fences = _fences(replica, kind)
    if replica.state == "fenced" and fences and cell.state not in ("fenced", "revoked"):
        return Step(msgspec.structs.replace(after, fences=fences), ("ignore",))
    return Step(_moved(after, cell, event, fences), cell.actions)


def _real_kind(replica: Replica, event: ReplicaEvent) -> ReplicaEventKind:
    if event.kind not in ("delta-next", "snapshot-verified"):
        return event.kind
    if event.position is None:
        raise UnknownEventError(f"{event.kind} without a position")
    held = replica.position
    if event.kind == "snapshot-verified":
        return "snapshot-refused" if held is not None and event.position < held else event.kind
    if held is None:
        return "delta-next" if event.position.index == 1 else "hole-found"
    if event.position <= held:
        return "delta-duplicate"
    if event.position.epoch > held.epoch:
        return "epoch-begun"
    return "delta-next" if event.position.index == held.index + 1 else "hole-found"


def _fences(replica: Replica, kind: ReplicaEventKind) -> tuple[Fence, ...]:
    fences = set(replica.fences) - {LIFTED_BY.get(kind)}
    if kind in ("origin-rolled-back", "counter-went-back"):
        fences.add(kind)
    return tuple(sorted(fence for fence in fences if fence))


def _moved(replica: Replica, cell: ReplicaCell, event: ReplicaEvent, fences: tuple[Fence, ...]) -> Replica:
    position, generation = replica.position, replica.generation
    if "discard" in cell.actions:
        position, generation = None, 0
    elif "install" in cell.actions:
        position, generation = event.position, generation + 1
    elif "apply" in cell.actions:
        position, generation = event.position, generation and generation + 1
    elif cell.state == "following":
        generation = max(1, generation)
    return msgspec.structs.replace(replica, state=cell.state, position=position, generation=generation, fences=fences)
