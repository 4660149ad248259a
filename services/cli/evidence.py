"""`tidegate trace` and `dead`: what happened to a request, and what could not be settled."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from tidegate.services.cli.options import CONFIG, JSON, SITE, load_settings

if TYPE_CHECKING:
    from tidegate.brokers.jetstream.history import Stored

T = TypeVar("T")


def on_site(config: Path | None, site: str, ask: Callable[[Any], Awaitable[T]]) -> T:
    """Run `ask(client)` against the server of `site`."""
    from tidegate.brokers.jetstream.api import connected
    from tidegate.services.fleet.endpoints import nats_of

    settings = load_settings(config, site=site)

    async def go() -> T:
        async with connected(nats_of(settings), site) as client:
            return await ask(client)

    return asyncio.run(go())


def clock(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")


@click.command()
@click.argument("rid")
@SITE
@click.option("--tenant", default="*", help="Whose request [default: any tenant's].")
@CONFIG
@JSON
def trace(rid: str, site: str, tenant: str, config: Path | None, as_json: bool) -> int:
    """Print every fact of the request RID at a site, in order, with times."""
    from tidegate.brokers.jetstream.history import history

    facts = on_site(config, site, lambda client: history(client, rid, tenant, site))
    rows = [told(fact, facts[0].stored_at_s) for fact in facts]
    if as_json:
        click.echo(msgspec.json.encode(rows))
    elif not rows:
        click.echo(f"error: {site} holds nothing of request {rid}", err=True)
    else:
        for row in rows:
            click.echo(
                f"{row['after_ms']:>9.1f} ms  {row['stream']:<12}{row['sequence']:>7}  {row['fact']:<10} {row['says']}"
            )
    return 0 if rows else 1


def told(stored: Stored, began_s: float) -> dict[str, Any]:
    """One fact as a row: when, where, what, and the part of it that a person looks for."""
    from tidegate.schemas import PIPELINE, UnreadableError, decode

    row: dict[str, Any] = {
        "at": clock(stored.stored_at_s),
        "after_ms": round((stored.stored_at_s - began_s) * 1000, 3),
        "stream": stored.stream,
        "sequence": stored.sequence,
        "subject": stored.subject,
        "headers": dict(stored.headers),
    }
    try:
        message = decode(stored.data, *PIPELINE)
    except UnreadableError as error:
        return {**row, "fact": "unreadable", "says": error.reason, "body": None}
    body = msgspec.to_builtins(message)
    return {**row, "fact": body["type"], "says": gist(body), "body": body}


def gist(body: dict[str, Any]) -> str:
    """What a fact says, in a few words."""
    match body["type"]:
        case "asked":
            return f"sealed, due in {body['deadline_at_ms'] - body['asked_at_ms']} ms"
        case "screened":
            question = body["question"]
            intent = f"{question['intent']} ({question['intent_confidence']:.2f})"
            return f"{question['language']}, {intent}: {question['text']}"
        case "routed":
            plan = body["plan"]
            return f"{plan['where']}, k={plan['k']}: {plan['reason']}"
        case "retrieved":
            found = ", ".join(dict.fromkeys(passage["document_id"] for passage in body.get("passages", ())))
            return found or "no passages"
        case "drafted" | "verified" | "approved":
            answer = body["answer"]
            return f"{answer.get('confidence', 0.0):.2f}: {answer['text']!r}"
        case "escalated":
            return str(body["reason"])
        case "withheld":
            return f"{body['reason']} by {body['stage']}"
        case "published":
            return f"{body['outcome']}: {body['text']!r}"
    return ""


@click.group()
def dead() -> None:
    """List, show and replay dead letters."""


@dead.command("list")
@SITE
@click.option("--stage", default=None, help="Only what this stage buried.")
@CONFIG
@JSON
def dead_list(site: str, stage: str | None, config: Path | None, as_json: bool) -> None:
    """List what could not be settled: who, where, why."""
    from tidegate.brokers.dead_letters import letters

    found = on_site(config, site, lambda client: letters(client, stage))
    if as_json:
        click.echo(msgspec.json.encode(found))
        return
    for letter in found:
        click.echo(
            f"{letter.seq:>6}  {clock(letter.buried_at_s)}  {letter.stage:<14} try {letter.attempt}"
            f"  {letter.size_bytes} bytes  {letter.subject}\n        {letter.reason}"
        )
    click.echo(f"{len(found)} dead letters at {site}")


@dead.command("show")
@click.argument("seq", type=click.IntRange(1))
@SITE
@CONFIG
@JSON
def dead_show(seq: int, site: str, config: Path | None, as_json: bool) -> None:
    """Show letter SEQ, with what can be read of its bytes."""
    from tidegate.brokers.dead_letters import show
    from tidegate.schemas import PIPELINE, UnreadableError, decode

    letter = on_site(config, site, lambda client: show(client, seq))
    if as_json:
        click.echo(msgspec.json.encode(letter))
        return
    for name, value in msgspec.to_builtins(letter).items():
        if name != "data":
            click.echo(f"{name}: {value}")
    try:
        click.echo(msgspec.json.format(msgspec.json.encode(decode(letter.data, *PIPELINE)), indent=2))
    except UnreadableError:
        click.echo(repr(letter.data[:2000]))


@dead.command("replay")
@click.argument("seq", type=click.IntRange(1))
@click.option("--to", default="", help="Another subject than the one it came under.")
@SITE
@CONFIG
@JSON
def dead_replay(seq: int, to: str, site: str, config: Path | None, as_json: bool) -> None:
    """Publish the original bytes of letter SEQ again; the letter stays."""
    from tidegate.brokers.dead_letters import replay

    done = on_site(config, site, lambda client: replay(client, seq, to))
    if as_json:
        click.echo(msgspec.json.encode(done))
    else:
        click.echo(f"letter {done.seq} is {done.stream}:{done.sequence} again, under {done.subject}")
