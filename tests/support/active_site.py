"""A site whose pack is in force as artefacts: a few documents, two intents, one policy, and what may become of them."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import msgspec

from tests.support.corpus import BRANCH
from tests.support.paths import MODELS
from tidegate.schemas.pack import Pack
from tidegate.services.fleet.apply import ArtefactFiles, OfferedParts, apply_artefacts, has_to_remake
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.prepare_active import LoadUnits, make_files
from tidegate.services.knowledge.index import packing
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.settings import Settings

ALLOWS = "policy_id: branch\nallow: [grounded_claims]\n"
ABSTAINS = "policy_id: branch\nallow: [grounded_claims]\nabstain_thresholds: {confidence: 1}\n"
HOURS = ("when do you open", "what time does the branch open", "is the branch open today", "until when are you open")
DISTRESS = ("i want to end my life", "i cannot go on living", "nobody would miss me if i died", "i want to hurt myself")
INTENTS = "".join(
    f"- id: {name}\n  verdict: {verdict}\n  utterances:\n" + "".join(f"    - {text}\n" for text in texts)
    for name, verdict, texts in (("hours", "serve", HOURS), ("despair", "distress", DISTRESS))
)
PARTS = {"policy/branch": ALLOWS, "intents/intents": INTENTS}
QUESTION = "How late is the lobby open?"


def site_at(state: Path, *tenants: str, site: str = "site1") -> Settings:
    """Settings of a site, or the hub, with the branch's documents in each tenant's index and nothing in force yet."""
    tenants = tenants or ("kiosk",)
    settings = Settings(
        site=site, tenants=tenants, state_dir=str(state), models_dir=str(MODELS), pack_dir=str(state / "nothing")
    )
    (state / "nothing").mkdir(parents=True)
    paths = StatePaths(settings)
    embedder = UnitReader.load(paths.models).embedder
    pack = Pack(
        name="b", version="1", path="", documents=BRANCH, intents=(), questions=(), calibration=(), policy_files=()
    )
    for tenant in tenants:
        paths.active(tenant).mkdir(parents=True)
        packing.prepare_index(pack, "site", embedder, paths.index(tenant)).close()
    return settings


def files_at(directory: Path, parts: Mapping[str, str], epochs: Mapping[str, int]) -> ArtefactFiles:
    """The parts as the sync worker has them: a file for each, with its epoch (1, unless given)."""
    directory.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, str], tuple[Path, int]] = {}
    for number, (path, text) in enumerate(sorted(parts.items())):
        file = directory / f"{number}-{epochs.get(path, 1)}"
        file.write_text(text)
        kind, _, name = path.partition("/")
        found[kind, name] = (file, epochs.get(path, 1))
    return found


def prepare_site(folder: Path) -> Settings:
    """A site below `folder` with its parts in force, for tests that each take a copy of it."""
    settings = site_at(folder / "state")
    put_in_force(settings)
    return settings


def copy_site(prepared: Settings, folder: Path) -> Settings:
    """That site below another folder, to be changed."""
    shutil.copytree(prepared.state_dir, folder / "state")
    return msgspec.structs.replace(prepared, state_dir=str(folder / "state"))


def put_in_force(
    settings: Settings, changed: Mapping[str, str] | None = None, tenant: str = "kiosk", **epochs: int
) -> int:
    """Bring the site's parts into force, some of them changed, the policy `branch` with the epoch of that name."""
    known = {f"policy/{name}": epoch for name, epoch in epochs.items()}
    blobs = Path(settings.state_dir) / "blobs" / tenant
    files = files_at(blobs, {**PARTS, **(changed or {})}, known)
    return apply_whole(StatePaths(settings), tenant, files)


def apply_whole(paths: StatePaths, tenant: str, files: ArtefactFiles, load_units: LoadUnits | None = None) -> int:
    """Bring artefacts into force with all that is made of them, as the sync worker does in two processes."""
    applied = apply_artefacts(paths, tenant, files)
    if applied.is_whole and not has_to_remake(paths, tenant):
        return applied.number
    load = load_units or partial(UnitReader.load, paths.models)
    made = make_files(paths, tenant, OfferedParts.of_files(files).parts, load)
    try:
        applied = apply_artefacts(paths, tenant, files, made)
    finally:
        shutil.rmtree(made.folder)
    assert applied.is_whole
    return applied.number
