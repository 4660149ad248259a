"""Ranks units and says how likely the best one answers, by weights learned over named signals.

Promises that a missing reader only takes away its own signals. The weights are learned in infra/models/training.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import exp, log

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.services.knowledge.reader.answer_type import expected_kind, has_value, is_open_question

LEAST_LOGIT = -8.0
"""What a unit that was not read counts as having scored."""
STRONGEST = 8.0
STRONGEST_ODDS = 40.0
_NUMBER = re.compile(r"\d+(?:[.,:]\d+)*")


class UnitSignals(msgspec.Struct, frozen=True, gc=False):
    """What is known of a unit, given a question. `line` is its title, heading and text; `logit` None if it is unread.

    `coverage` is the share of the question's terms, by rarity, that the line states, `around` that its passage states,
    `unknown` that no document in its language mentions. `is_foreign`: it is in another language than the question.
    """

    document: str
    text: str
    line: str
    cosine: float
    coverage: float
    around: float
    logit: float | None = None
    unknown: float = 0.0
    is_foreign: bool = False


class HiddenUnit(msgspec.Struct, frozen=True):
    """A unit of a network's one hidden layer: the tanh of a weighted sum, times `slope`."""

    weights: tuple[float, ...]
    bias: float
    slope: float


class Fitted(msgspec.Struct, frozen=True, omit_defaults=True):
    """Weights over standardised features, by name; `hidden` adds to their sum what no sum can say."""

    features: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float = 0.0
    hidden: tuple[HiddenUnit, ...] = ()

    def score(self, table: Mapping[str, NDArray[np.float64]]) -> NDArray[np.float64]:
        """One number for each row of the columns."""
        rows = (np.stack([table[name] for name in self.features], axis=1) - self.mean) / self.spread
        scores: NDArray[np.float64] = rows @ np.array(self.weights) + self.bias
        if not self.hidden:
            return scores
        inner = np.tanh(rows @ np.array([each.weights for each in self.hidden]).T + [each.bias for each in self.hidden])
        added: NDArray[np.float64] = scores + inner @ np.array([each.slope for each in self.hidden])
        return added

    def slope(self, name: str) -> float:
        """What one more of a feature adds to a score."""
        column = self.features.index(name)
        return self.weights[column] / self.spread[column]


BEST_FEATURES = (
    *("cosine", "coverage", "around", "kind", "numbers", "logit", "cosine_lead", "cosine_lead_of_document"),
    *("logit_lead", "logit_of_all", "chance", "score_lead", "asked_length", "open", "agreement", "is_read"),
)
"""What is told of the best unit besides the log odds, for a pack to fit its own confidence on."""


class BestUnit(msgspec.Struct, frozen=True):
    """The log odds, at most 40 either way, that the best unit answers, and the `BEST_FEATURES` of it."""

    log_odds: float
    features: tuple[float, ...]


class RankedUnits(msgspec.Struct, frozen=True):
    """The places of the units, best first, and the chance that the first of them answers."""

    order: tuple[int, ...]
    confidence: float


class RankingModel(msgspec.Struct, frozen=True):
    """`unread` ranks by retrieval alone, `read` with the reader; likewise the two confidences.

    Thresholds are confidences above which at most the share of questions that their key names is answered: of near
    misses, about what the documents speak of, or of strangers, about what they do not.
    """

    unread: Fitted
    read: Fitted
    unread_confidence: Fitted
    read_confidence: Fitted
    thresholds: dict[str, float] = {}
    unread_thresholds: dict[str, float] = {}
    stranger_thresholds: dict[str, float] = {}

    def rank(self, question: str, units: Sequence[UnitSignals]) -> RankedUnits:
        """Best first, with the chance that the best one answers."""
        if not units:
            return RankedUnits((), 0.0)
        scores = self.score(question, units)
        best = self.judge_best(question, units, scores)
        return RankedUnits(tuple(np.argsort(-scores, kind="stable").tolist()), 1.0 / (1.0 + exp(-best.log_odds)))

    def score(self, question: str, units: Sequence[UnitSignals]) -> NDArray[np.float64]:
        """A score for each unit, on the scale of a cosine.

        Where any unit was read, those that were not count as having been read in vain.
        """
        ranker = self.read if _is_read(units) else self.unread
        return ranker.score(describe_units(question, units)) / ranker.slope("cosine")

    def judge_best(self, question: str, units: Sequence[UnitSignals], scores: NDArray[np.float64]) -> BestUnit:
        """What is to be said of the unit with the highest of `scores`."""
        is_read = _is_read(units)
        ranker, chance = (self.read, self.read_confidence) if is_read else (self.unread, self.unread_confidence)
        found = describe_best(question, units, describe_units(question, units), scores * ranker.slope("cosine"))
        logit = float(chance.score({name: np.array([value]) for name, value in found.items()})[0])
        log_odds = max(-STRONGEST_ODDS, min(STRONGEST_ODDS, logit))
        return BestUnit(log_odds, tuple(float(is_read) if name == "is_read" else found[name] for name in BEST_FEATURES))


def _is_read(units: Sequence[UnitSignals]) -> bool:
    return any(each.logit is not None for each in units)


def describe_units(question: str, units: Sequence[UnitSignals]) -> dict[str, NDArray[np.float64]]:
    """A column for each feature that a unit is ranked by, a row for each unit.

    `logit_unmatched` lets the reader weigh less where some unit states the words of the question.
    """
    kind = expected_kind(question)
    numbers = set(_NUMBER.findall(question))
    cosine = np.array([each.cosine for each in units])
    coverage = np.array([each.coverage for each in units])
    logits = np.array([LEAST_LOGIT if each.logit is None else each.logit for each in units])
    logits = np.clip(logits, -STRONGEST, STRONGEST)
    return {
        "cosine": cosine,
        "coverage": coverage,
        "coverage_to_best": coverage * coverage / max(float(coverage.max()), 1e-6),
        "around": np.array([each.around for each in units]),
        "document": _of_document(units, cosine, 3),
        "kind": np.array([0.0 if kind is None else 1.0 if has_value(each.text, kind) else -1.0 for each in units]),
        "numbers": np.array([_share(numbers, each.line) for each in units]),
        "length": np.array([log(1 + len(each.text)) for each in units]),
        "logit": logits,
        "logit_unmatched": logits * (1.0 - float(coverage.max())),
        "document_logit": _of_document(units, logits, 1),
    }


def describe_best(
    question: str,
    units: Sequence[UnitSignals],
    table: Mapping[str, NDArray[np.float64]],
    scores: NDArray[np.float64],
) -> dict[str, float]:
    """The features of the best unit that its confidence is made of.

    `cosine_height` is how many standard deviations its cosine lies above the mean of all.
    """
    best = int(np.argmax(scores))
    others = np.delete(np.arange(len(units)), best)
    elsewhere = [n for n in others.tolist() if units[n].document != units[best].document]
    chances = np.exp(scores - scores.max())
    found = {name: float(table[name][best]) for name in ("cosine", "coverage", "around", "kind", "numbers", "logit")}
    for name in ("cosine", "logit"):
        column = table[name]
        rival = float(column[others].max()) if len(others) else float(column.min())
        found[f"{name}_lead"] = found[name] - rival
        found[f"{name}_lead_of_document"] = found[name] - max((float(column[n]) for n in elsewhere), default=rival)
    found["logit_of_all"] = float(np.logaddexp.reduce(table["logit"]))
    found["chance"] = float(chances[best] / chances.sum())
    found["score"] = float(scores[best])
    found["score_lead"] = found["score"] - (float(scores[others].max()) if len(others) else 0.0)
    found["asked_length"] = log(1 + len(question.split()))
    found["open"] = float(is_open_question(question))
    found["agreement"] = float(np.argmax(table["logit"]) == np.argmax(table["cosine"]))
    found["cosine_height"] = (found["cosine"] - float(table["cosine"].mean())) / (float(table["cosine"].std()) + 1e-6)
    found["length"] = float(table["length"][best])
    found["unknown"] = units[best].unknown
    found["foreign"] = float(units[best].is_foreign)
    return found


def _of_document(units: Sequence[UnitSignals], column: NDArray[np.float64], most: int) -> NDArray[np.float64]:
    """For each unit the mean of the best `most` of its document."""
    best: dict[str, list[float]] = {}
    for unit, value in zip(units, column.tolist(), strict=True):
        best.setdefault(unit.document, []).append(value)
    chosen = {name: sorted(values, reverse=True)[:most] for name, values in best.items()}
    means = {name: sum(values) / len(values) for name, values in chosen.items()}
    return np.array([means[unit.document] for unit in units])


def _share(numbers: set[str], line: str) -> float:
    """The share of the question's numbers that the line states; 1 where it has none."""
    return 1.0 if not numbers else len(numbers & set(_NUMBER.findall(line))) / len(numbers)
