"""Who may do what over NATS: a user for each worker of a domain, with the subjects that it needs and no others.

Promises that no role stores a fact which it does not make: prefilter cannot write what policy approves. Derived from
the table of the pipeline; what a stage does beside that table is said here. Next: brokers/servers/permissions.py.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce

from tidegate.brokers.servers import permissions as may
from tidegate.brokers.servers.permissions import UserRole, stage_role
from tidegate.brokers.topology.streams import DOWN, SYNC_CONSUMER, UP_CONSUMER
from tidegate.schemas import Asked, Escalated, Verified, subjects
from tidegate.schemas.entries import ENTRIES, entry
from tidegate.schemas.hub_subjects import claimant, claims_of
from tidegate.schemas.subjects import (
    ANSWERS,
    ARTEFACTS,
    ASKS,
    BUCKETS,
    CLAIMS,
    CORPUS,
    DEAD,
    EDITS,
    ESCALATIONS,
    HUB,
    LOCAL,
    PIPE,
    TOKENS,
    VERDICTS,
)
from tidegate.schemas.verification_subjects import all_verification_sessions, fast_lane, older_fast_lane
from tidegate.services.pipeline import HUB_WORKERS, SITE_WORKERS

GATEWAY, ALL, AUDITOR = "gateway", "all", "auditor"
SYNC = "sync"
"""The worker that keeps the replicas of a domain: a process of its own, of which there is one."""
AUDIT = "audit"
"""The worker that writes the audit log of a domain: one, a part of `all` where that runs."""
GRANTED = tuple(stream for stream in DOWN if stream != VERDICTS)


def roles_of(domain: str, sites: Iterable[str] = ()) -> tuple[UserRole, ...]:
    """The roles of a domain beside its operator's; at the hub for these `sites`."""
    return hub_roles(tuple(sites)) if domain == HUB else site_roles(domain)


def site_roles(site: str) -> tuple[UserRole, ...]:
    """The roles of a site. `all` is for a process that is the whole site but for its sync worker."""
    stages = [stage_role(stage, site) | _beside(stage.name, site) for stage in SITE_WORKERS]
    workers = [*stages, _gateway(site), _audit(site)]
    return (*workers, reduce(UserRole.__or__, workers, UserRole(ALL)), _site_sync(site), _auditor())


def hub_roles(sites: tuple[str, ...]) -> tuple[UserRole, ...]:
    """The roles of the hub."""
    stages = [stage_role(stage, HUB) | _cloud_verifier(sites) for stage in HUB_WORKERS]
    workers = [*stages, _audit(HUB, sites)]
    return (*workers, reduce(UserRole.__or__, workers, UserRole(ALL)), _hub_sync(sites), _auditor())


def _beside(stage: str, site: str) -> UserRole:
    """What a site's stage does beside the table of the pipeline."""
    shows = UserRole(stage, (subjects.partial(False, "*", "*"),), ("live.answers.>",))
    beside = {
        "router": UserRole(
            stage,
            (
                subjects.ping(site),
                *may.inspects(*sorted({source.stream for each in SITE_WORKERS for source in each.sources(site)})),
                f"$JS.API.CONSUMER.INFO.{ESCALATIONS}.{UP_CONSUMER}",
                *may.looks_up(ESCALATIONS, VERDICTS, PIPE),
                may.written_as(Verified, site),  # what the link lost
            ),
            ("live.answers.>",),
        ),
        "drafter": shows
        | UserRole(stage, (*all_verification_sessions(site), *may.looks_up(PIPE))),  # a draft verified in rounds
        "fast-lane": UserRole(
            stage, (fast_lane(site, "*"), *all_verification_sessions(site), *may.looks_up(PIPE, TOKENS))
        ),
        "policy": UserRole(
            stage,
            (subjects.partial(True, "*", "*"), *may.looks_up(PIPE, ESCALATIONS)),
            (subjects.PARTIAL_DRAFTED, subjects.cloud_partial(site)),
        ),
        "publisher": UserRole(
            stage,
            (subjects.tokens("*", "*"), f"$JS.API.STREAM.CREATE.{TOKENS}", *may.looks_up(TOKENS)),
            (subjects.PARTIAL_APPROVED,),
        ),
    }
    return beside.get(stage, UserRole(stage))


def _gateway(site: str) -> UserRole:
    watched = ("asks.>", "pipe.>", "escalations.>", "verdicts.>", "answers.>")
    return UserRole(
        GATEWAY,
        (
            may.written_as(Asked, site),
            subjects.ping(site),
            subjects.replica_request("status"),
            may.LISTS_STREAMS,
            *may.looks_up(ASKS, PIPE, ESCALATIONS, VERDICTS, ANSWERS, DEAD, TOKENS),
            may.REQUESTERS,
            *may.replies_to([site]),
        ),
        (
            *map(entry, ENTRIES),
            "$SRV.>",
            subjects.LIVE_ANSWERS,
            subjects.LIVE_DEAD,
            subjects.LIVE_TOKENS,
            *watched,
        ),
    )


def _audit(domain: str, sites: tuple[str, ...] = ()) -> UserRole:
    followed = (ANSWERS, DEAD) if domain != HUB else (DEAD,)
    reads = (*may.inspects(*followed), *may.looks_up(*followed))
    if domain == HUB:
        return UserRole(AUDIT, (*reads, *may.replies_to(sites)), (subjects.heads_of("*"),))
    return UserRole(AUDIT, (*reads, subjects.heads_of(domain)))


def _auditor() -> UserRole:
    """Who looks at what was decided: answers with their receipts, and nothing else."""
    return UserRole(AUDITOR, may.looks_up(ANSWERS))


def _site_sync(site: str) -> UserRole:
    streams = (*GRANTED, EDITS, LOCAL)
    return UserRole(
        SYNC,
        (
            subjects.dead_letter(SYNC, "*"),
            *may.inspects(*streams, ANSWERS),
            *may.looks_up(*streams, ANSWERS),
            may.erases(ANSWERS),  # what it has archived
            *may.keeps_mirrors(),
            f"$JS.API.STREAM.PURGE.{EDITS}",
            *may.makes_sync_consumer(CORPUS, ARTEFACTS),
            *(subject for stream in (CORPUS, ARTEFACTS) for subject in may.consumes(stream, SYNC_CONSUMER)),
            f"edits.{site}.>",
            "local.>",
            *(each(site) for each in (subjects.comparison, subjects.activation_vote, subjects.lease_of)),
            *may.replies_to([site]),
        ),
        ("replica.>",),
    )


def _cloud_verifier(sites: tuple[str, ...]) -> UserRole:
    return UserRole(
        "cloud-verifier",
        (
            subjects.cloud_partial("*"),
            may.written_as(Escalated, HUB),  # what the link lost
            *may.inspects(VERDICTS, ESCALATIONS),
            may.LISTS_STREAMS,
            *may.looks_up(VERDICTS, ESCALATIONS),
            may.erases(ESCALATIONS),  # what may not be kept
            claims_of("*", "*.*"),
            f"$JS.API.STREAM.CREATE.{CLAIMS}",
            *may.looks_up(CLAIMS),
            claimant("*"),
            *may.replies_to([HUB, *sites]),
        ),
        (
            older_fast_lane("*"),
            fast_lane("*", "*"),
            *all_verification_sessions("*"),
            subjects.ping("*"),
            claimant("*"),
        ),
    )


def _hub_sync(sites: tuple[str, ...]) -> UserRole:
    streams = (*GRANTED, EDITS, LOCAL)
    return UserRole(
        SYNC,
        (
            subjects.dead_letter(SYNC, "*"),
            *may.inspects(*streams),
            *may.looks_up(*streams),
            *may.carries_to_sites(),
            f"$JS.API.STREAM.PURGE.{EDITS}",
            *may.makes_sync_consumer(EDITS),
            *may.consumes(EDITS, SYNC_CONSUMER),
            "corpus.>",
            "artefacts.>",
            "local.>",
            "edits.>",
            *(f"$O.{bucket}.>" for bucket in BUCKETS),
            *may.replies_to([HUB, *sites]),
        ),
        ("replica.>", subjects.comparison("*"), subjects.activation_vote("*"), subjects.lease_of("*")),
    )
