"""What sync holds, found and repaired, as people read it: tables, and lines that say why.

Next: services/fleet/replica_status.py, whose summaries these are."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from rich.console import Console

from tidegate.schemas import ArtefactStatus, DocumentConflict, RepairOutcome, ReplicaStatus, SiblingVersion
from tidegate.services.cli.tables import make_table
from tidegate.services.cli.terminal import ReadableConsole
from tidegate.services.fleet.replica_status import CollectionSummary, ReplicaSummary, summarise

WIDTH = 140
"""Columns of the tables where there is no terminal to say how many it has."""
MOST_NAMED = 5
EXCERPT = 60
CAUSES = {
    "origin-rolled-back": "the hub's log ended before what was applied here",
    "tamper": "somebody wrote what nobody signed",
    "disk": "the disk gave back other bytes than were written",
    "code-version": "another version of the code made it",
    "lost-delta": "a delta was lost on its way",
    "unknown": "nothing tells why",
}
"""What a cause means; see sync/rules/drift.py."""


def open_console() -> Console:
    """A console whose tables are as wide as the terminal, and of a width of their own where there is none."""
    return ReadableConsole(highlight=False, markup=False, soft_wrap=True, width=None if sys.stdout.isatty() else WIDTH)


def print_replicas(known: Sequence[ReplicaStatus], problems: Iterable[str]) -> None:
    """Tables of domains, collections and artefacts, then what is wrong."""
    console = open_console()
    summaries = {status.domain: summarise(status) for status in known}
    print_domains(console, summaries)
    print_switches(console, summaries)
    print_collections(console, summaries)
    artefacts = [artefact_row(status.domain, each) for status in known for each in status.artefacts]
    if artefacts:
        columns = ("", "kind", "name", "critical", "epoch", "offered", "bytes")
        console.print(make_table("artefacts", columns, artefacts, left=4))
    for status in known:
        of_parts = [*(each.fault for each in status.collections), *(each.fault for each in status.artefacts)]
        for fault in (*status.faults, *filter(None, of_parts)):
            console.print(f"problem: {status.domain}: {fault}")
    for problem in problems:
        console.print(f"problem: {problem}")


def print_domains(console: Console, summaries: dict[str, ReplicaSummary]) -> None:
    """A line for each domain: how much of it may answer, and until when."""
    rows = [domain_row(name, each) for name, each in summaries.items()]
    columns = ("", "rung", "lease", "assurance", "policy epochs", "conflicts", "why")
    console.print(make_table("sync", columns, rows, left=len(columns)))


def print_switches(console: Console, summaries: dict[str, ReplicaSummary]) -> None:
    """A line for each switch to evidence-only that is on in a domain; nothing where none is."""
    rows = [
        (name, each.scope, each.raised_by, each.why) for name, known in summaries.items() for each in known.switches
    ]
    if rows:
        console.print(make_table("evidence-only is on", ("", "for", "by", "why"), rows, left=4))


def print_collections(console: Console, summaries: dict[str, ReplicaSummary]) -> None:
    """A line for each collection of each domain; nothing where none is known."""
    rows = [collection_row(name, each) for name, summary in summaries.items() for each in summary.collections]
    if not rows:
        return
    columns = ("", "collection", "owner", "state", "fresh", "generation", "indexed", "lag", "documents", "pending")
    console.print(make_table("collections", columns, rows, left=5))


def domain_row(name: str, summary: ReplicaSummary) -> tuple[str, ...]:
    if not summary.is_known:
        return (name, "no sync worker", "-", "-", "-", "-", "")
    policies = ", ".join(
        f"{each.name} {each.epoch}" + (f" ({each.offered} offered)" if each.offered > each.epoch else "")
        for each in summary.policies
    )
    conflicts = str(sum(each.conflicts for each in summary.collections))
    rung = f"{summary.rung}, fenced" if summary.is_fenced else summary.rung
    lease = "-" if summary.lease_s is None else format_age(summary.lease_s) if summary.lease_s else "ended"
    return (name, rung, lease, summary.assurance or "-", policies or "-", conflicts, summary.rung_reason)


def collection_row(domain: str, summary: CollectionSummary) -> tuple[str, ...]:
    if summary.age_s is None:
        fresh = "yes" if summary.is_fresh else "never known"
    else:
        fresh = f"{'yes' if summary.is_fresh else 'no'}, {format_age(summary.age_s)} ago"
    counts = (summary.generation, summary.indexed, summary.lag, summary.documents, summary.pending)
    name = f"{summary.tenant}/{summary.name}"
    return (domain, name, summary.owner, summary.state, fresh, *map(str, counts))


def artefact_row(domain: str, artefact: ArtefactStatus) -> tuple[str, ...]:
    counts = (artefact.epoch, artefact.offered, artefact.size)
    critical = "yes" if artefact.is_critical else "no"
    return (domain, artefact.kind, f"{artefact.tenant}/{artefact.name}", critical, *map(str, counts))


def describe_outcome(outcome: RepairOutcome, *, is_repair: bool) -> list[str]:
    """What differed in a collection, by cause and by leg of the index, and what that cost; or that nothing did."""
    name, done = f"{outcome.tenant}/{outcome.collection}", "repaired" if is_repair else "differ"
    why = {cause: f"{cause}: {CAUSES.get(cause, 'a later version names it so')}" for cause in outcome.documents}
    lines = [
        f"{name}: {len(ids)} documents {done} ({why[cause]}): {names(ids)}" for cause, ids in outcome.documents.items()
    ]
    lines += [f"{name}: {len(ids)} {done} in the index ({leg}): {names(ids)}" for leg, ids in outcome.index.items()]
    if outcome.fault:
        lines.append(f"{name}: could not be compared to its end: {outcome.fault}")
    if not lines:
        lines = [f"{name}: nothing differs"]
    if outcome.bytes_on_wire:
        lines[-1] += f" ({outcome.bytes_on_wire} bytes over the link)"
    return lines


def describe_conflict(conflict: DocumentConflict) -> list[str]:
    """A document, and a line for each of its versions."""
    state = "open: a person has to decide" if conflict.is_open else f"decided by the rule {conflict.rule}"
    head = f"{conflict.tenant}/{conflict.collection} {conflict.document_id}: {state}"
    return [head, *(f"  {describe_version(each, conflict)}" for each in conflict.versions)]


def describe_version(version: SiblingVersion, conflict: DocumentConflict) -> str:
    chosen = "*" if version.dot == conflict.chosen else " "
    written = datetime.fromtimestamp(version.written_at_ms / 1000, UTC).isoformat(timespec="seconds")
    content = "deleted it" if version.is_deletion else f"{version.title}: {excerpt_of(version.text)}"
    return f"{chosen} {version.dot!s:<14} {version.author:<10} {written}  {content}"


def excerpt_of(text: str) -> str:
    """The beginning of a text, on one line."""
    return textwrap.shorten(text, EXCERPT, placeholder=" …")


def names(ids: Sequence[str]) -> str:
    """The first of them, and how many there are besides."""
    more = f" and {len(ids) - MOST_NAMED} more" if len(ids) > MOST_NAMED else ""
    return ", ".join(ids[:MOST_NAMED]) + more


def format_age(seconds: float) -> str:
    """A duration as people say it."""
    for limit, unit, size in ((120, "s", 1), (7200, "min", 60), (172_800, "h", 3600)):
        if seconds < limit:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} days"
