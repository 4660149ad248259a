"""The floor: the same seven hops in as little nats-py as keeps what we promise."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

import nats
from nats.aio.client import Client
from nats.aio.msg import Msg

from loadtests.bench.chain import Hop
from loadtests.bench.peer import declare, policy
from tidegate.schemas.subjects import rid_of

PEER = "bare"


@contextlib.asynccontextmanager
async def walked(url: str, hops: Sequence[Hop]) -> AsyncIterator[None]:
    """Walk the hops until left: a push consumer each, `js.publish` awaited, then the ack; one connection for all.

    Bytes go in and bytes come out: nothing is decoded, nothing retried, nothing watched. A redelivery would store
    nothing twice, for the message id is made from the request id and the stage.
    """
    client = await nats.connect(url, max_reconnect_attempts=0)
    try:
        await declare(client, PEER, hops)
        for hop in hops:
            await _subscribe(client, hop)
        await client.flush()
        yield
    finally:
        await client.close()


async def _subscribe(client: Client, hop: Hop) -> None:
    await client.jetstream().subscribe(
        f"{PEER}.{hop.reads}",
        stream=f"{PEER.upper()}_{hop.source}",
        durable=hop.stage,
        cb=_stage(client, hop),
        manual_ack=True,
        config=policy(),
    )


def _stage(client: Client, hop: Hop) -> Callable[[Msg], Awaitable[None]]:
    stream = client.jetstream()

    async def step(msg: Msg) -> None:
        rid = rid_of(msg.subject)
        await stream.publish(
            f"{PEER}.{hop.leaves}{rid}", hop.payload, headers={"Nats-Msg-Id": f"{rid}.{hop.stage}.0"}, timeout=30
        )
        await msg.ack()

    return step
