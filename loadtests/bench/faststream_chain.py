"""The same seven hops in FastStream, at the settings of its documentation that were fastest here."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from faststream.nats import JStream, NatsBroker, NatsMessage, PullSub

from loadtests.bench.chain import Hop
from loadtests.bench.peer import declare, policy
from tidegate.schemas.subjects import rid_of

PEER = "faststream"
IN_FLIGHT = 64
WAYS: Mapping[str, Mapping[str, Any]] = {
    "push": {"max_workers": IN_FLIGHT},
    "pull": {"pull_sub": PullSub(batch_size=IN_FLIGHT)},
    "pull-workers": {"pull_sub": PullSub(batch_size=IN_FLIGHT), "max_workers": IN_FLIGHT},
}
"""The ways to subscribe that work on many messages at once."""


@contextlib.asynccontextmanager
async def walked(url: str, hops: Sequence[Hop], way: str = "push") -> AsyncIterator[None]:
    """Walk the hops until left: one broker, one connection; each handler awaits its publication, then FastStream acks.

    Argument validation and logging are off, and messages are handed over undecoded: its documented ways to be quick.
    """
    broker = NatsBroker(url, apply_types=False, logger=None)
    await declare(await broker.connect(), PEER, hops)
    for hop in hops:
        _subscribe(broker, hop, WAYS[way])
    await broker.start()
    try:
        yield
    finally:
        await broker.stop()


def _subscribe(broker: NatsBroker, hop: Hop, options: Mapping[str, Any]) -> None:
    name = {"durable": hop.stage} if "pull_sub" in options else {"queue": hop.stage}
    subscriber: Any = broker.subscriber  # its overloads do not take options that are chosen at run time

    @subscriber(  # type: ignore[untyped-decorator]
        f"{PEER}.{hop.reads}",
        stream=JStream(f"{PEER.upper()}_{hop.source}", declare=False),
        config=policy(),
        decoder=_as_it_came,
        no_reply=True,
        **name,
        **options,
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
