"""`tidegate replay --from --to`: decides a window of a site's record again, and by other policies where they are named.

Promises to store, send and ask nothing. Next: services/evidence/window.py, which counts."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream.history import PAGE, first_messages, first_since, history
from tidegate.schemas import TidegateError, UnreadableError
from tidegate.schemas.subjects import ANSWERS, answers_of, rid_of
from tidegate.services.cli.evidence import format_time
from tidegate.services.cli.policy_diff import describe_diff, read_in_force
from tidegate.services.evidence.replay import Deciders, describe_outcome, replay
from tidegate.services.evidence.window import WindowCounter, WindowReport
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.packs.policy_folder import find_by_rules
from tidegate.services.policies.language import load_policies
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.replay import DiffCounter, replace_policies
from tidegate.services.settings import Settings

_AT = re.compile(r"([A-Za-z0-9_-]{1,64})@([0-9]{1,9})")


class PolicyNotHeldError(TidegateError, LookupError):
    """No generation that is held here has this epoch of the policy."""

    hint = "give the policy as a file; `tidegate sync status` shows which epoch is in force"


def make_diff(settings: Settings, tenants: Sequence[str], other: str, most: int) -> DiffCounter:
    """What judges past answers by the policy in `other`, a file or `NAME@EPOCH`, in the place of its namesake.

    Raises `PolicyError`, `PolicyNotHeldError`.
    """
    policies = {
        tenant: replace_policies(read_in_force(settings, tenant), read_other(settings, tenant, other))
        for tenant in tenants
    }
    return DiffCounter(policies, find_by_rules(settings.prefilter.phone_regions), most)


def read_other(settings: Settings, tenant: str, other: str) -> tuple[Policy, ...]:
    """The policy of a file, or of an epoch that a generation here has. Raises `PolicyError`, `PolicyNotHeldError`."""
    found = _AT.fullmatch(other)
    if found is None or Path(other).is_file():
        return load_policies([Path(other)])
    name, epoch = found[1], int(found[2])
    store = GenerationStore(StatePaths(settings).active(tenant))
    for record in store.held():
        if record.epochs.get(f"policy/{name}") == epoch:
            pack = PackInForce.of_generation(tenant, store.path(record.number), record)
            return tuple(policy for policy in pack.policies if policy.part == name)
    raise PolicyNotHeldError(f"no generation of {tenant} that is held here has {name}@{epoch}")


async def replay_window(
    counter: WindowCounter, tenant: str, deciders: Deciders, progress: ProgressReporter, site: str, client: Any
) -> WindowReport:
    """Decide again what was answered in the window, in the order of the answers. Raises as `history` does."""
    progress.start("deciding the window again")
    async for stored in answers_between(client, tenant, counter.from_s, counter.to_s):
        rid, owner = rid_of(stored.subject), stored.subject.split(".")[1]
        facts = await history(client, rid, owner, site)
        try:
            counter.take(await replay(rid, facts, deciders.load_rules, deciders.screen), facts)
        except UnreadableError as error:
            counter.skip(rid, error)
        progress.step(rid)
    return counter.result()


async def answers_between(client: Any, tenant: str, from_s: float, to_s: float) -> AsyncIterator[StoredMessage]:
    """The answers that were stored from one Unix time on and before another, oldest first, a page at a time."""
    page = await first_since(client, ANSWERS, answers_of(tenant), from_s)
    while page:
        for stored in page:
            if stored.stored_at_s >= to_s:
                return
            yield stored
        page = await first_messages(client, ANSWERS, answers_of(tenant), page[-1].sequence, PAGE)


def describe_window(report: WindowReport) -> str:
    """A report as a person reads it: what differs, why others were not derived, the other policies, and the counts."""
    lines = [describe_outcome(each) for each in report.outcomes]
    if report.differs > len(report.outcomes):
        lines.append(f"... and {report.differs - len(report.outcomes)} more that differ (--limit)")
    lines += [f"{count} not derived: {reason}" for reason, count in sorted(report.reasons.items())]
    if report.diff is not None:
        lines += [f"by the other policy: {line}" for line in describe_diff(report.diff).split("\n")]
    window = f"{format_time(report.from_s)} to {format_time(report.to_s)}"
    counts = f"{report.identical} identical, {report.differs} differs, {report.not_derived} not derived"
    return "\n".join([*lines, f"{report.requests} answers, {window}: {counts}"])
