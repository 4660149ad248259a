"""Chooses what an answer to a question of high risk must reach where a pack has no questions of its own.

`python -m tidegate.infra.models.training.high_risk --models DIR`: some four minutes of one core. Every held document of
`data/questions` is put into a site with a few others, each question is answered there as a site without a calibration
of its own answers, and conformal risk control says from which confidence on at most `RISK` of such questions are
answered wrongly. Next: services/policies/high_risk.py, which has the number; services/knowledge/reader/risk.py."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from tidegate.infra.models.data.confidence import AskedSite, own_sites
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.effort import AT_SITE
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.risk import JudgedAnswer, RiskRow, describe_group, find_threshold
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.languages.risk_words import find_risks

FIGURES = Path(__file__).parents[1] / "weights" / "reader" / "high_risk.json"
RISK = 0.025
"""Of questions of high risk that may be answered wrongly: half of the 5 % that `pack calibrate` holds by default."""
K = 8
_NOWHERE = Path("/nonexistent")


class AskedAnswer(msgspec.Struct, frozen=True):
    """What a site made of a question: its kind and language, the classes of high risk it is of, and the answer."""

    kind: str
    language: str
    risks: tuple[str, ...]
    judged: JudgedAnswer


class HighRiskFigures(msgspec.Struct, frozen=True, kw_only=True):
    """The threshold that holds `risk`, the questions it is of, those of them that are of a class of high risk, and what
    becomes of all and of each kind from it on."""

    risk: float
    threshold: float
    documents: int
    questions: int
    of_high_risk: int
    rows: tuple[RiskRow, ...]


def main() -> None:
    """Ask, choose and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=Path, required=True, help="holds `multilingual`")
    units = UnitReader.load(parser.parse_args().models)
    sites = list(own_sites(_NOWHERE))
    answers = [answer for site in sites for answer in ask(site, units)]
    figures = choose(answers, sum(len(site.documents) for site in sites))
    FIGURES.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
    print(FIGURES.read_text(encoding="utf-8"))


def ask(site: AskedSite, units: UnitReader) -> Iterator[AskedAnswer]:
    """Every question of the site; right is an answer whose first citation is of the evidence, and never one to a
    question that the documents are silent on."""
    reader = Reader(units, SHIPPED, AT_SITE)
    with tempfile.TemporaryDirectory() as home:
        index = HybridIndex.open(Path(home), units.embedder)
        index.upsert(site.documents)
        for asked in site.questions:
            passages = index.find(asked.text, K, asked.language)
            answer = reader.rank_spans(asked.text, asked.language, passages, index).answer
            cited = answer.citations[:1]
            is_right = any(asked.is_answered_by(each.document_id, each.start, each.end) for each in cited)
            risks = tuple(sorted(find_risks(asked.text, asked.language)))
            yield AskedAnswer(asked.kind, asked.language, risks, JudgedAnswer(answer.confidence, is_right))


def choose(answers: Sequence[AskedAnswer], documents: int) -> HighRiskFigures:
    """Of all questions: those of high risk are too few to hold anything by themselves. Raises `ValueError` where all
    are."""
    judged = [each.judged for each in answers]
    threshold = find_threshold(judged, RISK)
    if threshold is None:
        raise ValueError(f"{len(judged)} questions cannot hold a risk of {RISK:g}")
    kinds = sorted({each.kind for each in answers})
    groups = {f"kind {kind}": [each.judged for each in answers if each.kind == kind] for kind in kinds}
    rows = [describe_group(name, group, threshold, "all") for name, group in groups.items()]
    return HighRiskFigures(
        risk=RISK,
        threshold=threshold,
        documents=documents,
        questions=len(judged),
        of_high_risk=sum(bool(each.risks) for each in answers),
        rows=(describe_group("all", judged, threshold), *rows),
    )


if __name__ == "__main__":
    main()
