"""Publishes a file of the hub's machine as the next epoch of an artefact; a critical policy once all sites hold it.

The same bytes under the same terms are not published again. Next: hub_repository.py; activation_hub.py."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import get_args

import msgspec

from tidegate.schemas.artefact import ArtefactDescriptor, ArtefactKind, Rung
from tidegate.schemas.errors import TidegateError, UnreadableError
from tidegate.schemas.replica import ArtefactPublished, ArtefactStatus, PublishArtefact
from tidegate.schemas.switch import Switch, SwitchStatus
from tidegate.sync.shells.activation_hub import ActivationCoordinators
from tidegate.sync.shells.hub_repository import HubRepository
from tidegate.sync.trust.allowed import AllowedDigests, measurement_of
from tidegate.sync.trust.chunks import digest_of_file
from tidegate.sync.trust.switches import switches_in
from tidegate.sync.trust.targets import artefact_path, artefacts_in, prepared_path

KINDS: tuple[ArtefactKind, ...] = get_args(ArtefactKind)
CRITICAL: frozenset[ArtefactKind] = frozenset({"policy"})
"""The kinds that sites activate together, where that is asked for."""


class UnknownArtefactKindError(TidegateError, ValueError):
    """There is no such kind of artefact, or it cannot be activated in two phases."""

    hint = f"kinds are {', '.join(KINDS)}; critical can be: {', '.join(sorted(CRITICAL))}"


class SwitchUnusableError(TidegateError, ValueError):
    """The file is no switch to evidence-only, or one of another tenant or scope than it is published as."""

    hint = "use `tidegate evidence-only on|off`, which writes and publishes it"


class ActivationAbortedError(TidegateError):
    """Not all sites hold the artefact, verified, in time: it is in force nowhere, and its epoch is used up."""

    hint = "`tidegate sync status` shows what the sites lack; then publish it again"


class PublishOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The terms of an artefact: for how long it may be used unseen, whether all sites change to it together, and the
    models that an adapter fits."""

    is_critical: bool = False
    soft_s: int = 7 * 86_400
    hard_s: int = 30 * 86_400
    at_hard: Rung = "evidence-only"
    base_digests: tuple[str, ...] = ()

    @classmethod
    def of(cls, asked: PublishArtefact) -> PublishOptions:
        """The terms in a request."""
        return cls(
            is_critical=asked.is_critical,
            soft_s=asked.soft_s,
            hard_s=asked.hard_s,
            at_hard=asked.at_hard,
            base_digests=asked.base_digests,
        )


class ArtefactPublisher:
    """The hub's. One publication at a time for each artefact."""

    def __init__(
        self, repository: HubRepository, coordinators: ActivationCoordinators, allowed: AllowedDigests
    ) -> None:
        self._repository = repository
        self._coordinators = coordinators
        self._allowed = allowed
        self._publishing: dict[str, asyncio.Lock] = {}

    async def answer(self, asked: PublishArtefact) -> ArtefactPublished:
        """See `publish`."""
        return await self.publish(asked.tenant, asked.kind, asked.name, Path(asked.path), PublishOptions.of(asked))

    async def publish(
        self, tenant: str, kind: str, name: str, path: Path, options: PublishOptions | None = None
    ) -> ArtefactPublished:
        """Publish a file; returns when it is in the stores, and, where it is critical, in force.

        Raises `UnknownArtefactKindError`, `SwitchUnusableError`, `ActivationAbortedError`, `ActivationBusyError`,
        `ArtefactChangedError`, what signing and storing raise, `OSError`.
        """
        draft = await asyncio.to_thread(_describe, (tenant, kind, name), path, options or PublishOptions())
        target = artefact_path(draft)
        async with self._publishing.setdefault(target, asyncio.Lock()):
            known = artefacts_in((await asyncio.to_thread(self._repository.repository.state)).targets.targets)
            in_force = known.get(target)
            if in_force is not None and _is_same(in_force, draft):
                return _published(in_force, is_new=False)
            if draft.is_critical:
                self._coordinators.check_idle(tenant, name)
            artefact = self._number(draft, [in_force, known.get(prepared_path(draft))])
            self._allowed.allow({measurement_of(artefact): artefact.digest} if kind == "policy" else {})
            await self._repository.publish_file(artefact, path, is_prepared=artefact.is_critical)
            if artefact.is_critical:
                decision = await self._coordinators.propose(artefact)
                if decision.outcome == "abort":
                    raise ActivationAbortedError(f"epoch {artefact.epoch} of {target} was not taken by all sites")
        return _published(artefact, is_new=True)

    def status(self) -> tuple[ArtefactStatus, ...]:
        """All artefacts that are published, and those that are prepared as `offered`. Raises as `Repository.state`
        does."""
        known = artefacts_in(self._repository.repository.state().targets.targets)
        newest: dict[str, ArtefactDescriptor] = {}
        for artefact in sorted(known.values(), key=lambda each: each.epoch):
            newest[artefact_path(artefact)] = artefact
        return tuple(
            ArtefactStatus(
                tenant=artefact.tenant,
                kind=artefact.kind,
                name=artefact.name,
                epoch=known[path].epoch if path in known else 0,
                offered=artefact.epoch,
                digest=(known.get(path) or artefact).digest,
                size=(known.get(path) or artefact).size,
                current_at_ms=(known.get(path) or artefact).published_at_ms,
                is_critical=artefact.is_critical,
            )
            for path, artefact in sorted(newest.items())
        )

    def switches(self) -> tuple[SwitchStatus, ...]:
        """The newest switch of each scope. Raises as `Repository.state` does."""
        known = artefacts_in(self._repository.repository.state().targets.targets)
        return tuple(SwitchStatus(switch=each.switch, epoch=each.epoch) for each in switches_in(known.values()))

    def _number(self, draft: ArtefactDescriptor, known: list[ArtefactDescriptor | None]) -> ArtefactDescriptor:
        """The artefact with the epoch after every one that was ever published or proposed."""
        epochs = [each.epoch for each in known if each is not None]
        if draft.is_critical:
            epochs.append(self._coordinators.coordinator(draft.tenant, draft.name).last_epoch)
        return msgspec.structs.replace(
            draft, epoch=max(epochs, default=0) + 1, published_at_ms=self._repository.now_ms()
        )


def read_switch(path: Path, tenant: str, name: str) -> Switch:
    """The switch of a file (JSON). Raises `SwitchUnusableError`, `OSError`."""
    try:
        switch = msgspec.json.decode(path.read_bytes(), type=Switch)
    except msgspec.DecodeError as error:
        raise SwitchUnusableError(f"{path}: {error}") from error
    if (switch.tenant, switch.name) != (tenant, name):
        raise SwitchUnusableError(f"{path} is {switch.name} of {switch.tenant}, not {name} of {tenant}")
    return switch


def _describe(which: tuple[str, str, str], path: Path, options: PublishOptions) -> ArtefactDescriptor:
    """The file as the first epoch of an artefact."""
    tenant, kind, name = which
    if kind not in KINDS or (options.is_critical and kind not in CRITICAL):
        raise UnknownArtefactKindError(f"{kind!r} is no kind of {'critical ' if options.is_critical else ''}artefact")
    switch = read_switch(path, tenant, name) if kind == "switch" else None
    described = {
        "tenant": tenant,
        "kind": kind,
        "name": name,
        "digest": digest_of_file(path),
        "size": path.stat().st_size,
        "epoch": 1,
        "budget": {"soft_s": options.soft_s, "hard_s": options.hard_s, "at_hard": options.at_hard},
        "is_critical": options.is_critical,
        "base_digests": options.base_digests,
        "switch": switch and msgspec.to_builtins(switch),
        "type": "artefactdescriptor",
    }
    try:
        return msgspec.convert(described, ArtefactDescriptor)
    except msgspec.ValidationError as error:
        raise UnreadableError(f"{tenant}/{kind}/{name}: {error}", "see `tidegate publish --help`") from error


def _is_same(published: ArtefactDescriptor, draft: ArtefactDescriptor) -> bool:
    """Whether nothing but the time of publication would change."""
    return msgspec.structs.replace(draft, epoch=published.epoch, published_at_ms=published.published_at_ms) == published


def _published(artefact: ArtefactDescriptor, *, is_new: bool) -> ArtefactPublished:
    return ArtefactPublished(
        tenant=artefact.tenant,
        kind=artefact.kind,
        name=artefact.name,
        epoch=artefact.epoch,
        digest=artefact.digest,
        size=artefact.size,
        is_new=is_new,
    )
