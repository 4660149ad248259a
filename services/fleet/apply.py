"""Brings artefacts into force at a site, as a generation that its stages see with the next request: no restart.

A set that cannot be used is refused with all that is wrong with it, and what was in force stays. What takes models is
made apart (prepare_active.py), and nothing waits for it that does not need it. Next: services/packs/generations.py;
tenant_parts.py, how stages see it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import NamedTuple, get_args

from tidegate.schemas.artefact import NO_PARTS, ArtefactKind
from tidegate.schemas.errors import TidegateError
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.live_settings import with_live_settings
from tidegate.services.fleet.made_files import (
    MADE_WITH,
    MODELS,
    MadeFolder,
    WantedFiles,
    digest_models,
    has_outgrown,
    take_all,
)
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.index.thesaurus import save_thesaurus
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.generations import GenerationRecord, GenerationStore
from tidegate.services.packs.parts import PackPart, digest_parts, load_parts, parts_of
from tidegate.services.settings import Settings

ArtefactFiles = Mapping[tuple[str, str], tuple[Path, int]]
"""By kind and name the file with an artefact's bytes, verified, and its epoch."""
_READ, _READ_AT_SITES = ("policies", "prompts", "replies", "thesaurus"), ("intent_head", "published")
"""What stages read of `PackInForce`."""


class NotMadeError(TidegateError):
    """What belongs beside the parts is not made yet."""

    hint = "nothing needs doing: it is made, and then comes into force"


class Applied(NamedTuple):
    """What is in force now: the number of the generation, 0 where there is none, and whether it has all that was given.

    Where it has not, the rest waits for `make_files`."""

    number: int
    is_whole: bool


class OfferedParts(NamedTuple):
    """Parts, and the epoch of each by `kind/name`."""

    parts: tuple[PackPart, ...]
    epochs: Mapping[str, int]

    @classmethod
    def of_files(cls, files: ArtefactFiles) -> OfferedParts:
        """Of artefacts; what is no part of a pack is passed over. Raises `OSError`."""
        kinds = {kind: kind for kind in get_args(ArtefactKind) if kind not in NO_PARTS}
        given = {
            PackPart(kinds[kind], name, file.read_bytes()): epoch
            for (kind, name), (file, epoch) in files.items()
            if kind in kinds
        }
        return cls(tuple(sorted(given)), {part.path: epoch for part, epoch in given.items()})

    def is_in(self, record: GenerationRecord) -> bool:
        """Whether a generation has just these."""
        return (digest_parts(self.parts), self.epochs) == (record.digest, record.epochs)

    def on_what_was_made(self, store: GenerationStore, before: GenerationRecord) -> OfferedParts:
        """These, with those of the generation before in the place of all that something is made with."""
        held = parts_of(store.path(before.number))
        kept = tuple(part for part in held if part.kind in MADE_WITH and part.path in before.epochs)
        new = tuple(part for part in self.parts if part.kind not in MADE_WITH)
        epochs = {part.path: before.epochs[part.path] for part in kept}
        return OfferedParts(tuple(sorted(kept + new)), epochs | {part.path: self.epochs[part.path] for part in new})


def apply_artefacts(paths: StatePaths, tenant: str, files: ArtefactFiles, made: MadeFolder | None = None) -> Applied:
    """Bring just these artefacts of a tenant into force, with what `made` has of them or what was in force before. The
    same ones again, under the same models, change nothing.

    Takes milliseconds, and no model. What needs something that is not made (new intents do) waits until it is;
    policies, prompts, replies and settings come into force without it. Raises `PackError` with every fault of the set,
    `PartNameError`, `PartUnreadableError`, what the stages raise of what cannot be used, `IndexDamagedError` and
    `OSError`; what was in force stays then.
    """
    offered = OfferedParts.of_files(files)
    store = GenerationStore(paths.active(tenant))
    known = store.usable()
    is_known = known is not None and offered.is_in(known) and known.made_of.get(MODELS) == digest_models(paths)
    if known is not None and is_known and made is None:
        return Applied(known.number, is_whole=True)

    def make(draft: Path, before: GenerationRecord | None) -> Mapping[str, str]:
        pack = load_parts(draft)
        save_thesaurus(draft, pack.thesaurus)
        earlier = [] if before is None else [MadeFolder.of_generation(store, before)]
        sources = [*([] if made is None else [made]), *earlier]
        missing, made_of = WantedFiles.of_parts(paths, draft, pack).take_over(sources, draft)
        if missing:
            raise NotMadeError(f"{tenant} has no {', '.join(sorted(missing))} for these parts yet")
        return made_of

    check = partial(check_generation, paths, tenant)
    try:
        return Applied(store.activate(offered.parts, offered.epochs, make, check), is_whole=True)
    except NotMadeError:
        return Applied(0 if known is None else _apply_rest(paths, tenant, offered, known), is_whole=False)


def has_to_remake(paths: StatePaths, tenant: str) -> bool:
    """Whether what is made of documents is to be made anew: one in ten of them is not what it was, or the models are
    others. Costs little where not. Raises `IndexDamagedError`."""
    known = GenerationStore(paths.active(tenant)).usable()
    if known is None:
        return False
    is_grown = has_outgrown(known.made_of, paths.index(tenant))
    return is_grown or known.made_of.get(MODELS) != digest_models(paths)


def check_generation(paths: StatePaths, tenant: str, draft: Path, record: GenerationRecord) -> None:
    """Read a generation as the stages will. Raises what they would raise."""
    pack = PackInForce.of_generation(tenant, draft, record)
    with_live_settings(Settings(), pack)
    Calibration.load(pack.made.calibration)
    for name in (*_READ, *(_READ_AT_SITES if paths.home.name != HUB else ())):
        getattr(pack, name)


def _apply_rest(paths: StatePaths, tenant: str, offered: OfferedParts, known: GenerationRecord) -> int:
    """Bring into force what can be without anything new made; the number of the generation."""
    store = GenerationStore(paths.active(tenant))

    def keep(draft: Path, _: GenerationRecord | None) -> Mapping[str, str]:
        pack = load_parts(draft)
        save_thesaurus(draft, pack.thesaurus)
        names = WantedFiles.of_parts(paths, draft, pack).keys
        if missing := take_all(MadeFolder.of_generation(store, known), names, draft):
            raise NotMadeError(f"generation {known.number} of {tenant} has lost {', '.join(missing)}")
        return known.made_of

    try:
        rest = offered.on_what_was_made(store, known)
        if rest.is_in(known):
            return known.number
        return store.activate(rest.parts, rest.epochs, keep, partial(check_generation, paths, tenant))
    except TidegateError:
        # The parts in force can be the fault, as this version reads them. A fault of the offered ones was raised by the
        # whole set, or will be when the rest of it is made; until then what is in force stays.
        return known.number
