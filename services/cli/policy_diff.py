"""`tidegate policy diff`: reads what a site has recorded of judged answers, and puts it to other policies.

Nothing is written, at the site or elsewhere. Memory holds one page of the record and the changes that are listed.
Next: services/policies/replay.py, which compares.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream.history import PAGE, first_messages, last_message
from tidegate.schemas import Approved, Drafted, UnreadableError, Verified, Withheld, decode, subjects
from tidegate.services.cli.evidence import format_time, query_site
from tidegate.services.cli.options import CommandOptions
from tidegate.services.cli.progress import show_progress
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.packs.policy_folder import find_by_rules
from tidegate.services.policies.files import list_policies
from tidegate.services.policies.language import load_policies
from tidegate.services.policies.policy import Policy
from tidegate.services.policies.replay import DiffCounter, PolicyDiff, RecordedJudgement, replace_policies
from tidegate.services.settings import Settings

STAGE = "policy"
GONE = "what was judged is gone, by age"
UNREADABLE = "of another version"


def run_diff(options: CommandOptions, files: Sequence[Path], *, since_s: float, most: int, only: bool) -> PolicyDiff:
    """What the policies in `files` would have made of the answers since then. Raises `PolicyError` and what reading
    the record raises."""
    settings, given = options.site_settings(), load_policies(files)
    tenants = (options.tenant,) if options.tenant else settings.tenants
    policies = {each: given if only else replace_policies(read_in_force(settings, each), given) for each in tenants}
    counter = DiffCounter(policies, find_by_rules(settings.prefilter.phone_regions), most)

    async def go(client: Any) -> None:
        with show_progress() as progress:
            await replay(client, counter, options.tenant or "*", since_s, progress)

    query_site(options, go)
    return counter.result()


async def replay(client: Any, counter: DiffCounter, tenant: str, since_s: float, progress: ProgressReporter) -> None:
    """Judge anew what is on record of a tenant's answers since then."""
    for kind in (Approved, Withheld):
        progress.start(f"answers that were {kind.__name__.lower()}")
        async for stored in read_pages(client, subjects.fact_subject(kind, tenant, "*")):
            progress.step(stored.subject.rpartition(".")[2])
            if stored.stored_at_s >= since_s:
                await take(client, counter, stored)


async def take(client: Any, counter: DiffCounter, stored: StoredMessage) -> None:
    """Judge one of them anew, by the fact that the policy stage had read of it."""
    try:
        settled: Approved | Withheld = decode(stored.data, Approved, Withheld)
        if isinstance(settled, Withheld) and settled.stage != STAGE:
            counter.skip(f"withheld by the {settled.stage}")
            return
        found = await find_answered(client, settled)
        if found is None:
            counter.skip(GONE)
            return
        counter.take(RecordedJudgement(decode(found.data, Drafted, Verified), settled, stored.stored_at_s))
    except UnreadableError:
        counter.skip(UNREADABLE)


async def find_answered(client: Any, settled: Approved | Withheld) -> StoredMessage | None:
    """What the policy stage had read: the edge's answer, or the hub's, whichever way that came."""
    kind = Verified if settled.route == "cloud" else Drafted
    found = await last_message(client, subjects.PIPE, subjects.fact_subject(kind, settled.tenant, settled.rid))
    if found is None and kind is Verified:
        key = f"{settled.tenant}.{settled.rid}"
        found = await last_message(client, subjects.VERDICTS, subjects.verdicts_of(settled.site, key))
    return found


async def read_pages(client: Any, subject: str) -> AsyncIterator[StoredMessage]:
    """What the stream of facts holds under the subject, oldest first, a page at a time."""
    after = 0
    while page := await first_messages(client, subjects.PIPE, subject, after, PAGE):
        for stored in page:
            yield stored
        after = page[-1].sequence


def read_in_force(settings: Settings, tenant: str) -> tuple[Policy, ...]:
    """The policies in force for a tenant; of a site that has its pack as a folder, those of that. Raises
    `PolicyError`."""
    paths = StatePaths(settings)
    store = GenerationStore(paths.active(tenant))
    if record := store.current():
        return PackInForce.of_generation(tenant, store.path(record.number), record).policies
    return load_policies(list_policies(paths.pack.glob("policies/*")))


def describe_diff(diff: PolicyDiff) -> str:
    """The changes as a person reads them: when, which request, what it was, what it would be, by which rules."""
    lines = []
    for each in diff.changes:
        lines.append(f"{format_time(each.at_s)}  {each.rid}  {each.was.verb} > {each.becomes.verb}  {each.question!r}")
        if each.was.text and each.becomes.text and each.was.text != each.becomes.text:
            lines += [f"    - {each.was.text!r}", f"    + {each.becomes.text!r}"]
        reasons = {made.rule: made.reason for made in each.becomes.decisions}
        lines += [f"    {rule}: {reasons.get(rule, 'does not act any more')}" for rule in each.rules]
    if diff.changed > len(diff.changes):
        lines.append(f"... and {diff.changed - len(diff.changes)} more (--limit)")
    counted = ", ".join(f"{verbs} {count}" for verbs, count in sorted(diff.verbs.items()))
    lines.append(f"{diff.changed} of {diff.judged} past answers would change{f': {counted}' if counted else ''}")
    lines += [f"{count} not judged anew: {why}" for why, count in sorted(diff.skipped.items())]
    return "\n".join(lines)
