"""`tidegate bisect`: names the artefact whose change altered an answer. Next: services/evidence/bisect.py.

Promises to store, send and ask nothing, and to leave the site's directory as it is."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Sequence
from typing import NamedTuple

import click

from tidegate.brokers.jetstream.history import history
from tidegate.schemas import PIPELINE, Asked, Fact, Message, Published, TidegateError, decode
from tidegate.services.cli.evidence import query_site
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.progress import show_progress
from tidegate.services.evidence.bisect import (
    Answered,
    AnswerOutcome,
    ArtefactChange,
    Bisection,
    BisectReport,
    bisect,
    outcome_of,
)
from tidegate.services.evidence.generation_view import GenerationNotHeldError, open_view
from tidegate.services.evidence.reanswering import RecordedQuestion, open_reanswering
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.settings import Settings


class NothingRecordedError(TidegateError, LookupError):
    """What is stored of the request is not enough to answer it again."""

    hint = "the streams of a site keep questions for three days; name the site with --site, or give --question"


class BisectCase(NamedTuple):
    """What is looked into: the question, the answer that was given and by which generation; None and 0 for a question
    that was never asked."""

    tenant: str
    question: RecordedQuestion
    given: Answered | None = None
    generation: int = 0


@click.command("bisect")
@click.argument("rid", required=False)
@with_options("site", "tenant", "as_json")
@click.option("--question", default="", help="A question, in place of the RID of one that was asked; needs --from.")
@click.option("--from", "first", type=click.IntRange(1), help="The generation to begin with [default: the answer's].")
@click.option("--to", "last", type=click.IntRange(1), help="The generation to end with [default: what is in force].")
def bisect_command(options: CommandOptions, rid: str | None, question: str, first: int | None, last: int | None) -> int:
    """Say what altered the answer to the request RID since it was given: which artefact of the pack (policy, prompt,
    intents, calibration, thesaurus, replies, settings), or which document, model or software.

    Answers the recorded question by the generations that the site still holds, in a binary search. Exit code 1 where
    the answer is another one.
    """
    if (rid is None) == (not question):
        raise click.UsageError("give the RID of a request, or --question TEXT")
    if question and first is None:
        raise click.UsageError("--question needs --from GENERATION")
    settings = options.site_settings()
    case = new_case(options, question) if rid is None else recorded_case(options, rid)
    with show_progress() as progress:
        report = asyncio.run(run_bisect(settings, case, (first, last), progress))
    print_result(report, describe_report(report), options.as_json)
    return 0 if report.verdict == "same" else 1


def new_case(options: CommandOptions, text: str) -> BisectCase:
    """A question that nobody asked."""
    settings, now_ms = options.site_settings(), int(time.time() * 1000)
    tenant = options.tenant or settings.tenants[0]
    asked = Asked(text=text, rid=secrets.token_hex(8), tenant=tenant, site=settings.site, asked_at_ms=now_ms)
    return BisectCase(tenant, RecordedQuestion(asked, is_new=True))


def recorded_case(options: CommandOptions, rid: str) -> BisectCase:
    """The request RID as the streams of the site have it. Raises `NothingRecordedError`, and as `history` does."""
    settings = options.site_settings()
    stored = query_site(options, lambda client: history(client, rid, options.tenant or "*", settings.site))
    facts: Sequence[Message] = [decode(each.data, *PIPELINE) for each in stored]
    question = RecordedQuestion.of(facts)
    published = next((fact for fact in facts if isinstance(fact, Published)), None)
    if question is None or published is None:
        raise NothingRecordedError(f"{settings.site} has no question, or no answer, of request {rid}")
    given = Answered(outcome_of(published), published.receipt.lineage)
    generation = max(fact.generation for fact in facts if isinstance(fact, Fact))
    return BisectCase(published.tenant, question, given, generation)


async def run_bisect(
    settings: Settings, case: BisectCase, wanted: tuple[int | None, int | None], progress: ProgressReporter
) -> BisectReport:
    """Look into a case between two generations. Raises `GenerationNotHeldError`, and what the stages raise."""
    with open_view(settings, case.tenant) as view:
        numbers = view.numbers
        if not numbers:
            reason = (
                f"{settings.site} answers {case.tenant} by the folder of its pack, of which it keeps no earlier one"
            )
            raise GenerationNotHeldError(reason)
        first = wanted[0] or case.generation or numbers[0]
        held = view.between(first, wanted[1] or numbers[-1])
        progress.start("opening the stages of the site")
        async with open_reanswering(view.settings) as site:
            progress.start("answering again, by one generation after another")

            async def answer(number: int) -> Answered:
                progress.step(f"generation {number}")
                return await site.answer(case.question, number)

            async def mixed(before: int, after: int, name: str) -> Answered:
                progress.step(f"{before} with {name} of {after}")
                return await site.answer(case.question, await asyncio.to_thread(view.mix, before, after, name))

            given = case.given if first == case.generation else None
            return await bisect(given, held, Bisection(answer, mixed, view.changes))


def describe_report(report: BisectReport) -> str:
    """What was found, as a person reads it."""
    made = f"{report.answers} answers were made"
    if report.verdict == "same":
        return f"nothing altered it: {describe_outcome(report.first)}\n{made}"
    lines = [f"then: {describe_outcome(report.first)}", f"now:  {describe_outcome(report.last)}"]
    if report.verdict == "elsewhere":
        lines.append("no generation altered it: the one that it was given by gives another answer now")
        lines.append("what contributes in another version:" if report.culprits else "and the same parts contribute")
    else:
        lines.append(f"altered between the generations {report.before} and {report.after}, by")
        if report.is_together:
            lines.append("  none of these alone, all of them together:")
    return "\n".join([*lines, *map(describe_change, report.culprits), made])


def describe_change(change: ArtefactChange) -> str:
    """An artefact, as it was and as it is."""
    return f"  {change.name}: {change.before or 'not there'} > {change.after or 'not there'}"


def describe_outcome(outcome: AnswerOutcome) -> str:
    """In one line."""
    cited = f" [{', '.join(outcome.cited)}]" if outcome.cited else ""
    reason = f" ({outcome.reason})" if outcome.reason else ""
    return f"{outcome.kind}{reason}: {outcome.text!r}{cited}" if outcome.text else f"{outcome.kind}{reason}"
