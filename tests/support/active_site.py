"""A site whose pack is in force as artefacts: a few documents, two intents, one policy, and what may become of them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.support.corpus import BRANCH
from tests.support.paths import MODELS
from tidegate.schemas.pack import Pack
from tidegate.services.fleet.apply import ArtefactFiles, apply_artefacts
from tidegate.services.fleet.paths import StatePaths
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


def site_at(state: Path) -> Settings:
    """Settings of a site with the branch's documents in its index, and with nothing in force yet."""
    settings = Settings(site="site1", state_dir=str(state), models_dir=str(MODELS), pack_dir=str(state / "nothing"))
    paths = StatePaths(settings)
    paths.active("kiosk").mkdir(parents=True)
    (state / "nothing").mkdir()
    pack = Pack(
        name="b", version="1", path="", documents=BRANCH, intents=(), questions=(), calibration=(), policy_files=()
    )
    packing.prepare_index(pack, "site", UnitReader.load(paths.models).embedder, paths.index("kiosk")).close()
    return settings


def files_at(directory: Path, parts: Mapping[str, str | bytes], epochs: Mapping[str, int]) -> ArtefactFiles:
    """The parts as the sync worker has them: files by digest, each with its epoch (1, unless given)."""
    directory.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, str], tuple[Path, int]] = {}
    for number, (path, text) in enumerate(sorted(parts.items())):
        file = directory / f"{number}-{epochs.get(path, 1)}"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        kind, _, name = path.partition("/")
        found[kind, name] = (file, epochs.get(path, 1))
    return found


def put_in_force(settings: Settings, *, epochs: Mapping[str, int] | None = None, **changed: str) -> int:
    """Bring the site's parts into force, some of them changed (`policy_branch` is `policy/branch`)."""
    parts = {**PARTS, **{name.replace("_", "/", 1): text for name, text in changed.items()}}
    blobs = Path(settings.state_dir) / "blobs"
    return apply_artefacts(StatePaths(settings), "kiosk", files_at(blobs, parts, epochs or {}))
