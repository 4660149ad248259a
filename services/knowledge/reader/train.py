"""Tunes the reader for a tenant on its pack's calibration questions: the ranking, and a small head on the last states.

Promises that nothing is kept that is worse than what is shipped, on questions that its weights have not seen. Takes
seconds where the questions' windows were read before. Next: listwise.py, tuning.py.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from tidegate.schemas import TidegateError
from tidegate.services.knowledge.index.thesaurus import rewrite_query
from tidegate.services.knowledge.reader.candidates import OWN_LANGUAGE
from tidegate.services.knowledge.reader.effort import Effort
from tidegate.services.knowledge.reader.fit import AskedQuestions, PackFit, fit_asked
from tidegate.services.knowledge.reader.listwise import Choice, fit_choices, loss_of_choices
from tidegate.services.knowledge.reader.logistic import Rows
from tidegate.services.knowledge.reader.ranking import Fitted, RankingModel, UnitSignals, describe_units
from tidegate.services.knowledge.reader.retrieval import Retrieval
from tidegate.services.knowledge.reader.tuning import FoundTuning, ReaderTuning, TuningFigures
from tidegate.services.knowledge.reader.unit_reader import UnitReader

FOLDS = 5
RANK = 32
"""Directions of the states, those along which they vary most, that a head may use."""
HEAD_PENALTIES = (10.0, 30.0, 100.0, 300.0)
RANKING_PENALTIES = (3.0, 10.0, 30.0, 100.0)
"""What keeps the weights where they were shipped; the folds say which, and whether anything is gained at all."""
UNANSWERABLE_SHARE = 0.1
LEAST_SLOPE = 0.2
"""The part of its shipped weight that the cosine keeps at least: it is the scale of all scores."""


class TuningDataError(TidegateError, ValueError):
    """The pack's calibration questions cannot tune a reader."""

    hint = "write at least 30 calibration questions with documents and 10 without, as people would ask them"


LEAST_ANSWERABLE, LEAST_UNANSWERABLE = 30, 10
WAYS = {"ranking and head": (True, True), "ranking": (False, True), "head": (True, False)}
"""What is tuned: whether the head is, and whether the ranking is."""


class TuningOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """The weights, none where no way of tuning is as good as what is shipped in every figure and better in one; the
    figures of each way that was tried."""

    tuning: ReaderTuning | None
    shipped: TuningFigures
    tried: dict[str, TuningFigures]
    chosen: str = ""


class QuestionSample(msgspec.Struct, frozen=True):
    """A question as training sees it: for each retrieved unit whether its document answers, and what was read of it."""

    found: Retrieval
    right: NDArray[np.bool_]
    is_answerable: bool
    logits: Rows
    states: NDArray[np.float32]

    @property
    def read(self) -> NDArray[np.bool_]:
        return ~np.isnan(self.logits)


def tune(asked: AskedQuestions, units: UnitReader, effort: Effort, step: Callable[[], None]) -> TuningOutcome:
    """Try the ranking with a head, the ranking and the head alone; `step` is called after each question that was read
    and each way that was judged. Raises `TuningDataError` and `CalibrationDataError`."""
    known = asked.labelled[0].index.document_ids() if asked.labelled else frozenset()
    held = [not known.isdisjoint(each) for each in asked.documents]
    if sum(held) < LEAST_ANSWERABLE or len(held) - sum(held) < LEAST_UNANSWERABLE:
        raise TuningDataError(
            f"there are {sum(held)} calibration questions with an answer and {len(held) - sum(held)} without"
        )
    samples = _gather(asked, [*held, *(False for _ in asked.unanswerable)], units, effort, step)
    folds = np.random.default_rng(11).permutation(len(samples)) % FOLDS
    shipped = _measure(fit_asked(asked, lambda _: units, effort), held)
    step()
    tried: dict[str, TuningFigures] = {}
    kept: dict[str, ReaderTuning] = {}
    for name, (has_head, has_ranking) in WAYS.items():
        whole, parts = _train(samples, folds, units.ranking, has_head=has_head, has_ranking=has_ranking)
        readers = [units.tuned(FoundTuning(part, f"fold {number}")) for number, part in enumerate(parts)]
        tried[name] = _measure(fit_asked(asked, [readers[fold] for fold in folds].__getitem__, effort), held)
        kept[name] = whole
        step()
    good = [name for name, figures in tried.items() if is_better(figures, shipped)]
    chosen = max(good, key=lambda name: sum(msgspec.structs.astuple(tried[name])), default="")
    return TuningOutcome(tuning=kept.get(chosen), shipped=shipped, tried=tried, chosen=chosen)


def is_better(tuned: TuningFigures, shipped: TuningFigures) -> bool:
    """Whether it is worse in no figure, and better in one."""
    pairs = list(zip(msgspec.structs.astuple(tuned), msgspec.structs.astuple(shipped), strict=True))
    return all(own >= other for own, other in pairs) and any(own > other for own, other in pairs)


def _gather(
    asked: AskedQuestions, answerable: Sequence[bool], units: UnitReader, effort: Effort, step: Callable[[], None]
) -> list[QuestionSample]:
    """Read the likeliest windows of every question, sure or not: what is told from an answer is what is near it."""
    documents = [*map(frozenset, asked.documents), *(frozenset[str]() for _ in asked.unanswerable)]
    samples = []
    for found, right, is_answerable in zip(asked.all(), documents, answerable, strict=True):
        pieces = units.read_pieces(rewrite_query(found.question), found.held_units(), effort.windows)
        read = [pieces.get((each.passage.document_id, each.number)) for each in found.ranked]
        width = max((len(piece.state) for piece in read if piece is not None), default=0)
        samples.append(
            QuestionSample(
                found,
                np.array([each.passage.document_id in right for each in found.ranked], bool),
                is_answerable,
                np.array([np.nan if piece is None else piece.logit for piece in read]),
                np.array([np.zeros(width) if piece is None else piece.state for piece in read], np.float32),
            )
        )
        step()
    return samples


def _train(
    samples: Sequence[QuestionSample],
    folds: NDArray[np.int64],
    shipped: RankingModel,
    *,
    has_head: bool,
    has_ranking: bool,
) -> tuple[ReaderTuning, list[ReaderTuning]]:
    """The weights of all samples, and for each fold those of all others."""
    everyone = np.full(len(samples), True)
    kept = [everyone, *(folds != fold for fold in range(FOLDS))]
    heads: list[Rows] = [np.zeros(0)] * len(kept)
    if has_head and any(sample.states.shape[1] for sample in samples if len(sample.states)):
        heads = fit_heads(samples, folds, kept)
    rankings = [shipped] * len(kept)
    if has_ranking:
        rankings = _fit_rankings(samples, folds, kept, heads, shipped)
    made = [ReaderTuning(ranking=each, head=tuple(head.tolist())) for each, head in zip(rankings, heads, strict=True)]
    return made[0], made[1:]


def fit_heads(
    samples: Sequence[QuestionSample], folds: NDArray[np.int64], kept: Sequence[NDArray[np.bool_]]
) -> list[Rows]:
    """What is added to the logits, so that among the units that were read, or none of them, the answering ones win."""
    states = np.concatenate([sample.states[sample.read] for sample in samples if sample.read.any()]).astype(float)
    mean = states.mean(axis=0)
    _, values, directions = np.linalg.svd((states - mean)[:: max(1, len(states) // 4000)], full_matrices=False)
    spread = np.maximum(values[:RANK] / np.sqrt(max(1, min(len(states), 4000))), 1e-3)
    basis = directions[:RANK].T / spread
    choices: list[Choice | None] = []
    for sample in samples:
        right = sample.right[sample.read]
        if not sample.read.any() or (sample.is_answerable and not right.any()):
            choices.append(None)
            continue
        columns = np.hstack([(sample.states[sample.read] - mean) @ basis, np.ones((len(right), 1))])
        choices.append(Choice(columns, sample.logits[sample.read], right).or_none())
    heads = []
    for delta in _fit_all(choices, folds, kept, HEAD_PENALTIES):
        if not delta.any():
            heads.append(np.zeros(0))
            continue
        weights = basis @ delta[:-1]
        heads.append(np.append(weights, delta[-1] - mean @ weights))
    return heads


def _fit_rankings(
    samples: Sequence[QuestionSample],
    folds: NDArray[np.int64],
    kept: Sequence[NDArray[np.bool_]],
    heads: Sequence[Rows],
    shipped: RankingModel,
) -> list[RankingModel]:
    """Both rankings, for each way that the samples are kept; `read` on the logits of the head of that way."""
    plain = [_choose(sample, shipped.unread, None) for sample in samples]
    unread = _fit_all(plain, folds, kept, RANKING_PENALTIES)
    rankings = []
    for number, (own, head) in enumerate(zip(kept, heads, strict=True)):
        choices = [_choose(sample, shipped.read, head) for sample in samples]
        read = _fit_all(choices, folds, [own], RANKING_PENALTIES)[0]
        rankings.append(
            msgspec.structs.replace(
                shipped, unread=_moved(shipped.unread, unread[number]), read=_moved(shipped.read, read)
            )
        )
    return rankings


def _choose(sample: QuestionSample, ranking: Fitted, head: Rows | None) -> Choice | None:
    """The units of a question to choose among; None where none is right, or none is wrong. `head` None: unread."""
    if not sample.right.any() or sample.right.all() or (head is not None and not sample.read.any()):
        return None
    table = describe_units(sample.found.scorer.query, _signals(sample, head))
    columns = (np.stack([table[name] for name in ranking.features], axis=1) - ranking.mean) / ranking.spread
    own = [each.passage.language == sample.found.language for each in sample.found.ranked]
    offset = ranking.score(table) + OWN_LANGUAGE * ranking.slope("cosine") * np.array(own)
    return Choice(columns, offset, sample.right)


def _signals(sample: QuestionSample, head: Rows | None) -> list[UnitSignals]:
    logits = sample.logits
    if head is not None and len(head):
        logits = logits + sample.states @ head[:-1] + head[-1]
    is_read = sample.read & (head is not None)
    return [
        msgspec.structs.replace(each.signals, logit=float(logit) if known else None)
        for each, logit, known in zip(sample.found.ranked, logits, is_read, strict=True)
    ]


def _moved(ranking: Fitted, delta: Rows) -> Fitted:
    """The ranking with its weights moved; the shipped one where the cosine would no longer carry the scale."""
    if not delta.any():
        return ranking
    weights = np.array(ranking.weights) + delta
    column = ranking.features.index("cosine")
    if weights[column] < LEAST_SLOPE * ranking.weights[column]:
        return ranking
    return msgspec.structs.replace(ranking, weights=tuple(weights.tolist()))


def _fit_all(
    choices: Sequence[Choice | None],
    folds: NDArray[np.int64],
    kept: Sequence[NDArray[np.bool_]],
    penalties: Sequence[float],
) -> list[Rows]:
    """For each way that the samples are kept what the weights are moved by, at the penalty that the folds within it
    like best; zeros where none lowers the loss of what was left out."""

    def some(mask: NDArray[np.bool_]) -> list[Choice]:
        return [choice for choice, own in zip(choices, mask, strict=True) if own and choice is not None]

    found = []
    for own in kept:
        if not all(some(own & (folds != fold)) for fold in range(FOLDS)):
            return [np.zeros(0)] * len(kept)
        zero = np.zeros(some(own)[0].columns.shape[1])
        losses = {0.0: sum(loss_of_choices(some(own & (folds == fold)), zero) for fold in range(FOLDS))}
        for penalty in penalties:
            losses[penalty] = sum(
                loss_of_choices(some(own & (folds == fold)), fit_choices(some(own & (folds != fold)), penalty))
                for fold in range(FOLDS)
            )
        best = min(losses, key=lambda penalty: losses[penalty])
        found.append(fit_choices(some(own), best) if best else zero)
    return found


def _measure(fitted: PackFit, held: Sequence[bool]) -> TuningFigures:
    """The figures of questions, those that are answerable marked."""
    answerable = [each for each, is_held in zip(fitted.answers, held, strict=True) if is_held]
    others = sorted((each.confidence for each, own in zip(fitted.answers, held, strict=True) if not own), reverse=True)
    least = others[int(UNANSWERABLE_SHARE * len(others))]
    right = [each for each in answerable if each.is_right]
    return TuningFigures(
        first_right=round(len(right) / len(answerable), 4),
        auc=fitted.calibration.fit.auc,
        right_at_tenth=round(sum(each.confidence > least for each in right) / len(answerable), 4),
    )
