"""Learns the weights of the ranking and of its confidence, on questions that embedding and reader did not learn from.

The ranking is a listwise logistic model (Cao et al., "Learning to rank", ICML 2007), the confidence a ridge logistic
regression; the thresholds are conformal. Next: services/knowledge/reader/ranking.py, which multiplies.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.infra.models.evaluation.site import Evidence
from tidegate.services.knowledge.reader.ranking import Fitted, describe_best, describe_units

Rows = NDArray[np.float64]
RETRIEVAL = ("cosine", "coverage", "coverage_to_best", "around", "document", "kind", "numbers")
READING = (*RETRIEVAL, "logit", "logit_unmatched", "document_logit")
UNREAD_CONFIDENCE = (
    "cosine",
    "coverage",
    "around",
    "kind",
    "numbers",
    "cosine_lead",
    "cosine_lead_of_document",
    "chance",
    "asked_length",
    "open",
)
READ_CONFIDENCE = (
    "coverage",
    "around",
    "kind",
    "numbers",
    "chance",
    "asked_length",
    "open",
    "logit",
    "logit_lead",
    "logit_lead_of_document",
    "logit_of_all",
    "score_lead",
    "agreement",
)
"""Without the cosines, which do not tell a near miss from an answer: leaving them out is better across folds."""
PENALTY = 1.0
CONFIDENCE_PENALTY = 5.0
FOLDS = 5
STEPS = 60


class Listed(msgspec.Struct, frozen=True):
    """A question's units as rows of standardised features, and which of them answer."""

    rows: Rows
    right: NDArray[np.bool_]


def fit_ranking(evidence: Sequence[Evidence], features: Sequence[str]) -> Fitted:
    """Weights that put an answering unit first, from questions that have one among their units."""
    answerable = [each for each in evidence if any(each.right)]
    tables = [describe_units(each.question.text, each.signals) for each in answerable]
    rows = [np.stack([table[name] for name in features], axis=1) for table in tables]
    together = np.concatenate(rows)
    mean, spread = together.mean(0), np.maximum(together.std(0), 1e-6)
    lists = [Listed((row - mean) / spread, np.array(each.right)) for row, each in zip(rows, answerable, strict=True)]
    return Fitted(tuple(features), tuple(mean.tolist()), tuple(spread.tolist()), tuple(_listwise(lists).tolist()))


def fit_confidence(
    table: Mapping[str, Rows], right: Rows, features: Sequence[str], penalty: float = CONFIDENCE_PENALTY
) -> Fitted:
    """The chance that the best unit answers, from rows of `describe_best`."""
    rows = np.stack([table[name] for name in features], axis=1)
    mean, spread = rows.mean(0), np.maximum(rows.std(0), 1e-6)
    design = np.hstack([(rows - mean) / spread, np.ones((len(rows), 1))])
    weights = np.zeros(design.shape[1])
    ridge = np.full(len(weights), penalty)
    ridge[-1] = 1e-6
    for _ in range(STEPS):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ weights, -40, 40)))
        slope = design.T @ (chance - right) + ridge * weights
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(ridge)
        step = np.linalg.solve(curve, slope)
        weights -= step
        if float(np.abs(step).max()) < 1e-9:
            break
    fitted = weights[:-1].tolist()
    return Fitted(tuple(features), tuple(mean.tolist()), tuple(spread.tolist()), tuple(fitted), float(weights[-1]))


def describe_all(ranking: Fitted, evidence: Sequence[Evidence]) -> tuple[dict[str, Rows], Rows]:
    """The features of each question's best unit as columns, and whether it is right."""
    found: list[dict[str, float]] = []
    right: list[bool] = []
    for each in evidence:
        table = describe_units(each.question.text, each.signals)
        scores = ranking.score(table)
        found.append(describe_best(each.question.text, each.signals, table, scores))
        right.append(each.right[int(np.argmax(scores))])
    return {name: np.array([row[name] for row in found]) for name in found[0]}, np.array(right, float)


def threshold_for(share: float, unanswerable: Rows) -> float:
    """The confidence above which at most `share` of questions without an answer are expected (split conformal).

    Vovk, Gammerman & Shafer 2005; exchangeable questions exceed it with a chance of at most `share`.
    """
    ordered = np.sort(unanswerable)
    position = math.ceil((len(ordered) + 1) * (1.0 - share)) - 1
    return float(ordered[position]) if position < len(ordered) else 1.0


def _listwise(lists: Sequence[Listed]) -> Rows:
    """Newton's method on the loss -log(chance of the answering units), a ridge, and never a step uphill."""
    weights = np.zeros(lists[0].rows.shape[1])
    loss = _loss(lists, weights)
    for _ in range(STEPS):
        slope, curve = PENALTY * weights, PENALTY * np.eye(len(weights))
        for each in lists:
            whole = _moments(each.rows, weights)
            answering = _moments(each.rows[each.right], weights)
            slope = slope + whole[0] - answering[0]
            curve = curve + whole[1]  # without the answering part, so that it stays positive
        step = np.linalg.solve(curve, slope)
        while (lower := _loss(lists, weights - step)) > loss and float(np.abs(step).max()) > 1e-6:
            step = step / 2
        if lower > loss or loss - lower < 1e-6 * len(lists):
            break
        weights, loss = weights - step, lower
    return weights


def _loss(lists: Sequence[Listed], weights: Rows) -> float:
    total = 0.5 * PENALTY * float(weights @ weights)
    for each in lists:
        scores = each.rows @ weights
        total += float(np.logaddexp.reduce(scores) - np.logaddexp.reduce(scores[each.right]))
    return total


def _moments(rows: Rows, weights: Rows) -> tuple[Rows, Any]:
    scores = rows @ weights
    chance = np.exp(scores - scores.max())
    chance /= chance.sum()
    mean = chance @ rows
    return mean, (rows * chance[:, None]).T @ rows - np.outer(mean, mean)
