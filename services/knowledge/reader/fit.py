"""Calibrates a reader on a pack's calibration questions against the index it will read from. Next: calibration.py."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from tidegate.schemas.pack import Domain, Pack
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import (
    SHIPPED,
    Calibration,
    CalibrationDataError,
    CalibrationMissingError,
    LabelledEvidence,
    fit_confidence,
)
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.reader.effort import AT_SITE, Effort
from tidegate.services.knowledge.reader.evidence import AnswerEvidence
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.retrieval import Retrieval
from tidegate.services.knowledge.reader.risk import JudgedAnswer
from tidegate.services.knowledge.reader.tuning import FOLDER as ARTEFACTS
from tidegate.services.knowledge.reader.unit_reader import UnitReader

CONFIDENCE = "confidence"
"""The folder of a tenant's artefacts in a pack that holds its confidence, fitted."""
K = 8
UTTERED_IN = "en"
"""The language in which an intent's utterances are looked for; the pack does not say theirs."""


def prepare_calibration(
    pack: Pack, index: HybridIndex, units: UnitReader, path: Path, effort: Effort = AT_SITE
) -> Calibration:
    """Fit the confidence on the pack's calibration questions, and on the utterances of intents that no corpus answers,
    never on the questions it is measured on; write it to `path`. A pack without any gets the shipped calibration.

    Fits nothing when `path` holds what was fitted on the same questions, index, models and effort already, or the pack
    brings it: see `keep_confidence`. A question whose documents this index does not hold counts as one without an
    answer: an edge must be unsure of what the hub knows.
    """
    made_from = _made_from(pack, index, units, effort)
    try:
        found = Calibration.load(path)
        if found.made_from == made_from:
            return found
    except CalibrationMissingError:
        pass
    calibration = SHIPPED
    if pack.calibration:
        brought = find_confidence(pack, made_from)
        calibration = brought or fit_pack(pack, index, units, effort).calibration
    return _save(calibration, pack, made_from, path)


def calibrate(pack: Pack, index: HybridIndex, units: UnitReader, path: Path, effort: Effort) -> PackFit:
    """Fit the confidence anew, whatever is in `path`, and write it there as `prepare_calibration` does."""
    fitted = fit_pack(pack, index, units, effort)
    saved = _save(fitted.calibration, pack, _made_from(pack, index, units, effort), path)
    return msgspec.structs.replace(fitted, calibration=saved)


def keep_confidence(pack: Path, tenant: str, domain: Domain, calibration: Calibration) -> Path:
    """Put a calibration that was fitted for the tenant's sites, or for the hub, into the pack; the file."""
    path = pack / ARTEFACTS / tenant / CONFIDENCE / f"{domain}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    calibration.save(path)
    return path


def prepare_kept_confidence(
    pack: Pack, index: HybridIndex, units: UnitReader, path: Path, effort: Effort
) -> Calibration:
    """As `prepare_calibration`, for documents that change all the time: what the pack brings is used where questions
    and models are those that it was fitted on, whatever became of the documents since.

    Where it brings nothing that fits, the confidence is fitted; that is the shipped one until there are documents that
    answer some of the questions.
    """
    made_from = _made_from(pack, index, units, effort)
    calibration = SHIPPED
    if pack.calibration:
        brought = find_confidence(pack, made_from) or find_confidence(pack, made_from, of_any_documents=True)
        calibration = brought or _fit_if_possible(pack, index, units, effort)
    return _save(calibration, pack, made_from, path)


def _fit_if_possible(pack: Pack, index: HybridIndex, units: UnitReader, effort: Effort) -> Calibration:
    try:
        return fit_pack(pack, index, units, effort).calibration
    except CalibrationDataError:
        return SHIPPED


def find_confidence(pack: Pack, made_from: str, *, of_any_documents: bool = False) -> Calibration | None:
    """The calibration in the pack that was fitted on just this, or on other documents; one that cannot be read is as
    none."""
    for path in sorted(Path(pack.path).glob(f"{ARTEFACTS}/*/{CONFIDENCE}/*.json")):
        try:
            found = Calibration.load(path)
        except CalibrationMissingError:  # of another version of this program: it is fitted anew
            continue
        if found.made_from == made_from:
            return found
        if of_any_documents and _but_documents(found.made_from) == _but_documents(made_from):
            return found
    return None


def _but_documents(made_from: str) -> list[str]:
    """What `_made_from` wrote, without the version of the index."""
    parts = made_from.split("/")
    return [*parts[:1], *parts[2:]]


def digest_questions(pack: Pack) -> str:
    """The first 12 hex digits of a sha256 over what a confidence is fitted on, beside documents and models; of the
    pack's policies, say, it does not know."""
    asked = msgspec.json.encode([pack.calibration, [i for i in pack.intents if i.verdict == "out_of_scope"]])
    return hashlib.sha256(asked + msgspec.json.encode(pack.thesaurus)).hexdigest()[:12]


def _made_from(pack: Pack, index: HybridIndex, units: UnitReader, effort: Effort) -> str:
    return f"{digest_questions(pack)}/{index.version}/{units.version}/{effort.windows}"


def _save(calibration: Calibration, pack: Pack, made_from: str, path: Path) -> Calibration:
    out_of_scope = tuple(intent.id for intent in pack.intents if intent.verdict == "out_of_scope")
    calibration = msgspec.structs.replace(calibration, made_from=made_from, out_of_scope_intents=out_of_scope)
    calibration.save(path)
    return calibration


class PackFit(msgspec.Struct, frozen=True):
    """A calibration, and what became of each calibration question of the pack by a model that has not seen it."""

    calibration: Calibration
    answers: tuple[JudgedAnswer, ...]


def fit_pack(pack: Pack, index: HybridIndex, units: UnitReader, effort: Effort) -> PackFit:
    """What retrieval alone makes of the questions says which are read, and with those that were the rest is fitted.

    Raises `CalibrationDataError`.
    """
    return fit_asked(retrieve_all(pack, index, Reader(units, SHIPPED, effort)), lambda _: units, effort)


def fit_asked(asked: AskedQuestions, units_of: Callable[[int], UnitReader], effort: Effort) -> PackFit:
    """`fit_pack` with what was retrieved; `units_of` says by whose weights the question of a number is ranked and read,
    those of `asked.unanswerable` being counted on. Raises `CalibrationDataError`."""
    retrievals = [found.ranked_by(units_of(number).ranking) for number, found in enumerate(asked.all())]
    unread = fit_confidence(_label(asked, [(found.ranked[:1], found.evidence) for found in retrievals])).model
    first = msgspec.structs.replace(SHIPPED, unread=unread)

    def read(number: int, found: Retrieval) -> Judged:
        _, selection, evidence = Reader(units_of(number), first, effort).read_retrieved(found)
        return selection.units, evidence

    labelled = _label(asked, [read(number, found) for number, found in enumerate(retrievals)])
    fitted = fit_confidence(labelled)
    answers = zip(fitted.unseen.tolist(), labelled.right, strict=True)
    calibration = msgspec.structs.replace(first, read=fitted.model, fit=fitted.quality)
    return PackFit(calibration, tuple(JudgedAnswer(chance, is_right) for chance, is_right in answers))


class AskedQuestions(msgspec.Struct, frozen=True):
    """What was retrieved for each calibration question, the documents that answer it, and what was retrieved for each
    utterance of an intent that no corpus answers."""

    labelled: Sequence[Retrieval]
    documents: Sequence[Sequence[str]]
    unanswerable: Sequence[Retrieval]

    def all(self) -> list[Retrieval]:
        """Those that are labelled, then the others."""
        return [*self.labelled, *self.unanswerable]


Judged = tuple[Sequence[Candidate], AnswerEvidence]
"""The units of an answer, none where there is none, and the evidence for it."""


def retrieve_all(pack: Pack, index: HybridIndex, reader: Reader) -> AskedQuestions:
    """The calibration questions of the pack, and what is out of its scope, each looked for once."""

    def retrieve(text: str, language: str) -> Retrieval:
        return reader.retrieve(text, language, index.find(text, K, language), index)

    return AskedQuestions(
        [retrieve(question.text, question.language) for question in pack.calibration],
        [question.documents for question in pack.calibration],
        [
            retrieve(text, UTTERED_IN)
            for intent in pack.intents
            if intent.verdict == "out_of_scope"
            for text in intent.utterances
        ],
    )


def _label(asked: AskedQuestions, judged: Sequence[Judged]) -> LabelledEvidence:
    """The evidence for each answer; it is right where it cites one of the question's documents."""
    count = len(asked.labelled)
    right = [
        bool(units) and units[0].passage.document_id in documents
        for (units, _), documents in zip(judged[:count], asked.documents, strict=True)
    ]
    rows = [evidence for _, evidence in judged]
    return LabelledEvidence(rows[:count], right, rows[count:])
