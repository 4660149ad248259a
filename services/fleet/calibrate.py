"""Fits the confidence of a pack and says which thresholds hold a stated risk, by class and by kind of question.

Promises that every figure is of questions that the model behind it has not seen. Next: thresholds.py, prepare.py.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import msgspec

from tidegate.schemas import TidegateError, Workload, replace
from tidegate.schemas.pack import Domain, Pack, is_held
from tidegate.schemas.subjects import HUB
from tidegate.services.fleet.models import ProgressReporter
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.index import packing
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.intent_classifier import prepare_intents
from tidegate.services.knowledge.reader.calibration import SHIPPED, CalibrationQuality
from tidegate.services.knowledge.reader.effort import AT_HUB, AT_SITE, Effort
from tidegate.services.knowledge.reader.fit import calibrate, keep_confidence, retrieve_all
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.risk import JudgedAnswer, RiskRow, control_risk, least_questions
from tidegate.services.knowledge.reader.train import WAYS, tune
from tidegate.services.knowledge.reader.tuning import (
    TuningFigures,
    TuningManifest,
    find_tuning,
    save_tuning,
    tuning_directory,
)
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.languages.risk_words import RISK_CLASSES, find_risks
from tidegate.services.policies.high_risk import STRICTER
from tidegate.services.settings import Settings

WITHOUT_INTENT: Workload = "assist"
_CLASS, _KIND, _LANGUAGE = "class", "kind", "language"


class TooFewQuestionsError(TidegateError, ValueError):
    """No threshold can hold the stated risk with so few calibration questions."""

    hint = "write more questions into calibration.yaml, or state a higher --risk"


class DomainRisk(msgspec.Struct, frozen=True, kw_only=True):
    """How good the confidence is at the site or at the hub, and the risk there: of all questions, then of each group.

    Groups are named `class …` (an intent or a workload), `kind …` and `language …`.
    """

    domain: str
    fit: CalibrationQuality
    rows: tuple[RiskRow, ...]


class TuningReport(msgspec.Struct, frozen=True, kw_only=True):
    """Figures of the shipped reader and of each way of tuning it; the way that was kept, and the artefact's version and
    folder; all three are empty where no way is as good in every figure and better in one."""

    shipped: TuningFigures
    tried: dict[str, TuningFigures]
    kept: str = ""
    version: str = ""
    path: str = ""


class PackCalibration(msgspec.Struct, frozen=True, kw_only=True):
    """What was fitted. `threshold` holds the risk at both ends, `class_thresholds` those of the classes that have
    questions enough; `without_own` are the classes that share `threshold` for want of them. `ignored` says why the
    pack's artefact for the tenant is not used, if it has one."""

    pack: str
    version: str
    tenant: str
    risk: float
    least_questions: int
    reader: str
    domains: tuple[DomainRisk, ...]
    threshold: float
    class_thresholds: dict[str, float]
    without_own: tuple[str, ...]
    tuning: TuningReport | None = None
    ignored: str = ""


class CalibrationJob(msgspec.Struct, frozen=True, kw_only=True):
    """What is calibrated: for which tenant, to which risk, with the shipped reader or one that is tuned first, and
    whether the pack keeps the confidence."""

    settings: Settings
    pack: Pack
    tenant: str
    risk: float
    is_trained: bool = False
    is_kept: bool = False


def calibrate_pack(job: CalibrationJob, progress: ProgressReporter) -> PackCalibration:
    """Prepare the indices of the site and the hub below `settings.state_dir`, fit both confidences and keep them there;
    a reader that was tuned and is better is put into the pack.

    Takes some 60 ms of CPU a question, twice that to tune. Raises `CalibrationDataError`, `TooFewQuestionsError`,
    `TuningDataError` and what `prepare` raises.
    """
    pack, paths = job.pack, StatePaths(job.settings)
    if len(pack.calibration) < least_questions(job.risk):
        raise TooFewQuestionsError(
            f"{len(pack.calibration)} calibration questions cannot hold a risk of {job.risk:g}: "
            f"{least_questions(job.risk)} are needed at least"
        )
    units = UnitReader.load(paths.models)
    tuning = _tune(job, units, progress) if job.is_trained else None
    found = find_tuning(paths.pack, job.tenant, units.version)
    own = units.tuned(found)
    classes = _find_classes(pack, units, paths, progress)
    domains = [_calibrate_domain(job, name, own, classes, progress) for name in (job.settings.site, HUB)]
    threshold, of_classes, without = _choose_thresholds(domains)
    return PackCalibration(
        pack=pack.name,
        version=pack.version,
        tenant=job.tenant,
        risk=job.risk,
        least_questions=least_questions(job.risk),
        reader=own.version,
        domains=tuple(domains),
        threshold=threshold,
        class_thresholds=of_classes,
        without_own=without,
        tuning=tuning,
        ignored=found.ignored,
    )


def _tune(job: CalibrationJob, units: UnitReader, progress: ProgressReporter) -> TuningReport:
    """Tune at the hub, which holds all documents, and put what is better into the pack."""
    pack = job.pack
    index, effort = _open_domain(job, HUB, units, progress)
    asked = retrieve_all(pack, index, Reader(units, SHIPPED, effort))
    progress.start(f"{HUB}: tuning the reader for {job.tenant}", len(asked.all()) + 1 + len(WAYS))
    outcome = tune(asked, units, effort, progress.step)
    if outcome.tuning is None:
        return TuningReport(shipped=outcome.shipped, tried=outcome.tried)
    manifest = TuningManifest(
        tenant=job.tenant,
        base=units.version,
        pack=pack.version,
        questions=hashlib.sha256(msgspec.json.encode(pack.calibration)).hexdigest(),
        sha256="",
        shipped=outcome.shipped,
        tuned=outcome.tried[outcome.chosen],
    )
    folder = StatePaths(job.settings).pack
    saved = save_tuning(folder, outcome.tuning, manifest)
    return TuningReport(
        shipped=outcome.shipped,
        tried=outcome.tried,
        kept=outcome.chosen,
        version=saved.version,
        path=str(tuning_directory(folder, job.tenant)),
    )


def _find_classes(pack: Pack, units: UnitReader, paths: StatePaths, progress: ProgressReporter) -> list[set[str]]:
    """For each calibration question its classes: the intent that a site would find, that one's workload, and those of
    high risk that its words are of."""
    risks = [set(find_risks(question.text, question.language)) for question in pack.calibration]
    if not pack.intents:
        return [{WITHOUT_INTENT, *own} for own in risks]
    progress.start("intents", len(pack.calibration))
    paths.home.mkdir(parents=True, exist_ok=True)
    head = prepare_intents(pack, units.embedder, paths.intent_head)
    found = []
    for question, own in zip(pack.calibration, risks, strict=True):
        intent = head.predict(units.embedder.embed(question.text)).intent
        found.append({intent, head.workloads[intent], *own})
        progress.step()
    return found


def _open_domain(
    job: CalibrationJob, name: str, units: UnitReader, progress: ProgressReporter
) -> tuple[HybridIndex, Effort]:
    """The index of the site or the hub, brought to the pack's documents, and how much is read there."""
    path = StatePaths(replace(job.settings, site=name)).index(job.tenant)
    domain: Domain = "hub" if name == HUB else "site"
    progress.start(f"{name}: documents", len(job.pack.documents))
    index = packing.prepare_index(job.pack, domain, units.embedder, path, lambda _done, _total: progress.step())
    return index, AT_HUB if name == HUB else AT_SITE


def _calibrate_domain(
    job: CalibrationJob, name: str, units: UnitReader, classes: Sequence[set[str]], progress: ProgressReporter
) -> DomainRisk:
    index, effort = _open_domain(job, name, units, progress)
    paths = StatePaths(replace(job.settings, site=name))
    progress.start(f"{name}: calibration", 1)
    path = paths.tuned_calibration(job.tenant) if units.tuning else paths.calibration
    fitted = calibrate(job.pack, index, units, path, effort)
    progress.step()
    domain: Domain = "hub" if name == HUB else "site"
    if job.is_kept:
        keep_confidence(paths.pack, job.tenant, domain, fitted.calibration)
    groups = group_answers(job.pack, domain, classes, fitted.answers)
    strict = {f"{_CLASS} {name}": job.risk * STRICTER for name in RISK_CLASSES}
    rows = control_risk(fitted.answers, groups, job.risk, strict)
    return DomainRisk(domain=name, fit=fitted.calibration.fit, rows=tuple(rows))


def group_answers(
    pack: Pack, domain: Domain, classes: Sequence[set[str]], answers: Sequence[JudgedAnswer]
) -> Mapping[str, list[JudgedAnswer]]:
    """The answers by class, by kind and by language of their questions.

    A kind is what the domain can do: `answerable`, `other language` where all that answers is in another one,
    `elsewhere` where only documents answer that are not held here, `unanswerable`.
    """
    scopes = {document.id: document.scope for document in pack.documents}
    languages = {document.id: document.language for document in pack.documents}
    groups: dict[str, list[JudgedAnswer]] = {}
    for question, own, answer in zip(pack.calibration, classes, answers, strict=True):
        here = [each for each in question.documents if each in scopes and is_held(scopes[each], domain)]
        if here:
            is_foreign = all(languages[each] != question.language for each in here)
            kind = "other language" if is_foreign else "answerable"
        else:
            kind = "elsewhere" if question.documents else "unanswerable"
        names = [*(f"{_CLASS} {each}" for each in own), f"{_KIND} {kind}", f"{_LANGUAGE} {question.language}"]
        for name in names:
            groups.setdefault(name, []).append(answer)
    order = (_CLASS, _KIND, _LANGUAGE)
    return dict(sorted(groups.items(), key=lambda group: (order.index(group[0].split()[0]), -len(group[1]))))


def _choose_thresholds(domains: Sequence[DomainRisk]) -> tuple[float, dict[str, float], tuple[str, ...]]:
    """For all questions, for each class of high risk, and for each that has questions enough, one threshold that serves
    both ends, because a policy does not know who answered: the higher one. And the classes that have too few."""
    highest: dict[str, float] = {}
    without: set[str] = set()
    for row in (row for domain in domains for row in domain.rows if row.group.split()[0] in ("all", _CLASS)):
        name = row.group.removeprefix(f"{_CLASS} ")
        if row.threshold is None or (row.from_group and name not in RISK_CLASSES):
            without.add(name)
        else:
            highest[name] = max(row.threshold, highest.get(name, 0.0))
    return highest.pop("all"), highest, tuple(sorted(without))
