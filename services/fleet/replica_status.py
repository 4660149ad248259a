"""What a domain's sync worker says of its replicas, as people look at it: by collection, by policy, and as a whole.

Ages are by the hub's time as the worker trusts it, never by this machine's clock. Next: sync/shells/replica_client.py,
which asks; cli/sync_tables.py and gateway/http/site_info.py, which show it."""

from __future__ import annotations

from functools import partial

import msgspec

from tidegate.brokers.base import Bus
from tidegate.schemas import ArtefactStatus, CollectionStatus, ReplicaStatus, UnreadableError
from tidegate.schemas.artefact import Rung
from tidegate.schemas.subjects import HUB
from tidegate.sync.shells.replica_client import ReplicaClient, ReplicaRefusedError, SyncWorkerMissingError

ASK_WITHIN_S = 1.0


class CollectionSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One collection of a domain. `generation` is that of the documents, `indexed` the one that questions are answered
    from; `lag` the deltas that are not applied; `age_s` how long ago nothing was known to lack, None: it never was, or
    the domain is the one that writes it; `repaired` what the last repair found, by cause."""

    tenant: str
    name: str
    owner: str
    state: str
    generation: int
    indexed: int
    lag: int
    age_s: float | None
    is_fresh: bool
    documents: int
    conflicts: int
    pending: int
    repaired: dict[str, int] = {}
    fault: str = ""


class PolicySummary(msgspec.Struct, frozen=True, kw_only=True):
    """A policy of a domain: the epoch in force, and the newest one that is known."""

    tenant: str
    name: str
    epoch: int
    offered: int


class SwitchSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A switch to evidence-only that is on: for what, why, and whether the hub or an incident at the site put it on."""

    tenant: str
    scope: str
    why: str
    raised_by: str


class ReplicaSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A domain's replicas. `is_known`: its sync worker answers; all else is empty where not. `lease_s` is what is left
    of the lease, None: there is none, as at the hub, which needs none."""

    is_known: bool = False
    rung: Rung = "full"
    rung_reason: str = ""
    lease_s: float | None = None
    assurance: str = ""
    is_fenced: bool = False
    collections: tuple[CollectionSummary, ...] = ()
    policies: tuple[PolicySummary, ...] = ()
    switches: tuple[SwitchSummary, ...] = ()
    faults: tuple[str, ...] = ()


async def find_replica_status(bus: Bus) -> ReplicaStatus | None:
    """What the sync worker of the bus's domain says; None where none answers within a second, one refuses, or is of a
    version that says something else."""
    try:
        return await ReplicaClient(bus).status(timeout_s=ASK_WITHIN_S)
    except (SyncWorkerMissingError, ReplicaRefusedError, UnreadableError):
        return None


def summarise(status: ReplicaStatus | None) -> ReplicaSummary:
    """What is shown of it."""
    if status is None:
        return ReplicaSummary()
    return ReplicaSummary(
        is_known=True,
        rung=status.rung,
        rung_reason=status.rung_reason,
        lease_s=max(0.0, _seconds(status.lease_until_ms - status.trusted_ms)) if status.lease_until_ms else None,
        assurance=status.assurance,
        is_fenced=status.is_fenced,
        collections=tuple(_collection(each, status.trusted_ms) for each in status.collections),
        policies=tuple(map(_policy, filter(is_policy, status.artefacts))),
        switches=tuple(
            SwitchSummary(
                tenant=each.switch.tenant, scope=each.switch.scope, why=each.switch.why, raised_by=each.raised_by
            )
            for each in status.switches
            if each.switch.is_on
        ),
        faults=status.faults,
    )


def of_tenant(summary: ReplicaSummary, tenant: str) -> ReplicaSummary:
    """What of it is one tenant's, and what is the whole domain's. Faults are left out: their words name documents and
    tenants."""
    return msgspec.structs.replace(
        summary,
        collections=tuple(each for each in summary.collections if each.tenant == tenant),
        policies=tuple(each for each in summary.policies if each.tenant == tenant),
        switches=tuple(each for each in summary.switches if each.tenant == tenant),
        rung_reason="; ".join(filter(partial(_may_read, tenant), summary.rung_reason.split("; "))),
        faults=(),
    )


def _may_read(tenant: str, reason: str) -> bool:
    """Whether a reason for a rung is the domain's, or an artefact of this tenant, `<tenant>/<name>`."""
    return "/" not in reason or reason.startswith(f"{tenant}/")


def is_policy(artefact: ArtefactStatus) -> bool:
    """Whether its epoch is one that decisions name."""
    return artefact.kind == "policy"


def find_replica_problems(domain: str, status: ReplicaStatus) -> list[str]:
    """What of it somebody has to look at: a fence, a rung on which little is answered, a lease that is refused, and a
    replica that holds nothing."""
    problems = [f"{domain}: it is fenced: its disk is a restored backup or a clone"] if status.is_fenced else []
    if status.rung in ("evidence-only", "closed"):
        problems.append(f"{domain}: it is {status.rung}: {status.rung_reason or 'no reason is known'}")
    if status.faults and not status.lease_until_ms > status.trusted_ms and domain != HUB:
        problems.append(f"{domain}: it has no lease: {'; '.join(status.faults)}")
    stopped = [each for each in status.collections if each.state in ("fenced", "revoked")]
    return problems + [f"{domain}: {each.tenant}/{each.collection} is {each.state}" for each in stopped]


def _collection(status: CollectionStatus, trusted_ms: int) -> CollectionSummary:
    repair = status.last_repair
    return CollectionSummary(
        tenant=status.tenant,
        name=status.collection,
        owner=status.owner,
        state=status.state,
        generation=status.generation,
        indexed=status.indexed_generation,
        lag=status.lag,
        age_s=max(0.0, _seconds(trusted_ms - status.known_at_ms)) if status.known_at_ms else None,
        is_fresh=status.is_fresh,
        documents=status.documents,
        conflicts=status.conflicts,
        pending=status.pending,
        repaired={cause: len(ids) for cause, ids in repair.documents.items()} if repair else {},
        fault=status.fault,
    )


def _policy(status: ArtefactStatus) -> PolicySummary:
    return PolicySummary(tenant=status.tenant, name=status.name, epoch=status.epoch, offered=status.offered)


def _seconds(ms: int) -> float:
    return round(ms / 1000, 1)
