"""`tidegate replay`: decides answers again by what was recorded of them. Next: services/evidence/replay.py.

Promises to store, send and ask nothing, and an exit code of 1 where any decision would be another one now."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import click

from tidegate.brokers.jetstream.history import history
from tidegate.schemas import TidegateError
from tidegate.schemas.audit import AuditedAnswer
from tidegate.services.cli.evidence import query_site
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.evidence.entries import plain
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.replay import LoadRules, ReplayOutcome, published_of, replay, with_entry
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.tenant_parts import TenantParts
from tidegate.services.settings import Settings
from tidegate.services.stages.policy import NO_RULES, JudgingRules

MARKS = {"identical": "=", "differs": "!", "not_derived": "?"}


class NothingLoggedError(TidegateError, LookupError):
    """The audit log has no answer to decide again."""

    hint = "`tidegate audit list` shows what it has; name another site with --site"


@click.command("replay")
@click.argument("rid", required=False)
@with_options("site", "as_json")
@click.option("--newest", type=click.IntRange(1), help="The newest N answers of the audit log, in place of one RID.")
def replay_command(options: CommandOptions, rid: str | None, newest: int | None) -> int:
    """Decide the request RID again, or the newest answers: by the question, the draft, the policies and the clock that
    were recorded. Says `identical`, or the first difference; exit code 1 where there is one.

    What a model decided (a question that was refused as unsafe) is not decided again, and is named.
    """
    if (rid is None) == (newest is None):
        raise click.UsageError("give the RID of a request, or --newest N")
    settings = options.settings()
    logged = find_answers(settings, rid, newest)
    if not logged:
        raise NothingLoggedError(f"the audit log of {settings.site} has no answer {rid or ''}".rstrip())
    with show_progress() as progress:
        progress.start(f"deciding {len(logged)} answers again", len(logged))
        outcomes = query_site(options, partial(replay_all, settings, logged, progress))
    counts = {verdict: sum(each.verdict == verdict for each in outcomes) for verdict in MARKS}
    lines = [describe_outcome(each) for each in outcomes if rid is not None or each.verdict != "identical"]
    lines.append(", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in counts.items()))
    print_result({"outcomes": outcomes, **counts}, "\n".join(lines), options.as_json)
    return 1 if counts["differs"] or any(each.is_logged is False for each in outcomes) else 0


def find_answers(settings: Settings, rid: str | None, newest: int | None) -> dict[str, tuple[str, AuditedAnswer]]:
    """The answers of the audit log that are wanted, by request, with the tenant. Raises `AuditMissingError`,
    `AuditDamagedError`, `UnreadableError`."""

    def answers(reader: AuditReader) -> Iterator[tuple[str, AuditedAnswer]]:
        for stored in reader.newest_first():
            entry = stored.entry
            if isinstance(entry.body, AuditedAnswer) and rid in (None, entry.body.rid):
                yield entry.tenant, entry.body

    with AuditReader.open(StatePaths(settings).audit) as reader:
        return {answer.rid: (tenant, answer) for tenant, answer in itertools.islice(answers(reader), newest or 1)}


async def replay_all(
    settings: Settings, logged: dict[str, tuple[str, AuditedAnswer]], progress: ProgressReporter, client: Any
) -> list[ReplayOutcome]:
    """Decide these again, one after another. Raises as `history` and `replay` do."""
    parts = TenantParts(settings, partial(JudgingRules.load, settings))
    load_rules: LoadRules = partial(rules_of, parts)
    outcomes = []
    for rid, (tenant, answer) in logged.items():
        stored = await history(client, rid, tenant, settings.site)
        outcomes.append(with_entry(await replay(rid, stored, load_rules), published_of(stored), answer))
        progress.step(rid)
    return outcomes


async def rules_of(parts: TenantParts[JudgingRules], tenant: str, generation: int) -> JudgingRules:
    """What a generation decides by. Raises as `TenantParts.at` does."""
    await parts.refresh(tenant)
    return await parts.at(tenant, generation) or NO_RULES


def describe_outcome(outcome: ReplayOutcome) -> str:
    """One line, and the difference below it."""
    line = f"{MARKS[outcome.verdict]} {outcome.rid}  {outcome.outcome or '-'}  {outcome.verdict.replace('_', ' ')}"
    line += f"  {plain(outcome.reason)}" if outcome.reason else ""
    line += "  NOT the receipt that was logged" if outcome.is_logged is False else ""
    return f"{line}\n    {plain(outcome.difference)}" if outcome.difference else line
