"""Handing over in process: the next stage gets a message at once where it lives in this process, and the store goes on.

Promises that nothing is stored before what it follows from is, that the server's own delivery of what was handed over
costs no second try, and that whatever goes wrong ends as it would have without: see decision 0052. Next: handed.py."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Awaitable, Mapping

from tidegate.brokers.base import COPIED, ArrivalInbox, Broker, Delivery, Inbox, StoreOutcome
from tidegate.brokers.handed import HandedDelivery
from tidegate.brokers.stage import Stage
from tidegate.schemas import Message
from tidegate.schemas.subjects import subject_of

ENDED_KEPT = 1024
"""How many messages a stage remembers that it was handed and has ended: more than the server lets wait for it at once.
One that is forgotten is worked on again, and stores nothing twice."""

MOST_IN_HAND = 4
"""How many messages a stage has in hand at once. With more it is busy, and a message waits for the stage, not for the
server: then what handing over costs buys nothing."""


class HandOverInbox:
    """The deliveries of a stage, those handed over among them, and each message once."""

    def __init__(self, stage: Stage, inbox: Inbox) -> None:
        self._inbox = inbox
        self._is_open = True
        self._held: dict[str, HandedDelivery] = {}
        """By id, what has no outcome yet."""
        self._ended: dict[str, HandedDelivery] = {}
        """By id, what has one that holds for a delivery of the server's that is still to come; the oldest first."""
        self._most = min(stage.concurrency, MOST_IN_HAND)
        if isinstance(inbox, ArrivalInbox):
            inbox.on_arrival(self._settle_known)

    @property
    def has_room(self) -> bool:
        """Whether the stage may be handed one more."""
        return len(self._held) < self._most

    def put(self, delivery: Delivery) -> None:
        """See `Inbox`."""
        self._inbox.put(delivery)

    def offer(self, message: Message, subject: str, headers: Mapping[str, str]) -> HandedDelivery | None:
        """Hand over a message that the stage reads; None where it has it, has had it, or has its hands full: then the
        server delivers it in its turn."""
        name = headers["Nats-Msg-Id"]
        if not self.has_room or name in self._held or name in self._ended:
            return None
        delivery = self._held[name] = HandedDelivery(message, subject, headers, self._on_end)
        self._inbox.put(delivery)
        return delivery

    async def next(self, wait_s: float = 0.2) -> Delivery | None:
        """See `Inbox`; None may take longer where deliveries came that needed nothing done."""
        while (delivery := await self._inbox.next(wait_s)) is not None:
            if isinstance(delivery, HandedDelivery):
                if self._held.get(delivery.id) is delivery:  # else it was taken back while it waited here
                    delivery.has_begun = True
                    return delivery
                continue
            known = self._find_known(delivery)
            if known is None:
                return delivery
            if not known.has_begun:  # the server was quicker
                del self._held[known.id]
                return delivery
            await self._meet(known, delivery)
        return None

    async def take_back(self, handed: HandedDelivery) -> None:
        """What was handed over is not stored as it was. If the server has delivered such a message, that is now to be
        worked on, here or by a peer."""
        handed.withdraw()
        for kept in (self._held, self._ended):
            if kept.get(handed.id) is handed:
                del kept[handed.id]
        if handed.met is None or handed.end is not None:
            return
        if self._is_open:
            self._inbox.put(handed.met)
        else:
            await handed.met.retry(0.0)

    def close(self) -> None:
        """Nothing is handed over any more; what was not begun is left to the server."""
        self._is_open = False
        self._held = {name: handed for name, handed in self._held.items() if handed.has_begun}

    def _settle_known(self, delivery: Delivery) -> Awaitable[None] | None:
        """See `ArrivalInbox`. What is not begun yet is begun by the delivery that comes: `next` sees to it."""
        known = self._find_known(delivery)
        return self._meet(known, delivery) if known is not None and known.has_begun else None

    def _find_known(self, delivery: Delivery) -> HandedDelivery | None:
        handed = self._held.get(delivery.id) or self._ended.get(delivery.id)
        is_its = handed is not None and handed.subject == delivery.subject and COPIED not in delivery.headers
        return handed if is_its else None

    async def _meet(self, handed: HandedDelivery, delivery: Delivery) -> None:
        if handed.end is not None and not handed.is_done:
            del self._ended[handed.id]  # the next delivery of it is another try
        await handed.meet(delivery)

    def _on_end(self, handed: HandedDelivery) -> None:
        if self._held.pop(handed.id, None) is handed and (handed.is_done or handed.met is None):
            self._ended[handed.id] = handed
            if len(self._ended) > ENDED_KEPT:
                del self._ended[next(iter(self._ended))]


class HandOver:
    """The `Broker` of the workers of one process, over that of its domain."""

    def __init__(self, broker: Broker) -> None:
        self.domain = broker.domain
        self._broker = broker
        self._readers: dict[type[Message], list[HandOverInbox]] = {}
        """By type, the inboxes of the stages that read it."""

    async def hand_over(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """As `publish`, while the stages of this process that read the message begin with it.

        Their outputs are not stored before the message is, and never where it is not.
        """
        readers = [inbox for inbox in self._readers.get(type(message), ()) if inbox.has_room]
        if not readers:
            return await self._broker.publish(message, id=id, headers=headers)
        subject = subject_of(message, self.domain)
        stored_headers = {"Nats-Msg-Id": self._broker.id_of(id), **headers}
        offered = [(inbox, inbox.offer(message, subject, stored_headers)) for inbox in readers]
        handed = [(inbox, delivery) for inbox, delivery in offered if delivery is not None]
        outcome = StoreOutcome(is_new=False)
        try:
            outcome = await self._broker.store(message, id=id, headers=headers)
        finally:
            for inbox, delivery in handed:
                if outcome.is_new:
                    delivery.keep(outcome.position)
                else:
                    await inbox.take_back(delivery)
        return outcome.is_new

    async def publish(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """See `Broker`."""
        return await self._broker.publish(message, id=id, headers=headers)

    async def store(self, message: Message, *, id: str, headers: Mapping[str, str]) -> StoreOutcome:
        """See `Broker`."""
        return await self._broker.store(message, id=id, headers=headers)

    def id_of(self, name: str) -> str:
        """See `Broker`."""
        return self._broker.id_of(name)

    async def publish_again(self, message: Message, *, id: str, headers: Mapping[str, str]) -> bool:
        """See `Broker`."""
        return await self._broker.publish_again(message, id=id, headers=headers)

    async def append(self, message: Message, *, after: int) -> int:
        """See `Broker`."""
        return await self._broker.append(message, after=after)

    async def dead_letter(self, delivery: Delivery, stage: str, error: BaseException) -> None:
        """See `Broker`."""
        await self._broker.dead_letter(delivery, stage, error)

    @contextlib.asynccontextmanager
    async def subscribe(self, stage: Stage) -> AsyncIterator[HandOverInbox]:
        """See `Broker`."""
        async with self._broker.subscribe(stage) as received:
            inbox = HandOverInbox(stage, received)
            for kind in stage.accepts:
                self._readers.setdefault(kind, []).append(inbox)
            try:
                yield inbox
            finally:
                for kind in stage.accepts:
                    self._readers[kind].remove(inbox)
                inbox.close()
