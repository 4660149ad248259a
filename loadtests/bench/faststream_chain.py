"""The same seven hops in FastStream, at the settings of its documentation that were fastest here."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Sequence

from faststream.nats import JStream, NatsBroker, NatsMessage

from loadtests.bench.chain import Hop
from loadtests.bench.peer import declare, policy
from tidegate.schemas.subjects import rid_of

PEER = "faststream"
IN_FLIGHT = 64


@contextlib.asynccontextmanager
async def walked(url: str, hops: Sequence[Hop]) -> AsyncIterator[None]:
    """Walk the hops until left: one broker, one connection; each handler awaits its publication, then FastStream acks.

    Argument validation and logging are off, and messages are handed over undecoded: its documented ways to be quick.
    """
    broker = NatsBroker(url, apply_types=False, logger=None)
    await declare(await broker.connect(), PEER, hops)
    for hop in hops:
        _subscribe(broker, hop)
    await broker.start()
    try:
        yield
    finally:
        await broker.stop()


def _subscribe(broker: NatsBroker, hop: Hop) -> None:
    @broker.subscriber(
        f"{PEER}.{hop.reads}",
        hop.stage,
        stream=JStream(f"{PEER.upper()}_{hop.source}", declare=False),
        config=policy(),
        decoder=_as_it_came,
        no_reply=True,
        max_workers=IN_FLIGHT,
    )
    async def step(message: NatsMessage) -> None:
        rid = rid_of(message.raw_message.subject)
        await broker.publish(
            hop.payload,
            f"{PEER}.{hop.leaves}{rid}",
            headers={"Nats-Msg-Id": f"{rid}.{hop.stage}.0"},
            stream=f"{PEER.upper()}_{hop.sink}",
            timeout=30.0,
        )


async def _as_it_came(message: NatsMessage) -> NatsMessage:
    return message
