"""A logistic model from evidence to the chance that an answer is right. Next: fit.py."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.schemas import TidegateError
from tidegate.services.knowledge.index.storage import replace_file
from tidegate.services.knowledge.reader.evidence import FEATURES, AnswerEvidence

Rows = NDArray[np.float64]
PENALTIES = (3.0, 10.0, 30.0, 100.0)
"""What may keep the weights where they were shipped; the pack's own questions say which, fold by fold."""
FOLDS = 5
_STEPS = 50
_LOG_ODDS = FEATURES.index("log_odds")


class CalibrationDataError(TidegateError, ValueError):
    """The calibration questions are all answered rightly, or all wrongly: there is nothing to tell apart."""

    hint = "calibration.yaml needs questions that the documents answer and questions that they do not"


class CalibrationMissingError(TidegateError):
    """There is no calibration where one is needed, or none that this program can read."""

    hint = "`tidegate up` and `tidegate demo` make it from the pack; remove a file that cannot be read"


class CalibrationQuality(msgspec.Struct, frozen=True, kw_only=True):
    """Quality on questions that the model did not see (k-fold).

    `brier` is the mean squared error of the confidence; `error` the expected calibration error over ten bins
    (Naeini, Cooper & Hauskrecht, AAAI 2015).
    """

    questions: int = 0
    right: int = 0
    brier: float = 0.0
    error: float = 0.0
    auc: float = 0.0


class Calibration(msgspec.Struct, frozen=True, kw_only=True):
    """Weights over standardised evidence. `made_from` names the pack, the index and the embedder it was fitted on.

    `out_of_scope_intents` are those of the pack that no corpus answers.
    """

    features: tuple[str, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]
    weights: tuple[float, ...]
    bias: float
    made_from: str
    out_of_scope_intents: tuple[str, ...] = ()
    fit: CalibrationQuality = CalibrationQuality()

    @property
    def version(self) -> str:
        """The first 12 hex digits of a sha256 over everything in it."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]

    def confidence(self, evidence: AnswerEvidence) -> float:
        """The chance, 0 … 1, that an answer with this evidence is right."""
        row = (np.array(evidence.row()) - self.mean) / self.spread
        return float(1.0 / (1.0 + np.exp(-(row @ np.array(self.weights) + self.bias))))

    def save(self, path: Path) -> None:
        """Replace the file in one step."""
        replace_file(path, msgspec.json.format(msgspec.json.encode(self), indent=1))

    @classmethod
    def load(cls, path: Path) -> Calibration:
        """Raises `CalibrationMissingError` when there is none, or one for other evidence than this program's."""
        try:
            found = msgspec.json.decode(path.read_bytes(), type=cls)
        except FileNotFoundError as error:
            raise CalibrationMissingError(
                f"{path} is missing; `tidegate up` and `tidegate demo` make it from the pack"
            ) from error
        except msgspec.DecodeError as error:
            raise CalibrationMissingError(
                f"{path} cannot be read ({error}); remove it and prepare the site again"
            ) from error
        if found.features != FEATURES:
            raise CalibrationMissingError(
                f"{path} was made by another version of this program; remove it and prepare again"
            )
        return found


SHIPPED = Calibration(
    features=FEATURES,
    mean=(0.0,) * len(FEATURES),
    spread=(1.0,) * len(FEATURES),
    weights=tuple(float(name == "log_odds") for name in FEATURES),
    bias=0.0,
    made_from="shipped",
)
"""The confidence as the model was trained, for a site that has no questions of its own to fit it on."""


def fit_calibration(
    rows: Sequence[AnswerEvidence], right: Sequence[bool], unanswerable: Sequence[AnswerEvidence] = ()
) -> Calibration:
    """Fit on labelled evidence, and judge the fit on what each fold had left out.

    `unanswerable` is the evidence for answers to what no corpus answers; all of it together weighs as much as the
    labelled questions that were answered wrongly. Raises `CalibrationDataError` without both right and wrong answers.
    """
    if len(set(right)) < 2:
        outcome = "rightly" if any(right) else "wrongly"
        needed = "a calibration needs questions with an answer and questions without"
        raise CalibrationDataError(f"{needed}: all {len(right)} are answered {outcome}")
    data = np.array([row.row() for row in rows], float)
    truth = np.array(right, float)
    extra = np.array([row.row() for row in unanswerable], float).reshape(-1, data.shape[1])
    unseen = {penalty: _cross_fitted(data, truth, extra, penalty) for penalty in PENALTIES}
    penalty = min(PENALTIES, key=lambda each: _log_loss(unseen[each], truth))
    mean, spread, weights, bias = _fit(data, truth, extra, penalty)
    return Calibration(
        features=FEATURES,
        mean=tuple(mean.tolist()),
        spread=tuple(spread.tolist()),
        weights=tuple(weights.tolist()),
        bias=float(bias),
        made_from="",
        fit=_quality(unseen[penalty], truth),
    )


def _cross_fitted(data: Rows, truth: Rows, extra: Rows, penalty: float) -> Rows:
    """The chance of each, by a fit that has not seen it."""
    unseen = np.zeros(len(truth))
    order = np.random.default_rng(7).permutation(len(truth))
    for fold in range(FOLDS):
        out = order[fold::FOLDS]
        kept = np.setdiff1d(order, out)
        mean, spread, weights, bias = _fit(data[kept], truth[kept], extra, penalty)
        unseen[out] = _sigmoid(((data[out] - mean) / spread) @ weights + bias)
    return unseen


def _log_loss(chance: Rows, truth: Rows) -> float:
    sure = np.clip(chance, 1e-9, 1 - 1e-9)
    return float(-np.mean(truth * np.log(sure) + (1 - truth) * np.log(1 - sure)))


def _fit(data: Rows, truth: Rows, unanswerable: Rows, penalty: float) -> tuple[Rows, Rows, Rows, float]:
    each = max(1.0, float((truth == 0).sum())) / max(1, len(unanswerable))
    return _logistic(
        np.vstack([data, unanswerable]),
        np.concatenate([truth, np.zeros(len(unanswerable))]),
        np.concatenate([np.ones(len(data)), np.full(len(unanswerable), each)]),
        penalty,
    )


def _logistic(data: Rows, truth: Rows, counts: Rows, ridge: float) -> tuple[Rows, Rows, Rows, float]:
    """Weighted logistic regression by Newton's method (Hastie, Tibshirani & Friedman 2009, section 4.4).

    The ridge holds it to the log odds that are shipped: few questions leave those as they are.
    """
    mean = np.average(data, axis=0, weights=counts)
    spread = np.sqrt(np.average((data - mean) ** 2, axis=0, weights=counts))
    spread = np.where(spread < 1e-6, 1.0, spread)
    table = np.hstack([(data - mean) / spread, np.ones((len(data), 1))])
    shipped = np.zeros(table.shape[1])
    shipped[_LOG_ODDS], shipped[-1] = spread[_LOG_ODDS], mean[_LOG_ODDS]
    weights = shipped.copy()
    penalty = np.full(table.shape[1], ridge)
    for _ in range(_STEPS):
        chance = _sigmoid(table @ weights)
        slope = table.T @ (counts * (chance - truth)) + penalty * (weights - shipped)
        curve = (table * (counts * chance * (1 - chance))[:, None]).T @ table + np.diag(penalty)
        step = np.linalg.solve(curve, slope)
        weights = weights - step
        if float(np.abs(step).max()) < 1e-9:
            break
    return mean, spread, weights[:-1], float(weights[-1])


def _sigmoid(x: Rows) -> Rows:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(x, -40, 40))))


def _quality(chance: Rows, truth: Rows) -> CalibrationQuality:
    bins = np.minimum((chance * 10).astype(int), 9)
    error = sum(
        float(abs(chance[bins == each].mean() - truth[bins == each].mean())) * float((bins == each).mean())
        for each in set(bins.tolist())
    )
    yes, no = chance[truth == 1], chance[truth == 0]
    above = (yes[:, None] > no[None, :]).mean() + 0.5 * (yes[:, None] == no[None, :]).mean()
    return CalibrationQuality(
        questions=len(truth),
        right=int(truth.sum()),
        brier=round(float(((chance - truth) ** 2).mean()), 4),
        error=round(error, 4),
        auc=round(float(above), 4),
    )
