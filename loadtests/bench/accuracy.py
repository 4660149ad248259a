"""How often a pack's questions are answered rightly, by kind: the index and the reader alone, in process."""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import msgspec

from tidegate.schemas.pack import LabelledQuestion, Pack
from tidegate.services.knowledge.index import packing
from tidegate.services.knowledge.reader import fit
from tidegate.services.knowledge.reader.calibration import Calibration
from tidegate.services.knowledge.reader.effort import AT_HUB, AT_SITE
from tidegate.services.knowledge.reader.reader import RankedSpans, Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.packs.correctness import judge
from tidegate.services.packs.load import load_pack

K = 8
MEASURED = ("answerable", "paraphrased", "language", "personal", "hub", "out_of_scope")


class Score(msgspec.Struct):
    """Counts of one kind of question: `wrong` was answered and should not have been, or otherwise.

    Times are of search and reading, in milliseconds.
    """

    asked: int = 0
    right: int = 0
    wrong: int = 0
    escalated: int = 0
    found: int = 0
    times_ms: list[float] = []


class PreparedSide:
    """An index with its reader: a site's, or the hub's."""

    def __init__(self, pack: Pack, scope: str, units: UnitReader, home: Path) -> None:
        effort = AT_HUB if scope == "hub" else AT_SITE
        self.index = packing.prepare_index(pack, "hub" if scope == "hub" else "site", units.embedder, home / "index")
        self.calibration: Calibration = fit.prepare_calibration(
            pack, self.index, units, home / "calibration.json", effort
        )
        self.reader = Reader(units, self.calibration, effort)

    def ask(self, question: LabelledQuestion) -> tuple[RankedSpans, list[str]]:
        """What the reader makes of the passages, and the documents that were found."""
        passages = self.index.find(question.text, K, question.language)
        reading = self.reader.rank_spans(question.text, question.language, passages, self.index)
        return reading, [passage.document_id for passage in passages]


def measure(
    pack: Pack, sides: dict[str, PreparedSide], escalate_below: float, abstain_below: float, show: bool
) -> dict[str, Score]:
    """Ask every measured question of the pack as the product would: the site first; where it is unsure, the hub."""
    scores: dict[str, Score] = defaultdict(Score)
    for question in pack.questions:
        if question.kind not in MEASURED or question.workload != "assist":
            continue
        score = scores[question.kind]
        began = time.perf_counter()
        reading, found = sides["site"].ask(question)
        score.times_ms.append((time.perf_counter() - began) * 1e3)
        edge = answer = reading.answer
        route = "edge"
        if answer.confidence < escalate_below:
            score.escalated += 1
            reading, found = sides["hub"].ask(question)
            answer, route = reading.answer, "hub"
        outcome = "answered" if answer.text and answer.confidence >= abstain_below else "abstained"
        cited = [citation.document_id for citation in answer.citations]
        right = judge(question, outcome, answer.text, cited) and (question.kind != "hub" or route == "hub")
        score.asked += 1
        score.right += right
        score.wrong += outcome == "answered" and not right
        score.found += not question.documents or not set(question.documents).isdisjoint(found)
        if show and not right:
            print(f"\n[{question.kind}] {question.id}: {question.text}")
            print(f"  wanted {question.facts} in {question.documents}")
            sure = f"{answer.confidence:.2f} (edge {edge.confidence:.2f})"
            print(f"  {route} {outcome} {sure} cited {cited[:1]}: {answer.text!r}")
            print(f"  found {found}")
    return scores


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pack", type=Path, default=Path("infra/packs/kiosk"))
    parser.add_argument("--models", type=Path, default=Path(".models"))
    parser.add_argument("--state", type=Path, default=None, help="keep the indices here [a temporary folder]")
    parser.add_argument("--escalate-below", type=float, default=0.6)
    parser.add_argument("--abstain-below", type=float, default=0.35)
    parser.add_argument("--failures", action="store_true", help="print every question that was not answered rightly")
    given = parser.parse_args()
    pack = load_pack(given.pack)
    units = UnitReader.load(given.models)
    with tempfile.TemporaryDirectory() as temporary:
        home = given.state or Path(temporary)
        sides = {scope: PreparedSide(pack, scope, units, home / scope) for scope in ("site", "hub")}
        for scope, side in sides.items():
            print(f"{scope}: {side.index.status()}\n  {side.calibration.fit}")
        scores = measure(pack, sides, given.escalate_below, given.abstain_below, given.failures)
    print(f"\n{'kind':<14}{'right':>12}{'wrong':>11}{'found':>11}{'escalated':>11}{'p50 ms':>9}{'p95 ms':>9}")
    for kind in MEASURED:
        if score := scores.get(kind):
            times = sorted(score.times_ms)
            shares = [f"{count / score.asked:>11.0%}" for count in (score.wrong, score.found, score.escalated)]
            print(
                f"{kind:<14}{score.right:>4}/{score.asked:<3}{score.right / score.asked:>5.0%}{''.join(shares)}"
                f"{statistics.median(times):>9.1f}{times[int(len(times) * 0.95)]:>9.1f}"
            )


if __name__ == "__main__":
    main()
