"""A site's end of two-phase activation: it fetches and verifies what is prepared, says so, and goes on as it is.

It activates what the hub has published, however it heard of it (artefact_sync.py); a vote promises no more. Next:
rules/activation.py; activation_hub.py, the hub's end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import structlog

from tidegate.brokers.base import CoreClient, UnreachableError
from tidegate.brokers.process.tasks import end_tasks
from tidegate.schemas.artefact import ActivationVote, ArtefactDescriptor, DecideActivation, PrepareActivation
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.message import decode, encode
from tidegate.schemas.replica import Done, ReplicaFault
from tidegate.schemas.subjects import activation_vote
from tidegate.sync.rules.activation import Participant, decide, prepare
from tidegate.sync.rules.staleness import Now
from tidegate.sync.shells.lease_requests import TIMEOUT_S
from tidegate.sync.trust.client import RepositoryClient
from tidegate.sync.trust.faults import BlobMissingError, SourceUnavailableError, UnknownTargetError
from tidegate.sync.trust.files import PRIVATE, replace_file
from tidegate.sync.trust.holdings import Holdings
from tidegate.sync.trust.targets import artefact_path, prepared_path

RETRY_S, MOST_RETRY_S = 0.1, 5.0
log = structlog.get_logger()
CheckArtefact = Callable[[ArtefactDescriptor, Path], None]
"""Whether this site could use the artefact in the file. Raises a `TidegateError` that says why not."""


class ParticipantPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What a site takes part with. `check` looks at the bytes, in a thread; `committed` is called when something that
    is not here yet was published."""

    bus: CoreClient
    site: str
    directory: Path
    client: RepositoryClient
    holdings: Holdings
    now: Callable[[], Now]
    committed: Callable[[], None]
    check: CheckArtefact = lambda _artefact, _file: None


class ActivationParticipants:
    """All critical artefacts of a site. Messages of the hub may come late, twice, and in any order."""

    def __init__(self, ports: ParticipantPorts) -> None:
        self._ports = ports
        self._preparing: dict[tuple[str, str], asyncio.Task[None]] = {}
        self._asked: dict[tuple[str, str], int] = {}

    def participant(self, artefact: ArtefactDescriptor) -> Participant:
        """What is in force of an artefact here, and what is prepared."""
        held = self._ports.holdings.activated().get(artefact_path(artefact))
        stored = self._read(artefact.tenant, artefact.name)
        in_force = held.artefact if held else None
        is_over = stored is not None and in_force is not None and stored.epoch <= in_force.epoch
        return Participant(in_force=in_force, prepared=None if is_over else stored)

    async def hear(self, message: PrepareActivation | DecideActivation) -> None:
        """Take a message of the hub. What it asks for goes on in the background."""
        if isinstance(message, DecideActivation):
            await self._decide(message)
            return
        key = (message.artefact.tenant, message.artefact.name)
        if message.artefact.epoch <= self.participant(message.artefact).epoch:
            return
        await self._stop(key)
        self._asked[key] = message.artefact.epoch
        self._preparing[key] = asyncio.create_task(self._prepare(message.artefact))

    async def close(self) -> None:
        """Take part in nothing more."""
        for key in list(self._preparing):
            await self._stop(key)

    async def _prepare(self, artefact: ArtefactDescriptor) -> None:
        """Hold the artefact, verified, and vote, until the hub has heard it."""
        try:
            vote = await self._vote_on(artefact)
            for wait_s in _waits():
                if vote is None or await self._send(vote):
                    return
                await asyncio.sleep(wait_s)
        except (TidegateError, OSError) as error:
            log.warning("not_prepared", tenant=artefact.tenant, name=artefact.name, reason=str(error))

    async def _vote_on(self, artefact: ArtefactDescriptor) -> ActivationVote | None:
        vote = ActivationVote(tenant=artefact.tenant, name=artefact.name, site=self._ports.site, epoch=artefact.epoch)
        verified = ""
        for wait_s in _waits():
            try:
                verified = await self._fetch(artefact)
                break
            except (BlobMissingError, SourceUnavailableError, UnknownTargetError):  # it is on its way
                await asyncio.sleep(wait_s)
            except TidegateError as error:
                return msgspec.structs.replace(vote, fault=f"{error.code}: {error.reason}")
        step = prepare(self.participant(artefact), artefact, verified)
        if step.participant.prepared is not None:
            await asyncio.to_thread(self._store, step.participant.prepared)
        return msgspec.structs.replace(vote, digest=verified) if step.votes else None

    async def _fetch(self, artefact: ArtefactDescriptor) -> str:
        """The digest of the bytes, once they are here and could be used. Raises `UnknownTargetError` where the hub has
        not published just this as prepared, as far as is known here."""
        path, ports = prepared_path(artefact), self._ports
        generation = await ports.client.refresh(ports.now)
        if generation.artefacts.get(path) != artefact:
            raise UnknownTargetError(f"epoch {artefact.epoch} of {path} is not published here")
        file = (await ports.client.fetch(path)).file
        assert file is not None  # an artefact has one
        await asyncio.to_thread(ports.check, artefact, file)
        return file.name

    async def _send(self, vote: ActivationVote) -> bool:
        """Whether the hub has heard the vote; its decision is taken at once, where it has made one."""
        try:
            reply = await self._ports.bus.request(activation_vote(vote.site), encode(vote), timeout_s=TIMEOUT_S)
        except UnreachableError:
            return False
        answer = decode(reply, DecideActivation, Done, ReplicaFault)
        if isinstance(answer, ReplicaFault):
            log.warning("vote_refused", code=answer.code, reason=answer.reason)
        elif isinstance(answer, DecideActivation):
            await self._decide(answer)
        return True

    async def _decide(self, decision: DecideActivation) -> None:
        key = (decision.tenant, decision.name)
        if self._asked.get(key, 0) <= decision.epoch:
            await self._stop(key)
        stored = self._read(*key)
        step = decide(Participant(prepared=stored), decision)
        if decision.outcome == "abort":
            if stored is not None and step.participant.prepared is None:
                await asyncio.to_thread(self._path(*key).unlink, missing_ok=True)
            return
        self._ports.committed()

    async def _stop(self, key: tuple[str, str]) -> None:
        task = self._preparing.pop(key, None)
        if task is not None and task is not asyncio.current_task():
            await end_tasks(task)

    def _read(self, tenant: str, name: str) -> ArtefactDescriptor | None:
        try:
            return decode(self._path(tenant, name).read_bytes(), ArtefactDescriptor)
        except FileNotFoundError:
            return None

    def _store(self, prepared: ArtefactDescriptor) -> None:
        replace_file(self._path(prepared.tenant, prepared.name), encode(prepared), PRIVATE)

    def _path(self, tenant: str, name: str) -> Path:
        return self._ports.directory / f"{tenant}.{name}.msgpack"


def _waits() -> Iterator[float]:
    """How long to wait before each further try, for ever."""
    wait_s = RETRY_S
    while True:
        yield wait_s
        wait_s = min(MOST_RETRY_S, 1.5 * wait_s)
