"""From evidence to the chance that an answer is right: what is shipped, or what a pack's own questions make of it.

Next: fit.py, logistic.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from tidegate.schemas import TidegateError
from tidegate.services.knowledge.index.storage import replace_file
from tidegate.services.knowledge.reader.evidence import FEATURES, AnswerEvidence
from tidegate.services.knowledge.reader.logistic import Logistic, Rows, cross_fit, fit_logistic, log_loss

PENALTIES = (3.0, 10.0, 30.0, 100.0)
"""What may keep the weights where they were shipped; the pack's own questions say which, fold by fold."""


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
    """Two models over standardised evidence: `unread` of what retrieval says, which tells whether units are worth
    reading, and `read` of what is known in the end.

    `made_from` names the questions, the index and the models they were fitted on; `out_of_scope_intents` are the pack's
    that no corpus answers.
    """

    features: tuple[str, ...]
    unread: Logistic
    read: Logistic
    made_from: str
    out_of_scope_intents: tuple[str, ...] = ()
    fit: CalibrationQuality = CalibrationQuality()

    @property
    def version(self) -> str:
        """The first 12 hex digits of a sha256 over everything in it."""
        return hashlib.sha256(msgspec.json.encode(self)).hexdigest()[:12]

    def confidence(self, evidence: AnswerEvidence) -> float:
        """The chance, 0 … 1, that an answer with this evidence is right."""
        return self.read.chance(evidence.row())

    def unread_confidence(self, evidence: AnswerEvidence) -> float:
        """The chance that the best unit answers, before any was read."""
        return self.unread.chance(evidence.row())

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


_LOG_ODDS = Logistic(
    mean=(0.0,) * len(FEATURES),
    spread=(1.0,) * len(FEATURES),
    weights=tuple(float(name == "log_odds") for name in FEATURES),
    bias=0.0,
)
SHIPPED = Calibration(features=FEATURES, unread=_LOG_ODDS, read=_LOG_ODDS, made_from="shipped")
"""The confidence as the model was trained, for a site that has no questions of its own to fit it on."""


class LabelledEvidence(msgspec.Struct, frozen=True):
    """Evidence for answers, whether each is right, and the evidence for answers to what no corpus answers."""

    rows: Sequence[AnswerEvidence]
    right: Sequence[bool]
    unanswerable: Sequence[AnswerEvidence] = ()


class FittedConfidence(NamedTuple):
    """A model of labelled evidence, how good it is, and the confidence of each row by a model that has not seen it."""

    model: Logistic
    quality: CalibrationQuality
    unseen: Rows


def fit_confidence(labelled: LabelledEvidence) -> FittedConfidence:
    """A model of labelled evidence, judged on what each fold had left out.

    All that is unanswerable together weighs as much as the labelled questions that were answered wrongly.
    Raises `CalibrationDataError` without both right and wrong answers.
    """
    right = labelled.right
    if len(set(right)) < 2:
        outcome = "rightly" if any(right) else "wrongly"
        needed = "a calibration needs questions with an answer and questions without"
        raise CalibrationDataError(f"{needed}: all {len(right)} are answered {outcome}")
    data = np.array([row.row() for row in labelled.rows], float)
    truth = np.array(right, float)
    extra = np.array([row.row() for row in labelled.unanswerable], float).reshape(-1, data.shape[1])
    shipped = FEATURES.index("log_odds")
    unseen = {penalty: cross_fit(data, truth, extra, penalty, shipped) for penalty in PENALTIES}
    penalty = min(PENALTIES, key=lambda each: log_loss(unseen[each], truth))
    model = fit_logistic(data, truth, extra, penalty, shipped)
    return FittedConfidence(model, _quality(unseen[penalty], truth), unseen[penalty])


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
