"""`tidegate replay`: decides answers again by what was recorded of them. Next: services/evidence/replay.py; and
replay_window.py, which decides many.

Promises to store, send and ask nothing, and an exit code of 1 where any decision would be another one now."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from functools import partial
from typing import Any

import click

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream.history import history
from tidegate.schemas import Asked, TidegateError
from tidegate.schemas.audit import AuditedAnswer
from tidegate.services.cli.evidence import query_site
from tidegate.services.cli.gaps import read_since
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.cli.replay_window import describe_window, make_diff, replay_window
from tidegate.services.evidence.entries import plain
from tidegate.services.evidence.log_reader import AuditReader
from tidegate.services.evidence.replay import (
    MARKS,
    Deciders,
    LoadRules,
    ReplayOutcome,
    describe_outcome,
    published_of,
    replay,
    with_entry,
)
from tidegate.services.evidence.rescreening import Rescreening
from tidegate.services.evidence.runtime_record import FILE, RuntimeRecord
from tidegate.services.evidence.screening_replay import First, ScreenAgain
from tidegate.services.evidence.window import WindowCounter
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.tenant_parts import TenantParts
from tidegate.services.fleet.vault import open_vault
from tidegate.services.privacy.faults import ErasedError
from tidegate.services.settings import Settings
from tidegate.services.stages.policy import NO_RULES, JudgingRules

OpenDeciders = Callable[[], AbstractContextManager[Deciders]]


class NothingLoggedError(TidegateError, LookupError):
    """The audit log has no answer to decide again."""

    hint = "`tidegate audit list` shows what it has; name another site with --site"


class WindowError(TidegateError, ValueError):
    """The window ends before it begins."""

    hint = "give --from an earlier time than --to: 24h, 7d, or a date as 2026-03-01 (UTC)"


@click.command("replay")
@click.argument("rid", required=False)
@with_options("site", "tenant", "as_json")
@click.option("--newest", type=click.IntRange(1), help="The newest N answers of the audit log, in place of one RID.")
@click.option("--from", "since", help="What was answered since then, in place of one RID: 24h, 7d, or a date (UTC).")
@click.option("--to", "until", default="", help="With --from: what was answered before then [default: now].")
@click.option("--with", "other", default="", help="With --from: judge by this policy too: a file, or NAME@EPOCH.")
@click.option("--limit", default=100, show_default=True, type=click.IntRange(0), help="The most differences to list.")
@click.option("--no-screening", is_flag=True, help="Leave out what the prefilter decided, and load no model.")
def replay_command(
    options: CommandOptions, rid: str | None, newest: int | None, limit: int, no_screening: bool, **window: str
) -> int:
    """Decide the request RID again, or many: by the question, the draft, the policies and the clock that were recorded.
    Says `identical`, or the first difference; exit code 1 where there is one.

    Nothing is stored or sent. With --with a report says which answers of the window another policy would change.
    """
    since = window["since"]
    if [rid, newest, since].count(None) != 2:
        raise click.UsageError("give the RID of a request, --newest N, or --from TIME")
    if since is None and (window["until"] or window["other"]):
        raise click.UsageError("--to and --with need --from TIME")
    deciding = partial(open_deciders, options.settings(), with_screening=not no_screening)
    if since is not None:
        return run_window(options, deciding, window, limit)
    return run_answers(options, deciding, rid, newest)


def run_answers(options: CommandOptions, deciding: OpenDeciders, rid: str | None, newest: int | None) -> int:
    """Decide answers of the audit log again. Raises `NothingLoggedError`, and what reading the record raises."""
    settings = options.settings()
    logged = find_answers(settings, rid, newest, options.tenant)
    if not logged:
        raise NothingLoggedError(f"the audit log of {settings.site} has no answer {rid or ''}".rstrip())
    kept = read_runtime(settings, logged)
    with show_progress() as progress, deciding() as deciders:
        progress.start(f"deciding {len(logged)} answers again", len(logged))
        again = partial(replay_all, settings, logged, deciders, progress, kept)
        outcomes = asyncio.run(again(None)) if kept.keys() == logged.keys() else query_site(options, again)
    counts = {verdict: sum(each.verdict == verdict for each in outcomes) for verdict in MARKS}
    screened = Counter(each.screening.replace("_", " ") for each in outcomes if each.screening)
    reasons = Counter(each.screening_reason for each in outcomes if each.screening_reason)
    lines = [describe_outcome(each) for each in outcomes if rid is not None or each.verdict != "identical"]
    if screened:
        lines.append("the prefilter's part: " + ", ".join(f"{count} {verdict}" for verdict, count in screened.items()))
        lines += [f"  {count} not derived: {plain(reason)}" for reason, count in sorted(reasons.items())]
    lines.append(", ".join(f"{count} {verdict.replace('_', ' ')}" for verdict, count in counts.items()))
    print_result({"outcomes": outcomes, **counts}, "\n".join(lines), options.as_json)
    return 1 if counts["differs"] or any(each.is_logged is False for each in outcomes) else 0


def run_window(options: CommandOptions, deciding: OpenDeciders, window: dict[str, str], most: int) -> int:
    """Decide a window again. Raises `BadSinceError`, `WindowError`, `PolicyError`, `PolicyNotHeldError`, and what
    reading the record raises."""
    settings, now_s = options.settings(), time.time()
    from_s, to_s = read_since(window["since"], now_s), read_since(window["until"], now_s) or now_s
    if from_s >= to_s:
        raise WindowError(f"{window['since']!r} is not before {window['until'] or 'now'!r}")
    tenants = (options.tenant,) if options.tenant else settings.tenants
    diff = make_diff(settings, tenants, window["other"], most) if window["other"] else None
    counter = WindowCounter(from_s, to_s, most, diff)
    with show_progress() as progress, deciding() as deciders:
        again = partial(replay_window, counter, options.tenant or "*", deciders, progress, settings.site)
        report = query_site(options, again)
    print_result(report, describe_window(report), options.as_json)
    return 1 if report.differs else 0


@contextmanager
def open_deciders(settings: Settings, *, with_screening: bool) -> Iterator[Deciders]:
    """What decides again at this site. Where its models or its key are not here, each request says so that would need
    them."""
    load_rules: LoadRules = partial(rules_of, TenantParts(settings, partial(JudgingRules.load, settings)))
    if not with_screening:
        yield Deciders(load_rules)
        return
    with ExitStack() as stack:
        screen: ScreenAgain
        try:
            screen = stack.enter_context(Rescreening.open(settings)).screen
        except TidegateError as error:
            screen = partial(refuse_to_screen, error)
        yield Deciders(load_rules, screen)


async def refuse_to_screen(error: TidegateError, _asked: Asked, _recorded: First) -> First:
    """Raises why nothing can be screened here."""
    raise error


def find_answers(
    settings: Settings, rid: str | None, newest: int | None, tenant: str | None = None
) -> dict[str, tuple[str, AuditedAnswer]]:
    """The answers of the audit log that are wanted, of one tenant or of all, by request, with the tenant.

    Raises `AuditMissingError`, `AuditDamagedError`, `UnreadableError`.
    """

    def answers(reader: AuditReader) -> Iterator[tuple[str, AuditedAnswer]]:
        for stored in reader.newest_first():
            entry = stored.entry
            is_wanted = tenant in (None, entry.tenant)
            if is_wanted and isinstance(entry.body, AuditedAnswer) and rid in (None, entry.body.rid):
                yield entry.tenant, entry.body

    with AuditReader.open(StatePaths(settings).audit) as reader:
        return {answer.rid: (owner, answer) for owner, answer in itertools.islice(answers(reader), newest or 1)}


def read_runtime(settings: Settings, logged: Mapping[str, tuple[str, AuditedAnswer]]) -> dict[str, list[StoredMessage]]:
    """What a runtime has kept of those that it answered in process, by request; no fact where the asker was erased.

    Raises `TamperedError`, `RecordDamagedError`, and what `open_vault` raises.
    """
    paths = StatePaths(settings)
    if not (paths.audit / FILE).is_file() or not paths.key.exists():
        return {}
    found: dict[str, list[StoredMessage]] = {}
    with closing(open_vault(settings)) as vault:
        record = RuntimeRecord(paths.audit, vault, settings.retention.pipe_s)
        for rid, (tenant, _) in logged.items():
            try:
                stored = record.read(tenant, rid)
            except ErasedError:
                found[rid] = []
            else:
                found |= {rid: stored} if stored else {}
    return found


async def replay_all(
    settings: Settings,
    logged: dict[str, tuple[str, AuditedAnswer]],
    deciders: Deciders,
    progress: ProgressReporter,
    kept: Mapping[str, list[StoredMessage]],
    client: Any,
) -> list[ReplayOutcome]:
    """Decide these again, one after another, by what a runtime has `kept` of them, else by the streams. Raises as
    `history` and `replay` do."""
    outcomes = []
    for rid, (tenant, answer) in logged.items():
        stored = kept[rid] if rid in kept else await history(client, rid, tenant, settings.site)
        outcome = await replay(rid, stored, deciders.load_rules, deciders.screen)
        outcomes.append(with_entry(outcome, published_of(stored), answer))
        progress.step(rid)
    return outcomes


async def rules_of(parts: TenantParts[JudgingRules], tenant: str, generation: int) -> JudgingRules:
    """What a generation decides by. Raises as `TenantParts.at` does."""
    await parts.refresh(tenant)
    return await parts.at(tenant, generation) or NO_RULES
