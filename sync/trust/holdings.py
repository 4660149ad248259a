"""What a site has activated, by digest: it goes on with these bytes however long the hub is away, and they age.

An artefact is activated once its bytes are here and verified; its epoch never goes back. Next: client.py, which
fetches; sync/rules/staleness.py, what an age allows; sync/rules/activation.py, which says when."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from pathlib import Path

import msgspec

from tidegate.schemas.artefact import ArtefactDescriptor
from tidegate.schemas.errors import UnreadableError
from tidegate.sync.rules.staleness import HeldArtefact
from tidegate.sync.trust.chunks import digest_of_file
from tidegate.sync.trust.faults import (
    BaseModelMissingError,
    BlobMissingError,
    RolledBackError,
    TamperedChunkError,
    UnknownTargetError,
)
from tidegate.sync.trust.files import PRIVATE, replace_file
from tidegate.sync.trust.generation import Generation
from tidegate.sync.trust.targets import artefact_path


class ActivatedArtefact(msgspec.Struct, frozen=True):
    """An artefact in force, and when the hub last vouched that it is current, by the hub's time."""

    artefact: ArtefactDescriptor
    current_at_ms: int


def fits(artefact: ArtefactDescriptor, activated: Iterable[ActivatedArtefact], installed: Iterable[str]) -> bool:
    """Whether an artefact can be used with what is in force: an adapter with one of its base models, which is an
    artefact of its tenant or among the digests of what is `installed`; whatever names no base, with anything."""
    if not artefact.base_digests:
        return True
    models = {each.artefact.digest for each in activated if _is_model_of(each.artefact, artefact.tenant)}
    return bool(models.union(installed).intersection(artefact.base_digests))


class Holdings:
    """The artefacts in force at a site, in one file below `directory`; their bytes are in `blobs`, by digest.

    `installed` tells the digests of models that are here without having been published.
    """

    def __init__(self, directory: Path, blobs: Path, installed: Callable[[], Iterable[str]] = tuple) -> None:
        self._path = directory / "activated.msgpack"
        self._blobs = blobs
        self._installed = installed
        self._writing = threading.Lock()  # switches are activated beside all else

    def activated(self) -> dict[str, ActivatedArtefact]:
        """What is in force, by target. Raises `UnreadableError`."""
        try:
            return msgspec.msgpack.decode(self._path.read_bytes(), type=dict[str, ActivatedArtefact])
        except FileNotFoundError:
            return {}
        except msgspec.DecodeError as error:
            raise UnreadableError(f"{self._path}: {error}", "fetch and activate the artefacts anew") from error

    def activate(self, path: str, generation: Generation) -> ActivatedArtefact:
        """Put an artefact of the generation into force: all at once, or not at all. With a model go the adapters that
        do not fit it: none is used with another model than its own.

        Raises `UnknownTargetError`; `BaseModelMissingError` for an adapter that fits no model in force;
        `BlobMissingError`, `TamperedChunkError` where its bytes are not here as they were signed; `RolledBackError`
        where a later epoch is in force, or another digest of the same one.
        """
        artefact = generation.artefacts.get(path)
        if artefact is None:
            raise UnknownTargetError(f"the repository has no artefact under {path}")
        with self._writing:
            return self._activate(path, artefact, generation.hub_time_ms)

    def _activate(self, path: str, artefact: ArtefactDescriptor, hub_time_ms: int) -> ActivatedArtefact:
        activated = self.activated()
        held = activated.get(path)
        if held and artefact.epoch <= held.artefact.epoch and artefact.digest != held.artefact.digest:
            raise RolledBackError(f"{path}: epoch {held.artefact.epoch} is in force, {artefact.epoch} is not after it")
        if artefact.base_digests and not fits(artefact, activated.values(), self._installed()):
            wanted = ", ".join(each[:12] for each in artefact.base_digests)
            raise BaseModelMissingError(f"{path} fits the models {wanted}, and none of them is in force")
        self.verified(artefact)
        activated[path] = ActivatedArtefact(artefact, hub_time_ms)
        if artefact.kind == "model":
            installed = tuple(self._installed())
            beside = tuple(activated.values())
            activated = {name: each for name, each in activated.items() if fits(each.artefact, beside, installed)}
        self._store(activated)
        return activated[path]

    def confirm(self, generation: Generation) -> None:
        """The hub vouches for this generation: what is in force and in it is current as of its time. What the hub has
        replaced since goes on ageing until its successor is activated. Raises `UnreadableError`, `OSError`."""
        with self._writing:
            self._confirm(generation)

    def _confirm(self, generation: Generation) -> None:
        activated, current = self.activated(), generation.artefacts
        confirmed = {
            path: ActivatedArtefact(held.artefact, max(held.current_at_ms, generation.hub_time_ms))
            if (now := current.get(path)) and (now.epoch, now.digest) == (held.artefact.epoch, held.artefact.digest)
            else held
            for path, held in activated.items()
        }
        if confirmed != activated:
            self._store(confirmed)

    def held(self) -> tuple[HeldArtefact, ...]:
        """What is in force, for `standing`: budgets, and since when each is no longer known to be current. A switch is
        in force until it is put off, however old it is."""
        return tuple(
            HeldArtefact(name=path, budget=held.artefact.budget, current_at_ms=held.current_at_ms)
            for path, held in sorted(self.activated().items())
            if held.artefact.switch is None
        )

    def file(self, path: str) -> Path:
        """The bytes in force under a target, verified by their digest. Raises `UnknownTargetError`, and as `verified`
        does."""
        held = self.activated().get(path)
        if held is None:
            raise UnknownTargetError(f"nothing is in force under {path}", "activate it first")
        return self.verified(held.artefact)

    def verified(self, artefact: ArtefactDescriptor) -> Path:
        """The file of an artefact, whose bytes are those that were signed. Raises `BlobMissingError`,
        `TamperedChunkError`."""
        file = self._blobs / artefact.digest
        if not file.is_file():
            raise BlobMissingError(f"{artefact_path(artefact)} is not here", "fetch it, then activate it")
        if digest_of_file(file) != artefact.digest:
            raise TamperedChunkError(f"{file} was changed after it was verified", "fetch it anew; then check the disk")
        return file

    def _store(self, activated: dict[str, ActivatedArtefact]) -> None:
        replace_file(self._path, msgspec.msgpack.encode(activated), PRIVATE)


def _is_model_of(artefact: ArtefactDescriptor, tenant: str) -> bool:
    return (artefact.kind, artefact.tenant) == ("model", tenant)
