"""`tidegate ask`: one question to a running site, with nothing but NATS, as the operator of its server.

Next: services/gateway/nats.py."""

from __future__ import annotations

import asyncio
import textwrap

import click

from tidegate.brokers.jetstream.api import connect
from tidegate.brokers.jetstream.bus import JetStreamBus
from tidegate.schemas import Asked, Citation, Published, Refused, Suggestion, TidegateError, decode, encode, encode_json
from tidegate.schemas.entries import OPERATOR, entry
from tidegate.schemas.subjects import ASK, HUB
from tidegate.services.cli.options import CommandOptions, with_options
from tidegate.services.cli.terminal import echo
from tidegate.services.fleet.endpoints import find_server
from tidegate.services.knowledge.index.markdown import strip_markup
from tidegate.services.languages.words import say_recognised, say_source
from tidegate.services.planning.standing import STAGE as STANDING


class NotAskedError(TidegateError, ValueError):
    """The question was not sent: it cannot be answered where, or as, it is asked."""

    hint = "name a site with --site; `tidegate status` lists them"


@click.command()
@click.argument("text")
@with_options("site", "tenant", "as_json")
@click.option("--asker", default="", help="For whom personal values may be put back.")
@click.option(
    "--budget-ms",
    default=4000,
    show_default=True,
    type=click.IntRange(1, 600_000),
    help="Milliseconds in which an answer is of use.",
)
def ask(options: CommandOptions, text: str, asker: str, budget_ms: int) -> int:
    """Ask TEXT at a running site and print the answer."""
    settings = options.settings()
    if settings.site == HUB:
        raise NotAskedError("the hub takes no questions")
    asked = Asked(tenant=options.tenant or settings.tenants[0], text=text, asker=asker, budget_ms=budget_ms)

    async def go() -> bytes:
        server = find_server(settings)
        async with connect(server, settings.site):  # fails at once where nothing listens; a bus would go on trying
            pass
        async with JetStreamBus.open(server, settings.site) as bus:
            return await bus.request(
                entry(ASK, asked.tenant, OPERATOR), encode(asked), timeout_s=budget_ms / 1000 + 3.0
            )

    reply: Published | Refused = decode(asyncio.run(go()), Published, Refused)
    if options.as_json:
        echo(encode_json(reply))
    elif isinstance(reply, Refused):
        echo(f"error: refused ({reply.code}): {reply.reason}\nhint: {reply.hint}", err=True)
    else:
        show_answer(reply)
    return 1 if isinstance(reply, Refused) else 0


def show_answer(reply: Published) -> None:
    """The answer as a person reads it: text, where it was made, what it rests on, the request id."""
    echo(reply.text + reply.closing)
    took_ms = sum(line.waited_ms + line.worked_ms for line in reply.timings)
    why = f" ({reply.reason})" if reply.reason else ""
    why += ", cut" if reply.receipt.is_cut else ""
    echo(f"\n{reply.outcome}{why} at the {reply.receipt.route} in {took_ms:.0f} ms · request {reply.rid}")
    for citation in reply.citations:
        where = f"page {citation.page}" if citation.page else f"{citation.start}-{citation.end}"
        notes = "".join(f", {each}" for each in describe_source(citation, reply.language))
        echo(f"  [{citation.document_id}@{citation.document_version}] {where}{notes}")
    judged_by = [
        f"{part.id} (epoch {part.epoch})" for part in reply.receipt.lineage if part.kind == "policy" and part.epoch
    ]
    if judged_by:
        echo(f"  judged by {', '.join(judged_by)}")
    for made in reply.receipt.degradations:
        if made.stage == STANDING:
            echo(f"  {made.reason}")
    if reply.receipt.rewriting is not None:
        echo(f"  understood as: {reply.receipt.rewriting.question} (by {reply.receipt.rewriting.by})")
    if reply.suggestions:
        echo("\nRelated, not vouched for:")
    for suggestion in reply.suggestions:
        show_suggestion(suggestion, reply.language)


def describe_source(source: Citation | Suggestion, language: str) -> list[str]:
    """What is to be known of a source, in a few words of the asker's language: how it was read, who signed it, and
    whether it may be out of date."""
    recognised = [say_recognised(language)] if source.is_recognised else []
    return [*recognised, *say_source(language, source.signer, is_fresh=source.is_fresh)]


def show_suggestion(suggestion: Suggestion, language: str) -> None:
    """A passage, where it stands and what it says, without the marks of its document, and what is to be known of it."""
    heading = suggestion.heading
    title = heading if suggestion.title in heading else " › ".join(filter(None, (suggestion.title, heading)))
    where = f", page {suggestion.page}" if suggestion.page else ""
    where += "".join(f", {each}" for each in describe_source(suggestion, language))
    echo(f"  {title}{where} [{suggestion.document_id}] {suggestion.score:.2f}")
    words = " ".join(strip_markup(suggestion.quote).split())
    echo(textwrap.fill(words, 110, initial_indent="    ", subsequent_indent="    "))
