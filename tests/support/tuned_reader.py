"""A reader of a tenant's own, as `tidegate pack calibrate --train` leaves it in a pack."""

from __future__ import annotations

from pathlib import Path

from tidegate.services.knowledge.reader.tuning import ReaderTuning, TuningFigures, TuningManifest, save_tuning
from tidegate.services.knowledge.reader.unit_reader import UnitReader

FIGURES = TuningFigures(first_right=0.5, auc=0.7, right_at_tenth=0.3)


def tune_for(pack: Path, tenant: str, units: UnitReader, *, base: str = "", more: float = 0.0) -> TuningManifest:
    """Put one into the pack that ranks as the shipped one does and adds `more` to every logit."""
    manifest = TuningManifest(
        tenant=tenant, base=base or units.version, pack="1", questions="2", sha256="", shipped=FIGURES, tuned=FIGURES
    )
    head = (*[0.0] * units.embedder.DIMENSIONS, more)
    return save_tuning(pack, ReaderTuning(ranking=units.ranking, head=head), manifest)
