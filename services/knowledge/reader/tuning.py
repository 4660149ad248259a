"""A reader tuned for one tenant: its weights, and what they were made from. Next: train.py, which makes one.

Promises that one is used by the tenant that it was made for only, and only on top of the reader that it was made from.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec

from tidegate.services.knowledge.index.storage import replace_file
from tidegate.services.knowledge.reader.ranking import RankingModel

FOLDER = "artefacts"
"""Where a pack keeps what was made for its tenants; no part of the pack's own version."""
NAME = "tuned-reader"
"""What it is called in receipts."""
LICENCE = (
    "Trained on the pack's calibration questions and documents: under the terms of whoever owns those, for that tenant "
    "only. The base is tidegate's reader (infra/models/weights/reader/MODEL_CARD.md has its data and licences)."
)
_READER, _MANIFEST, _WEIGHTS = "reader", "manifest.json", "reader.json"


class ReaderTuning(msgspec.Struct, frozen=True, kw_only=True):
    """The ranking in place of the shipped one, and what is added to a unit's logit: `head` · its last state.

    The last number of `head` is added as it is; an empty one changes nothing.
    """

    ranking: RankingModel
    head: tuple[float, ...] = ()


class TuningFigures(msgspec.Struct, frozen=True, kw_only=True):
    """On calibration questions, each by weights that have not seen it: how often the best unit is of a right document,
    how well the confidence tells right from wrong, and how many are answered rightly at the confidence that answers at
    most a tenth of the unanswerable ones."""

    first_right: float
    auc: float
    right_at_tenth: float


class TuningManifest(msgspec.Struct, frozen=True, kw_only=True):
    """What `reader.json` is: its sha256; the tenant and the version of the reader that it was made for; the pack's
    version and the sha256 of its calibration questions; the figures of the shipped reader and of this one."""

    tenant: str
    base: str
    pack: str
    questions: str
    sha256: str
    shipped: TuningFigures
    tuned: TuningFigures
    licence: str = LICENCE

    @property
    def version(self) -> str:
        """As it stands in receipts."""
        return self.sha256[:12]


class FoundTuning(msgspec.Struct, frozen=True):
    """A tenant's artefact, or why it is not used; neither where there is none."""

    tuning: ReaderTuning | None = None
    version: str = ""
    ignored: str = ""


def tuning_directory(pack: Path, tenant: str) -> Path:
    """Where a pack keeps a tenant's reader."""
    return pack / FOLDER / tenant / _READER


def save_tuning(pack: Path, tuning: ReaderTuning, manifest: TuningManifest) -> TuningManifest:
    """Write the artefact, the manifest last; the manifest with the digest of the weights."""
    directory = tuning_directory(pack, manifest.tenant)
    directory.mkdir(parents=True, exist_ok=True)
    data = msgspec.json.format(msgspec.json.encode(tuning), indent=1)
    manifest = msgspec.structs.replace(manifest, sha256=hashlib.sha256(data).hexdigest())
    replace_file(directory / _WEIGHTS, data)
    replace_file(directory / _MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return manifest


def find_tuning(pack: Path, tenant: str, base: str) -> FoundTuning:
    """The tenant's artefact in the pack, if it was made for it and for the reader of version `base`. Never raises."""
    directory = tuning_directory(pack, tenant)
    if not (directory / _MANIFEST).is_file():
        return FoundTuning()
    try:
        manifest = msgspec.json.decode((directory / _MANIFEST).read_bytes(), type=TuningManifest)
        data = (directory / _WEIGHTS).read_bytes()
    except (OSError, msgspec.DecodeError) as error:
        return FoundTuning(ignored=f"it cannot be read: {error}")
    if manifest.tenant != tenant:
        return FoundTuning(ignored=f"it was made for the tenant {manifest.tenant}")
    if hashlib.sha256(data).hexdigest() != manifest.sha256:
        return FoundTuning(ignored=f"{_WEIGHTS} is not the file that its manifest names")
    if manifest.base != base:
        return FoundTuning(ignored=f"it was made for the reader {manifest.base}, and this is {base}")
    try:
        return FoundTuning(msgspec.json.decode(data, type=ReaderTuning), manifest.version)
    except msgspec.DecodeError as error:
        return FoundTuning(ignored=f"it cannot be read: {error}")


def tuned_tenants(pack: Path) -> tuple[str, ...]:
    """The tenants for which the pack holds an artefact, used or not."""
    return tuple(sorted(path.parent.parent.name for path in pack.glob(f"{FOLDER}/*/{_READER}/{_MANIFEST}")))
