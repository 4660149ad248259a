"""The hub's end of what sites ask: what they may hold, heads, deltas, digests, documents, and their own edits again.

Who asks is taken from the subject, which the server lets no other site send under; each reply fits one message, and
what is refused is told as what it is. Next: hub_requests.py, the site's end; hub_client.py, `HubState`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from tidegate.brokers.base import CoreClient, report
from tidegate.schemas.clocks import author_of
from tidegate.schemas.comparison import RangeRequest
from tidegate.schemas.errors import RetryLaterError, TidegateError
from tidegate.schemas.following import (
    MOST_DELTAS,
    DeltasReply,
    DeltasRequest,
    FollowReply,
    FollowRequest,
    HeadRequest,
    SendOperations,
)
from tidegate.schemas.message import Message, decode, encode
from tidegate.schemas.replica import Done
from tidegate.schemas.replication import DocumentsRequest, HeldDocuments, RelayReceipt
from tidegate.schemas.subjects import comparison, site_of
from tidegate.schemas.sync import CollectionDelta, CollectionHead
from tidegate.sync.hub_client import MOST_REPLY_BYTES
from tidegate.sync.records import DocumentDamagedError
from tidegate.sync.rules.ownership import NotOwnedError, check_read, may_hold
from tidegate.sync.shells.grants import SiteSelection
from tidegate.sync.shells.hub_tenant import HubTenant
from tidegate.sync.shells.refused_sites import OnRefused, tell_nobody
from tidegate.sync.shells.wire_faults import fault_of

MOST_BYTES = (1 << 20) - 4096
"""What a server lets through in one message (`max_payload`), less its headers."""


class ReplyTooLargeError(TidegateError):
    """What was asked for does not fit one message."""

    hint = "a document whose versions are so large is repaired by a snapshot of its collection"


class SiteAdmission(SiteSelection, Protocol):
    """Which sites the hub answers: those that are provisioned, not revoked, and hold a lease."""

    def check(self, site: str, tenant: str) -> None:
        """Raises a `TidegateError` where the site is to be told nothing of the tenant now."""


class SiteWatcher(Protocol):
    """Hears what sites tell of themselves when they ask."""

    async def follow(self, site: str, request: FollowRequest) -> None:
        """A site asked what it may hold, and told how far it is."""

    def taking(self, tenant: str, operations: int, *, is_settled: bool) -> None:
        """So many operations of a site, or documents, came past the stream: told before they are relayed, and when
        they are in the log, or are refused."""

    def damaged(self, tenant: str, collection: str) -> None:
        """A document that was asked for is damaged on the hub's own disk."""


class HubEndpoints:
    """Answers every site. `admission`: None answers all that the server lets ask; `on_refused` hears of what is not."""

    def __init__(
        self,
        tenants: Mapping[str, HubTenant],
        watcher: SiteWatcher,
        clock: Callable[[], int],
        admission: SiteAdmission | None = None,
        on_refused: OnRefused = tell_nobody,
    ) -> None:
        self._tenants = tenants
        self._watcher = watcher
        self._clock = clock
        self._admission = admission
        self._on_refused = on_refused
        self._answers: dict[type[Message], Callable[[str, Any], Awaitable[Message]]] = {
            FollowRequest: self._follow,
            HeadRequest: self._head,
            DeltasRequest: self._deltas,
            RangeRequest: self._ranges,
            DocumentsRequest: self._documents,
            HeldDocuments: self._absorb,
            SendOperations: self._take,
        }

    async def serve(self, core: CoreClient) -> None:
        """Answer on `core` until it is closed."""
        await core.respond_by_subject(comparison("*"), self.answer)

    async def answer(self, subject: str, data: bytes) -> bytes:
        """The reply to one request of the site that the subject names, a fault included."""
        try:
            request: Message = decode(data, *self._answers)
            reply = encode(await self._answers[type(request)](site_of(subject), request))
            if len(reply) > MOST_BYTES:
                raise ReplyTooLargeError(f"the reply to a {type(request).__name__} takes {len(reply)} bytes")
        except (TidegateError, OSError) as error:
            if isinstance(error, TidegateError):
                self._on_refused(site_of(subject), error)
            return encode(fault_of(error))
        except Exception as error:  # noqa: BLE001 - whoever asks is to know that it failed, and so are we
            report(error, "a site's request was not answered")
            return encode(fault_of(error))
        return reply

    def _tenant(self, site: str, name: str) -> HubTenant:
        if self._admission is not None:
            self._admission.check(site, name)
        tenant = self._tenants.get(name)
        if tenant is None:
            raise NotOwnedError(f"this hub has no tenant {name} for {site}")
        if not tenant.is_recovered:
            raise RetryLaterError(f"the hub reads its log of {name}", after_s=0.5)
        return tenant

    async def _follow(self, site: str, request: FollowRequest) -> FollowReply:
        tenant = self._tenant(site, request.tenant)
        _check_actor(site, request.actor)
        await self._watcher.follow(site, request)
        now_ms = self._clock()
        with tenant.store.reading() as reader:
            rules = [reader.record(name).collection for name in reader.collections()]
            fence = reader.fence(request.actor)
        held = tuple(each for each in rules if may_hold(each, site))
        shared = [each.name for each in held if each.owner == "shared"]
        heads = [await tenant.head_at_rest(site, name, now_ms) for name in shared]
        return FollowReply(
            tenant=request.tenant,
            collections=held,
            heads=tuple(head for head in heads if head is not None),
            withdrawn=tuple(each.name for each in rules if each.name in request.positions and each not in held),
            mark=tenant.relay.mark_of(request.actor),
            fence=fence,
            known_at_ms=now_ms,
        )

    async def _head(self, site: str, request: HeadRequest) -> CollectionHead:
        return await self._tenant(site, request.tenant).head(site, request.collection, self._clock())

    async def _deltas(self, site: str, request: DeltasRequest) -> DeltasReply:
        tenant = self._tenant(site, request.tenant)
        tenant.state.check(site, request.collection)
        last = min(request.last, request.first + MOST_DELTAS - 1)
        found = await tenant.deltas(request.collection, request.epoch, request.first, last)
        return DeltasReply(tenant=request.tenant, collection=request.collection, deltas=_fitting(found))

    async def _ranges(self, site: str, request: RangeRequest) -> Message:
        return self._tenant(site, request.tenant).state.ranges(site, request)

    async def _documents(self, site: str, request: DocumentsRequest) -> HeldDocuments:
        tenant = self._tenant(site, request.tenant)
        try:
            return tenant.state.documents(site, request)
        except DocumentDamagedError as error:
            self._watcher.damaged(request.tenant, request.collection)
            raise RetryLaterError(f"at the hub: {error.reason}; it is repaired there first", after_s=1.0) from error

    async def _absorb(self, site: str, offered: HeldDocuments) -> Done:
        tenant = self._tenant(site, offered.tenant)
        check_read(tenant.store.record(offered.collection).collection, site)
        with self._taking(offered.tenant, len(offered.documents)):
            await tenant.relay.absorb(offered, self._clock())
        return Done()

    async def _take(self, site: str, sent: SendOperations) -> RelayReceipt:
        tenant = self._tenant(site, sent.tenant)
        _check_actor(site, sent.actor)
        if sent.operations:
            with self._taking(sent.tenant, len(sent.operations)):
                return await tenant.take(site, sent.operations, self._clock())
        with tenant.store.reading() as reader:
            fence = reader.fence(sent.actor)
        mark = tenant.relay.mark_of(sent.actor)
        return RelayReceipt(actor=sent.actor, outcome="fenced" if fence else "known", reason=fence, mark=mark)

    @contextmanager
    def _taking(self, tenant: str, operations: int) -> Iterator[None]:
        self._watcher.taking(tenant, operations, is_settled=False)
        try:
            yield
        finally:
            self._watcher.taking(tenant, operations, is_settled=True)


def _check_actor(site: str, actor: str) -> None:
    if author_of(actor) != site:
        raise NotOwnedError(f"{site} asked as {actor}")


def _fitting(deltas: tuple[CollectionDelta, ...]) -> tuple[CollectionDelta, ...]:
    """The first deltas, as many as one reply has room for."""
    left = MOST_REPLY_BYTES
    for number, delta in enumerate(deltas):
        left -= len(encode(delta))
        if left < 0 and number:
            return deltas[:number]
    return deltas
