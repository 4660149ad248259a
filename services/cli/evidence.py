"""`tidegate trace` and `dead`: what happened to a request, and what could not be processed.

Next: brokers/jetstream/dead_letters.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec

from tidegate.brokers.base import StoredMessage
from tidegate.brokers.jetstream.api import connect
from tidegate.brokers.jetstream.dead_letters import get_dead_letter, list_dead_letters, replay_dead_letter
from tidegate.brokers.jetstream.history import history
from tidegate.schemas import PIPELINE, TidegateError, UnreadableError, decode, encode_json
from tidegate.schemas.message import Rid
from tidegate.services.cli.groups import CommandGroup, check_choice
from tidegate.services.cli.options import CommandOptions, print_result, with_options
from tidegate.services.fleet.answer_archive import find_archived
from tidegate.services.fleet.endpoints import find_server
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.languages.words import say_recognised
from tidegate.services.pipeline import WORKERS

T = TypeVar("T")


class UnknownRequestError(TidegateError, LookupError):
    """A site holds no fact of the request, or no request can have such an id."""

    hint = "check the id and name the site that was asked with --site"


def query_site(options: CommandOptions, query: Callable[[Any], Awaitable[T]]) -> T:
    """Run `query(client)` against the server of the site."""
    settings = options.settings()

    async def go() -> T:
        async with connect(find_server(settings), settings.site) as client:
            return await query(client)

    return asyncio.run(go())


def format_time(at_s: float) -> str:
    return datetime.fromtimestamp(at_s, UTC).isoformat(timespec="milliseconds")


@click.command()
@click.argument("rid")
@with_options("site", "tenant", "as_json")
def trace(options: CommandOptions, rid: str) -> None:
    """Print every fact of the request RID at a site, in order, with times; of any tenant unless one is named.

    Of a request of long ago there is the answer, in the archive.
    """
    try:
        msgspec.convert(rid, Rid)
    except msgspec.ValidationError:
        raise UnknownRequestError(f"{rid!r} is no request id", "an id is 1 to 64 of A-Z a-z 0-9 _ -") from None
    site = options.settings().site
    facts = query_site(options, lambda client: history(client, rid, options.tenant or "*", site))
    facts += find_archived(StatePaths(options.settings()).answer_archive, rid, options.tenant or "*")
    if not facts:
        raise UnknownRequestError(f"{site} holds nothing of request {rid}")
    rows = [describe_fact(fact, facts[0].stored_at_s) for fact in facts]
    lines = [
        f"{row['after_ms']:>9.1f} ms  {row['stream']:<12}{row['sequence']:>7}  {row['fact']:<10} {row['gist']}"
        for row in rows
    ]
    print_result(rows, "\n".join(lines), options.as_json)


def describe_fact(stored: StoredMessage, began_s: float) -> dict[str, Any]:
    """One fact as a row: when, where, what, and the part of it that a person looks for."""
    row: dict[str, Any] = {
        "at": format_time(stored.stored_at_s),
        "after_ms": round((stored.stored_at_s - began_s) * 1000, 3),
        "stream": stored.stream,
        "sequence": stored.sequence,
        "subject": stored.subject,
        "headers": dict(stored.headers),
    }
    try:
        message = decode(stored.data, *PIPELINE)
    except UnreadableError as error:
        return {**row, "fact": "unreadable", "gist": error.reason, "body": None}
    body = msgspec.to_builtins(message)
    return {**row, "fact": body["type"], "gist": summarise_fact(body), "body": body}


def summarise_fact(body: dict[str, Any]) -> str:
    """The content of a fact, in a few words."""
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
            how = describe_reading(answer.get("citations", ()), body["question"].get("language", ""))
            return f"{answer.get('confidence', 0.0):.2f}: {answer['text']!r}{how}"
        case "escalated":
            return str(body["reason"])
        case "withheld" | "replied":
            return f"{body['reason']} by {body['stage']}"
        case "published":
            how = describe_reading(body.get("citations", ()), body.get("language", ""))
            return f"{body['outcome']}: {body['text']!r}{how}"
    return ""


def describe_reading(citations: Sequence[dict[str, Any]], language: str) -> str:
    """In brackets, where some of what is cited was recognised in a picture."""
    is_recognised = any(citation.get("is_recognised") for citation in citations)
    return f" ({say_recognised(language)})" if is_recognised else ""


@click.group(cls=CommandGroup)
def dead() -> None:
    """List, show and replay dead letters."""


@dead.command("list")
@with_options("site", "as_json")
@click.option("--stage", help="Only what this stage gave up.")
def dead_list(options: CommandOptions, stage: str | None) -> None:
    """List what could not be processed: who, where, why."""
    if stage is not None:
        check_choice("there is no stage", stage, tuple(WORKERS))
    found = query_site(options, lambda client: list_dead_letters(client, stage))
    lines = [
        f"{letter.seq:>6}  {format_time(letter.dead_at_s)}  {letter.stage:<14} try {letter.attempt}"
        f"  {letter.size_bytes} bytes  {letter.subject}\n        {letter.reason}"
        for letter in found
    ]
    lines.append(f"{len(found)} dead letters at {options.settings().site}")
    print_result(found, "\n".join(lines), options.as_json)


@dead.command("show")
@click.argument("seq", type=click.IntRange(1))
@with_options("site", "as_json")
def dead_show(options: CommandOptions, seq: int) -> None:
    """Show letter SEQ, with what can be read of its bytes."""
    letter = query_site(options, lambda client: get_dead_letter(client, seq))
    lines = [f"{name}: {value}" for name, value in msgspec.to_builtins(letter).items() if name != "data"]
    try:
        lines.append(msgspec.json.format(encode_json(decode(letter.data, *PIPELINE)).decode(), indent=2))
    except UnreadableError:
        lines.append(repr(letter.data[:2000]))
    print_result(letter, "\n".join(lines), options.as_json)


@dead.command("replay")
@click.argument("seq", type=click.IntRange(1))
@click.option("--to", default="", help="Another subject than the one it came under.")
@with_options("site", "as_json")
def dead_replay(options: CommandOptions, seq: int, to: str) -> None:
    """Publish the original bytes of letter SEQ again; the letter stays."""
    done = query_site(options, lambda client: replay_dead_letter(client, seq, to))
    text = f"letter {done.seq} is {done.stream}:{done.sequence} again, under {done.subject}"
    print_result(done, text, options.as_json)
