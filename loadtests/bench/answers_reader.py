"""How often the unit that answers is found, put first and vouched for, by kind and language, and what an escalation
improves: `python -m loadtests.bench.answers_reader DATA`. DATA is a directory of files as `qa_sites` describes them.

A site has all the documents of a file, but for the last figure: there the hub has them all, and the site every other.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from rank_bm25 import BM25Okapi

from loadtests.bench.measure import Bar, Entry, Measurement, Target
from loadtests.bench.qa_sites import QaQuestion, QaSite, read_files
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.effort import AT_HUB, AT_SITE, Effort
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader

NAME = "answers_reader"
FILE = Path("qa")
NEAR = "impossible_near"
NEAR_SHARE = 0.1
"""Share of the questions that the documents nearly answer which may be answered: it sets the operating point."""
UNREAD = Effort(windows=0, hopeless=0.0, sure=1.0)
MISSING = 10_000
K = 8
SUGGESTED = 3
MODELS = Path(".models")
COVERAGES = (0.1, 0.3, 0.5)


class JudgedQuestion(msgspec.Struct, frozen=True):
    """A question; the rank of the first unit that answers, from 0, and how sure the ranking is of its first."""

    kind: str
    language: str
    is_answerable: bool
    rank: int
    log_odds: float
    took_ms: float


class JudgedEscalation(msgspec.Struct, frozen=True):
    """A question at a site that has half of the documents, and at the hub that has all."""

    site: JudgedQuestion
    hub: JudgedQuestion


Judged = dict[str, list[JudgedQuestion]]


def judge(reader: Reader, site: QaSite, question: QaQuestion) -> JudgedQuestion:
    """What a reader makes of a question."""
    began_s = time.perf_counter()
    ranked, _, evidence = reader.read(question.text, question.language, site.search(question), site.index)
    took_ms = (time.perf_counter() - began_s) * 1e3
    return _judged(question, ranked, evidence.log_odds, took_ms)


def judge_by_logit(reader: Reader, units: UnitReader, site: QaSite, question: QaQuestion) -> JudgedQuestion:
    """The peer: the cross-encoder alone ranks the units of the windows that are nearest by meaning."""
    began_s = time.perf_counter()
    found, _, _ = reader.read(question.text, question.language, site.search(question), site.index)
    nearest = sorted(found, key=lambda each: -each.signals.cosine)
    held = (
        (document, each.number)
        for each in nearest
        if (document := site.index.units(each.passage.document_id, each.passage.document_version)) is not None
    )
    logits = units.read(question.text, held, AT_SITE.windows)
    ranked = sorted(nearest, key=lambda each: -logits.get((each.passage.document_id, each.number), -np.inf))
    best = max(logits.values(), default=-np.inf)
    return _judged(question, ranked, best, (time.perf_counter() - began_s) * 1e3)


def judge_by_words(bm25: BM25Okapi, lines: Sequence[Candidate], question: QaQuestion) -> JudgedQuestion:
    """The peer: BM25 over the units of all documents."""
    scores = bm25.get_scores(question.text.lower().split())
    order = np.argsort(-scores, kind="stable").tolist()
    return _judged(question, [lines[at] for at in order], float(scores[order[0]]), 0.0)


def _judged(question: QaQuestion, ranked: Sequence[Candidate], log_odds: float, took_ms: float) -> JudgedQuestion:
    rank = next((at for at, unit in enumerate(ranked) if question.is_answered_by(unit)), MISSING)
    return JudgedQuestion(question.kind, question.language, bool(question.evidence), rank, log_odds, took_ms)


def measure_site(directory: Path, units: UnitReader) -> tuple[Judged, list[JudgedEscalation]]:
    """Every question of every file: by each of the sides, and as an escalation."""
    at_site, unread, at_hub = (Reader(units, SHIPPED, effort) for effort in (AT_SITE, UNREAD, AT_HUB))
    found: Judged = {"ours": [], "retrieval alone": [], "cross-encoder alone": [], "rank-bm25": []}
    escalations: list[JudgedEscalation] = []
    for file in read_files(directory):
        with tempfile.TemporaryDirectory() as home:
            whole = QaSite(file.documents, units, Path(home) / "hub")
            half = QaSite(file.documents[::2], units, Path(home) / "site")
            lines = whole.all_units()
            bm25 = BM25Okapi([line.signals.line.lower().split() for line in lines])
            for question in file.questions:
                found["ours"].append(judge(at_site, whole, question))
                found["retrieval alone"].append(judge(unread, whole, question))
                found["cross-encoder alone"].append(judge_by_logit(unread, units, whole, question))
                found["rank-bm25"].append(judge_by_words(bm25, lines, question))
                escalations.append(JudgedEscalation(judge(at_site, half, question), judge(at_hub, whole, question)))
    return found, escalations


def operating_point(judged: Sequence[JudgedQuestion]) -> float:
    """The log odds above which at most `NEAR_SHARE` of what is nearly answered lies."""
    near = sorted((each.log_odds for each in judged if each.kind == NEAR), reverse=True)
    return near[int(NEAR_SHARE * len(near))] if near else 0.0


def shares(judged: Sequence[JudgedQuestion], point: float) -> dict[str, float]:
    """Per cent of the questions that have an answer: it is among the best 8; vouched for and right; vouched for and
    wrong; right, or among the three suggestions."""
    asked = [each for each in judged if each.is_answerable]
    sure = [each.log_odds > point for each in asked]
    counts = {
        "among_best_8": sum(each.rank < K for each in asked),
        "first": sum(each.rank == 0 for each in asked),
        "right": sum(each.rank == 0 and is_sure for each, is_sure in zip(asked, sure, strict=True)),
        "wrong": sum(each.rank > 0 and is_sure for each, is_sure in zip(asked, sure, strict=True)),
        "right_or_offered": sum(
            each.rank < (1 if is_sure else SUGGESTED) for each, is_sure in zip(asked, sure, strict=True)
        ),
    }
    return {name: 100 * count / max(1, len(asked)) for name, count in counts.items()}


def auc(judged: Sequence[JudgedQuestion]) -> float:
    """Per cent of pairs in which what is answered rightly is surer than what is nearly answered."""
    right = np.array([each.log_odds for each in judged if each.is_answerable and each.rank == 0])
    near = np.array([each.log_odds for each in judged if each.kind == NEAR])
    return 100 * float((right[:, None] > near[None, :]).mean()) if len(right) and len(near) else 0.0


def risk_at(judged: Sequence[JudgedQuestion], coverage: float) -> float:
    """Per cent wrong among the surest share of all questions; what is nearly answered is wrong when it is answered."""
    surest = sorted(judged, key=lambda each: -each.log_odds)[: max(1, round(coverage * len(judged)))]
    return 100 * sum(each.rank > 0 for each in surest) / len(surest)


def improved(escalations: Sequence[JudgedEscalation], point: float, hub_point: float) -> float:
    """Per cent of what the site could not vouch for that the hub vouches for rightly."""
    unsure = [each for each in escalations if each.site.is_answerable and each.site.log_odds <= point]
    return 100 * sum(each.hub.rank == 0 and each.hub.log_odds > hub_point for each in unsure) / max(1, len(unsure))


def abstention(judged: Sequence[JudgedQuestion], point: float) -> dict[str, float]:
    """Abstention correctness, per cent: of what is abstained from, what would have been wrong; of what would have been
    wrong, what is abstained from."""
    made = [each.log_odds <= point for each in judged]
    due = [not (each.is_answerable and each.rank == 0) for each in judged]
    right = sum(one and other for one, other in zip(made, due, strict=True))
    return {
        "abstentions_right": 100 * right / max(1, sum(made)),
        "abstained_where_due": 100 * right / max(1, sum(due)),
    }


def figures(judged: Judged, escalations: Sequence[JudgedEscalation]) -> dict[str, tuple[float, ...]]:
    """What the bars of the bench look at."""
    ours = judged["ours"]
    point = operating_point(ours)
    hub_point = operating_point([each.hub for each in escalations])
    found = {name: (value,) for name, value in shares(ours, point).items()}
    found |= {name: (value,) for name, value in abstention(ours, point).items()}
    found |= {f"risk_at_{coverage:.0%}": (risk_at(ours, coverage),) for coverage in COVERAGES}
    return {
        **found,
        "auc": (auc(ours),),
        "escalations_improved": (improved(escalations, point, hub_point),),
        "read_ms": tuple(each.took_ms for each in ours),
    }


async def blocks(data: Path, repeats: int) -> AsyncIterator[Measurement]:
    """Per cent of answers among the best 8, ours and by words alone; measured once, because no block differs."""
    judged, escalations = measure_site(data, UnitReader.load(MODELS))
    words = judged["rank-bm25"]
    for _ in range(repeats):
        yield Measurement("ours", shares(judged["ours"], 0.0)["among_best_8"], figures(judged, escalations))
        yield Measurement("peer", shares(words, 0.0)["among_best_8"], {"auc": (auc(words),)})


def entry(data: Path) -> Entry:
    """The line of the bench over a directory of questions."""
    return Entry(
        name=NAME,
        unit="% of evidence among the best 8 units",
        peer_name="rank-bm25 over the same units",
        target=Target("≥", 1.2),
        blocks=partial(blocks, data),
        bars=(
            Bar(samples="among_best_8", quantile=0.0, target=Target("≥", 75), unit="%"),
            Bar(samples="right", quantile=0.0, target=Target("≥", 30), unit="%"),
            Bar(samples="wrong", quantile=1.0, target=Target("≤", 4), unit="%"),
            Bar(samples="right_or_offered", quantile=0.0, target=Target("≥", 60), unit="%"),
            Bar(samples="escalations_improved", quantile=0.0, target=Target("≥", 10), unit="%"),
            Bar(samples="auc", quantile=0.0, unit="%"),
            Bar(samples="abstentions_right", quantile=0.0, unit="%"),
            Bar(samples="abstained_where_due", quantile=0.0, unit="%"),
            *(Bar(samples=f"risk_at_{coverage:.0%}", quantile=1.0, unit="%") for coverage in COVERAGES),
            Bar(samples="read_ms", quantile=0.5),
            Bar(samples="read_ms", quantile=0.95),
        ),
    )


def table_of(judged: Judged, escalations: Sequence[JudgedEscalation]) -> str:
    """Every side, and ours by kind and by language, each at the operating point of its side."""
    names = ("among_best_8", "first", "right", "wrong", "right_or_offered")
    lines = [f"{'':<24}{'asked':>7}" + "".join(f"{name:>18}" for name in names) + f"{'auc':>8}"]

    def add(title: str, rows: Sequence[JudgedQuestion], point: float) -> None:
        found = shares(rows, point)
        count = sum(each.is_answerable for each in rows)
        cells = "".join(f"{found[name]:>17.1f}%" for name in names)
        has_near = any(each.kind == NEAR for each in rows)
        lines.append(f"{title:<24}{count:>7}{cells}" + (f"{auc(rows):>7.1f}%" if has_near else f"{'-':>8}"))

    for side, rows in judged.items():
        add(side, rows, operating_point(rows))
    ours = judged["ours"]
    point = operating_point(ours)
    for field in ("kind", "language"):
        for value in sorted({getattr(each, field) for each in ours if each.is_answerable}):
            add(f"{field} {value}", [each for each in ours if getattr(each, field) == value], point)
    named = {name: values[0] for name, values in figures(judged, escalations).items() if name != "read_ms"}
    return "\n".join((*lines, *(f"{name:<24}{value:>7.1f} %" for name, value in named.items())))


def main() -> int:
    """0 when the share of answers among the best 8 is what the bench holds it to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--models", type=Path, default=MODELS)
    given = parser.parse_args()
    judged, escalations = measure_site(given.data, UnitReader.load(given.models))
    print(table_of(judged, escalations))
    return 0 if shares(judged["ours"], 0.0)["among_best_8"] >= 75 else 1


if __name__ == "__main__":
    sys.exit(main())
