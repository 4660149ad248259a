"""Brings artefacts into force at a site, as a generation that its stages see with the next request: no restart.

A set that cannot be used is refused with all that is wrong with it, and what was in force stays. Next:
services/packs/generations.py; prepare_active.py, what is made of the parts; tenant_parts.py, how stages see it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import get_args

from tidegate.schemas.artefact import NO_PARTS, ArtefactKind
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.live_settings import with_live_settings
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.prepare_active import MODELS, LoadUnits, digest_models, has_outgrown, prepare_active
from tidegate.services.knowledge.index.database import read_head_of
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.packs.active import PackInForce
from tidegate.services.packs.generations import GenerationRecord, GenerationStore
from tidegate.services.packs.parts import PackPart, digest_parts, parts_of
from tidegate.services.settings import Settings

ArtefactFiles = Mapping[tuple[str, str], tuple[Path, int]]
"""By kind and name the file with an artefact's bytes, verified, and its epoch."""
_READ, _READ_AT_SITES = ("policies", "prompts", "replies", "thesaurus"), ("intent_head", "published")
"""What stages read of `PackInForce`."""


def apply_artefacts(paths: StatePaths, tenant: str, files: ArtefactFiles, load_units: LoadUnits | None = None) -> int:
    """Bring just these artefacts of a tenant into force; the number of the generation. The same ones again, under the
    same models, change nothing. What is no part of a pack is passed over.

    Takes milliseconds where a policy changed; where intents or calibration questions did, as long as `prepare` does.
    Raises `PackError` with every fault of the set, `PartNameError`, `PartUnreadableError`, what `prepare_active` and
    the stages raise of what cannot be used, and `OSError`; what was in force stays then.
    """
    kinds = {kind: kind for kind in get_args(ArtefactKind) if kind not in NO_PARTS}
    given = {
        PackPart(kinds[kind], name, file.read_bytes()): epoch
        for (kind, name), (file, epoch) in files.items()
        if kind in kinds
    }
    epochs = {part.path: epoch for part, epoch in given.items()}
    parts = tuple(sorted(given))
    store = GenerationStore(paths.active(tenant))
    known = store.usable()
    wanted = (digest_parts(parts), epochs, digest_models(paths))
    if known is not None and (known.digest, known.epochs, known.made_of.get(MODELS)) == wanted:
        return known.number

    def make(draft: Path, before: GenerationRecord | None) -> Mapping[str, str]:
        earlier = None if before is None else (store.path(before.number), before.made_of)
        return prepare_active(paths, tenant, draft, earlier, load_units)

    return store.activate(parts, epochs, make, partial(check_generation, paths, tenant))


def remake_active(paths: StatePaths, tenant: str, load_units: LoadUnits | None = None) -> int | None:
    """Make anew what is made of the tenant's documents, once one in ten of them came or went since; the number of the
    generation in force then, None where nothing is. To be called when documents have arrived; costs nothing else.

    Raises as `apply_artefacts` does, and `IndexDamagedError`.
    """
    store = GenerationStore(paths.active(tenant))
    known = store.current()
    if known is None:
        return None
    is_grown = has_outgrown(known.made_of, read_head_of(paths.index(tenant)).documents)
    if not is_grown and known.made_of.get(MODELS) == digest_models(paths):
        return known.number

    def make(draft: Path, _: GenerationRecord | None) -> Mapping[str, str]:
        return prepare_active(paths, tenant, draft, None, load_units)

    parts = parts_of(store.path(known.number))
    return store.activate(parts, known.epochs, make, partial(check_generation, paths, tenant))


def check_generation(paths: StatePaths, tenant: str, draft: Path, record: GenerationRecord) -> None:
    """Read a generation as the stages will. Raises what they would raise."""
    pack = PackInForce.of_generation(tenant, draft, record)
    with_live_settings(Settings(), pack)
    Calibration.load(pack.made.calibration)
    for name in (*_READ, *(_READ_AT_SITES if paths.home.name != HUB else ())):
        getattr(pack, name)
