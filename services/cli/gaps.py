"""`tidegate gaps`: the questions that a site could not answer, for the authors of its documents.

Read from what the site has stored, as `trace` is; nothing is written. Next: services/evaluation/open_questions.py."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Any

import click

from tidegate.brokers.jetstream.history import messages
from tidegate.schemas import Published, Screened, TidegateError, UnreadableError, Withheld, decode, subjects
from tidegate.schemas.message import M
from tidegate.services.cli.evidence import format_time, query_site
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.cli.terminal import echo
from tidegate.services.evaluation.open_questions import (
    Embed,
    OpenQuestion,
    QuestionGroup,
    group_questions,
    open_question,
)
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.settings import Settings

_DURATION = re.compile(r"(\d{1,6})([mhdw])")
_SECONDS = {"m": 60, "h": 3600, "d": 86_400, "w": 604_800}


class BadSinceError(TidegateError, ValueError):
    """`--since` is neither a duration nor a date."""

    hint = "write 90m, 24h, 7d or 2w for that long ago, or a date as 2026-03-01, in UTC"


@click.command()
@with_options("site", "tenant", "as_json")
@click.option("--since", default="", help="Only what was asked since: 24h, 7d, or a date as 2026-03-01 (UTC).")
@click.option("--limit", default=20, show_default=True, type=click.IntRange(1), help="The most questions to list.")
def gaps(options: CommandOptions, since: str, limit: int) -> None:
    """List what a site was asked and could not answer, the most frequent first: write these into its documents.

    Questions of one meaning are one line. Personal data in them are named by their kind alone.
    """
    settings, from_s = options.site_settings(), read_since(since, time.time())
    tenant = options.tenant or "*"

    async def read(client: Any) -> list[OpenQuestion]:
        return await read_open_questions(client, tenant, from_s)

    found = group_questions(query_site(options, read), load_embed(settings))
    lines = [line for group in found[:limit] for line in describe_group(group)]
    lines.append(f"{len(found)} open questions at {settings.site}, asked {sum(group.asked for group in found)} times")
    print_result(found[:limit], "\n".join(lines), options.as_json)


async def read_open_questions(client: Any, tenant: str, from_s: float) -> list[OpenQuestion]:
    """What was published without an answer since `from_s`, with the question as it was screened or, after a
    conversation, rewritten. A question whose own fact is gone, by age, is left out."""
    screened = {
        (fact.tenant, fact.rid): fact.question
        for fact, _ in await read_facts(client, subjects.PIPE, subjects.fact_subject(Screened, tenant, "*"), Screened)
    }
    for fact, _ in await read_facts(client, subjects.PIPE, subjects.fact_subject(Withheld, tenant, "*"), Withheld):
        if fact.question is not None:
            screened[fact.tenant, fact.rid] = fact.question
    answers = await read_facts(client, subjects.ANSWERS, f"answers.{tenant}.*", Published)
    found = [
        open_question(published, screened[published.tenant, published.rid], at_s)
        for published, at_s in answers
        if at_s >= from_s and (published.tenant, published.rid) in screened
    ]
    return [each for each in found if each is not None]


async def read_facts(client: Any, stream: str, subject: str, kind: type[M]) -> list[tuple[M, float]]:
    """The readable facts under a subject, with the Unix time at which each was stored."""
    facts: list[tuple[M, float]] = []
    for stored in await messages(client, stream, subject):
        try:
            facts.append((decode(stored.data, kind), stored.stored_at_s))
        except UnreadableError:  # of another version: `trace` shows it
            continue
    return facts


def load_embed(settings: Settings) -> Embed | None:
    """The site's embedding; None where its models were not built here."""
    from tidegate.services.knowledge.embedding import Embedder, EmbeddingModelMissingError  # loads the engine

    try:
        return Embedder.load(StatePaths(settings).models).embed
    except EmbeddingModelMissingError:
        echo("note: no embedding model here, so that questions are grouped by their wording alone", err=True)
        return None


def read_since(text: str, now_s: float) -> float:
    """From which Unix time on. Raises `BadSinceError`."""
    if not text:
        return 0.0
    if (duration := _DURATION.fullmatch(text.strip())) is not None:
        return now_s - int(duration[1]) * _SECONDS[duration[2]]
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise BadSinceError(f"{text!r} is no time") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def describe_group(group: QuestionGroup) -> list[str]:
    """A question as authors read it: how often, what, when, why, and what comes near."""
    reasons = ", ".join(
        f"{reason} {count}" if len(group.reasons) > 1 else reason for reason, count in group.reasons.items()
    )
    lines = [f"{group.asked:>5} × {group.text}", f"        {reasons}, last {format_time(group.last_at_s)}"]
    lines += [f"        also: {wording}" for wording in group.other_wordings]
    for passage in group.nearest:
        where = " › ".join(
            filter(None, (passage.title, passage.heading, f"page {passage.page}" if passage.page else ""))
        )
        lines.append(f"        near {passage.score:.2f}: [{passage.document_id}] {where}")
    return lines
