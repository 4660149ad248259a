"""The hub's end of two-phase activation: a critical policy is offered to all sites, and published once they hold it.

What was decided is stored before anybody hears of it; a hub that was killed at any step goes on by its files. What is
published is in force by definition: a site that heard nothing activates it all the same. Next: rules/activation.py,
which decides; activation_site.py, a site's end; artefact_publishing.py, who proposes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import structlog
from prometheus_client import Gauge

from tidegate.brokers.jetstream.publisher import Publisher
from tidegate.schemas.artefact import ActivationVote, ArtefactDescriptor, DecideActivation, PrepareActivation
from tidegate.schemas.errors import TidegateError, UnreadableError
from tidegate.schemas.message import Message, encode
from tidegate.schemas.replica import Done
from tidegate.schemas.subjects import artefacts, site_of
from tidegate.sync.rules.activation import (
    Coordinator,
    CoordinatorAction,
    CoordinatorEvent,
    CoordinatorEventKind,
    decision_of,
    split_brain_s,
    step_coordinator,
)
from tidegate.sync.shells.hub_repository import HubRepository
from tidegate.sync.trust.files import PRIVATE, replace_file
from tidegate.sync.trust.site_records import SiteRecord
from tidegate.sync.trust.targets import prepared_path

TICK_S = 0.25
ACTIVATION = "activation"
"""The word in the subjects of what is sent to sites: it stands where the kind of an artefact would."""
SPLIT_BRAIN = Gauge(
    "tidegate_policy_split_brain_seconds",
    "For how long some site has decided, or decided, by an older epoch than the one that was committed last.",
    ["tenant", "name"],
)
log = structlog.get_logger()


class OtherVoterError(TidegateError):
    """A site votes in the name of another."""

    hint = "a site speaks for itself only; see who has its credential"


class ActivationBusyError(TidegateError):
    """Sites are being asked for an epoch of this artefact: the next one waits."""

    hint = "publish it again when it is decided, within half a minute"


class ActivationPorts(msgspec.Struct, frozen=True, kw_only=True):
    """What the coordinators of a hub stand on: the sites of a tenant with a live lease, and all that serve it."""

    directory: Path
    repository: HubRepository
    publisher: Publisher
    leased: Callable[[str], frozenset[str]]
    records: Callable[[str], tuple[SiteRecord, ...]]
    timeout_ms: int = 30_000


class ActivationCoordinators:
    """One coordinator for each critical artefact, by tenant and name; one event at a time for each."""

    def __init__(self, ports: ActivationPorts) -> None:
        self._ports = ports
        self._known: dict[tuple[str, str], Coordinator] = {}
        self._stepping: dict[tuple[str, str], asyncio.Lock] = {}
        self._finished: dict[tuple[str, str], int] = {}
        self._changed = asyncio.Condition()
        self.fault = ""

    def in_force(self) -> Mapping[str, int]:
        """The epochs that are committed, as `<tenant>/<name>`."""
        return {f"{tenant}/{name}": each.in_force for (tenant, name), each in self._known.items() if each.in_force}

    def coordinator(self, tenant: str, name: str) -> Coordinator:
        """What is stored of one artefact."""
        return self._known.get((tenant, name), Coordinator())

    async def recover(self) -> None:
        """Go on where the hub was stopped. Raises `UnreadableError`, and what publishing raises."""
        self._ports.directory.mkdir(parents=True, exist_ok=True)
        for path in sorted(self._ports.directory.glob("*.msgpack")):
            tenant, _, name = path.stem.partition(".")
            self._known[tenant, name] = _read(path)
            await self._step(tenant, name, self._event("recovered", tenant))

    def check_idle(self, tenant: str, name: str) -> None:
        """Raises `ActivationBusyError` while sites are asked for an epoch of the artefact."""
        known = self.coordinator(tenant, name)
        if known.phase == "preparing":
            raise ActivationBusyError(f"epoch {known.last_epoch} of {tenant}/{name} waits for its sites")

    async def propose(self, artefact: ArtefactDescriptor) -> DecideActivation:
        """Offer a prepared artefact to the sites, and return what was decided. Raises `ActivationBusyError`, and what
        publishing raises; the decision is made all the same."""
        key = (artefact.tenant, artefact.name)
        self.check_idle(*key)
        event = self._event("propose", artefact.tenant)
        await self._step(*key, msgspec.structs.replace(event, artefact=artefact, timeout_ms=self._ports.timeout_ms))
        if self.coordinator(*key).artefact != artefact:
            raise ActivationBusyError(f"epoch {artefact.epoch} of {'/'.join(key)} is over, or another one is under way")
        await self._step(*key, self._event("tick", artefact.tenant))
        async with self._changed:
            await self._changed.wait_for(lambda: self._is_decided(artefact))
        decision = decision_of(self.coordinator(*key))
        assert decision is not None  # it is decided
        return decision

    async def answer(self, subject: str, vote: ActivationVote) -> Message:
        """A site's vote: the decision, where there is one; else it is noted. Raises `OtherVoterError`, and what
        publishing raises."""
        if vote.site != site_of(subject):
            raise OtherVoterError(f"{site_of(subject)} votes as {vote.site}")
        event = msgspec.structs.replace(self._event("vote", vote.tenant), vote=vote)
        if (vote.tenant, vote.name) not in self._known:
            return Done()
        await self._step(vote.tenant, vote.name, event)
        decision = decision_of(self.coordinator(vote.tenant, vote.name))
        return decision if decision is not None and decision.epoch >= vote.epoch else Done()

    async def keep(self) -> None:
        """Let time pass: a lease that ends, or the deadline, decides too. What fails is tried again."""
        while True:
            await asyncio.sleep(TICK_S)
            try:
                for tenant, name in list(self._known):
                    await self._step(tenant, name, self._event("tick", tenant))
                    await self._finish(tenant, name)
                    self._measure(tenant, name)
                self.fault = ""
            except (TidegateError, OSError) as error:
                if str(error) != self.fault:
                    log.warning("not_activated", reason=str(error))
                self.fault = str(error)

    async def _step(self, tenant: str, name: str, event: CoordinatorEvent) -> None:
        async with self._stepping.setdefault((tenant, name), asyncio.Lock()):
            step = step_coordinator(self.coordinator(tenant, name), event)
            for action in step.actions:
                await self._act(action, tenant, name, step.coordinator)
        async with self._changed:
            self._changed.notify_all()

    async def _act(self, action: CoordinatorAction, tenant: str, name: str, after: Coordinator) -> None:
        if action == "store":
            path = self._ports.directory / f"{tenant}.{name}.msgpack"
            await asyncio.to_thread(replace_file, path, msgspec.msgpack.encode(after), PRIVATE)
            self._known[tenant, name] = after
        elif action == "send-prepare" and after.artefact is not None:
            await self._send(tenant, name, PrepareActivation(artefact=after.artefact), f"prepare.{after.last_epoch}")
        elif action == "send-decision":
            await self._finish(tenant, name)

    async def _finish(self, tenant: str, name: str) -> None:
        """Publish what was committed, drop what was not, and have the sites know; what is done is not done again."""
        known = self.coordinator(tenant, name)
        decision, artefact = decision_of(known), known.artefact
        if decision is None or artefact is None or self._finished.get((tenant, name)) == decision.epoch:
            return
        targets = (await asyncio.to_thread(self._ports.repository.repository.state)).targets.targets
        if (path := prepared_path(artefact)) in targets:
            manifest = await asyncio.to_thread(self._ports.repository.manifest, path)
            if decision.outcome == "commit" and manifest.artefact == artefact:
                await self._ports.repository.publish([msgspec.structs.replace(manifest, is_prepared=False)], [path])
            else:
                await self._ports.repository.publish([], [path])
        await self._send(tenant, name, decision, f"{decision.outcome}.{decision.epoch}")
        self._finished[tenant, name] = decision.epoch

    async def _send(self, tenant: str, name: str, message: Message, id: str) -> None:
        subject = artefacts(tenant, ACTIVATION, name)
        await self._ports.publisher.publish(subject, encode(message), {"Nats-Msg-Id": f"{tenant}.{name}.{id}"})

    def _event(self, kind: CoordinatorEventKind, tenant: str) -> CoordinatorEvent:
        return CoordinatorEvent(kind=kind, now_ms=self._ports.repository.now_ms(), leased=self._ports.leased(tenant))

    def _is_decided(self, artefact: ArtefactDescriptor) -> bool:
        known = self.coordinator(artefact.tenant, artefact.name)
        return known.last_epoch >= artefact.epoch and known.phase in ("committed", "aborted")

    def _measure(self, tenant: str, name: str) -> None:
        known = self.coordinator(tenant, name)
        if known.phase != "committed":
            return
        key = f"{tenant}/{name}"
        activated = {
            record.site: record.activated_at_ms.get(key) if record.epochs.get(key, 0) >= known.in_force else None
            for record in self._ports.records(tenant)
        }
        seconds = split_brain_s(known.decided_at_ms, activated, self._ports.repository.now_ms())
        SPLIT_BRAIN.labels(tenant, name).set(seconds)


def _read(path: Path) -> Coordinator:
    try:
        return msgspec.msgpack.decode(path.read_bytes(), type=Coordinator)
    except msgspec.DecodeError as error:
        raise UnreadableError(f"{path}: {error}", "delete it; then publish the policy anew") from error
