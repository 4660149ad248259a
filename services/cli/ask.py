"""`tidegate ask`: one question to a running site, with nothing but its NATS door."""

from __future__ import annotations

import asyncio
from pathlib import Path

import click

from tidegate.services.cli.options import CONFIG, JSON, SITE, load_settings


@click.command()
@click.argument("text")
@SITE
@CONFIG
@click.option("--tenant", default=None, help="Tenant that asks [default: the first of the settings].")
@click.option("--asker", default="", help="For whom vault tokens may be restored.")
@click.option("--budget-ms", default=4000, show_default=True, type=click.IntRange(1, 600_000))
@JSON
def ask(
    text: str, site: str, config: Path | None, tenant: str | None, asker: str, budget_ms: int, as_json: bool
) -> int:
    """Ask TEXT at a running site and print the answer."""
    from tidegate.brokers.jetstream.bus import JetStreamHouse
    from tidegate.schemas import Asked, Published, Refused, decode, encode, encode_json
    from tidegate.schemas.subjects import ASK
    from tidegate.services.fleet.endpoints import nats_of

    settings = load_settings(config, site=site)
    asked = Asked(tenant=tenant or settings.tenants[0], text=text, asker=asker, budget_ms=budget_ms)

    async def go() -> bytes:
        async with JetStreamHouse.open(nats_of(settings), site) as house:
            return await house.request(ASK, encode(asked), timeout_s=budget_ms / 1000 + 3.0)

    reply: Published | Refused = decode(asyncio.run(go()), Published, Refused)
    if as_json:
        click.echo(encode_json(reply))
    elif isinstance(reply, Refused):
        click.echo(
            f"refused ({reply.code}): {reply.reason}" + (f"\nhint: {reply.hint}" if reply.hint else ""), err=True
        )
    else:
        show(reply)
    return 1 if isinstance(reply, Refused) else 0


def show(reply: object) -> None:
    """The answer as a person reads it: text, where it was made, what it rests on, the request id."""
    from tidegate.schemas import Published

    if not isinstance(reply, Published):
        return
    click.echo(reply.text)
    took = sum(line.waited_ms + line.worked_ms for line in reply.ledger)
    why = f" ({reply.reason})" if reply.reason else ""
    why += ", cut" if reply.receipt.is_cut else ""
    click.echo(f"\n{reply.outcome}{why} at the {reply.receipt.route} in {took:.0f} ms · request {reply.rid}")
    for citation in reply.citations:
        click.echo(f"  [{citation.document_id}@{citation.document_version}] {citation.start}-{citation.end}")
