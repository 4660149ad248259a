"""Reads a pack, a folder that somebody brings, and says everything that is wrong with it.

Promises that every file of the folder is read, or named as one that is not. Next: documents.py, validate.py.
"""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from tidegate.brokers.process.config import SettingsError
from tidegate.brokers.process.config import load as load_settings
from tidegate.schemas.pack import (
    CalibrationQuestion,
    CollectionRules,
    Intent,
    LabelledQuestion,
    Pack,
    PackReply,
    Synonyms,
)
from tidegate.services.knowledge.ingest.read import MOST_BYTES, hint_for
from tidegate.services.knowledge.reader.tuning import FOLDER as ARTEFACTS
from tidegate.services.knowledge.reader.tuning import find_tuning, tuned_tenants, tuning_directory
from tidegate.services.packs.collections import FILE as COLLECTIONS
from tidegate.services.packs.collections import check_collections
from tidegate.services.packs.documents import FOLDER, UNREAD, find_documents, name_passed_over, read_documents
from tidegate.services.packs.findings import PackError, PackFault, PackFindings, parse_yaml, read_text
from tidegate.services.packs.folder import list_files
from tidegate.services.packs.policy_folder import FOLDER as POLICIES
from tidegate.services.packs.policy_folder import check_policy_tests
from tidegate.services.packs.prompts import FOLDER as PROMPTS
from tidegate.services.packs.prompts import SUFFIX as PROMPT
from tidegate.services.packs.prompts import read_prompts
from tidegate.services.packs.validate import PackRules
from tidegate.services.policies.files import list_policies, list_tests
from tidegate.services.privacy.dlp.tenant_patterns import TenantPatternError, TenantPatterns
from tidegate.services.settings import Settings

LISTS: dict[str, Any] = {
    "intents.yaml": Intent,
    "questions.yaml": LabelledQuestion,
}
CALIBRATION = "calibration.yaml"
THESAURUS = "thesaurus.yaml"
REPLIES = "replies.yaml"
OPTIONAL: dict[str, Any] = {
    CALIBRATION: CalibrationQuestion,
    THESAURUS: Synonyms,
    REPLIES: PackReply,
    COLLECTIONS: CollectionRules,
}
"""The lists that a pack may do without."""


class PackReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found. The pack can be used if `faults` is empty; a warning tells where it will answer badly."""

    path: str
    version: str
    faults: tuple[PackFault, ...]
    warnings: tuple[PackFault, ...]
    counts: dict[str, int]

    def __str__(self) -> str:
        notes = [
            f"{word}: {note}" for word, notes in (("fault", self.faults), ("warning", self.warnings)) for note in notes
        ]
        counted = ", ".join(f"{count} {name}" for name, count in self.counts.items() if "." not in name)
        return "\n".join((*notes, f"{self.path}: {counted}; {len(self.faults)} faults, {len(self.warnings)} warnings"))


def load_pack(path: Path) -> Pack:
    """The pack in the folder `path`. Raises `PackError` with every fault: file, line where known, reason and hint."""
    pack, findings = _read(path)
    findings.raise_faults(path)
    return pack


def identify_pack(path: Path) -> tuple[str, str]:
    """The pack's name and version, without a look into its files. Raises `PackError` if there is no such folder."""
    _check_folder(path)
    return path.resolve().name, _version(path, _own_files(path))


def load_questions(path: Path) -> tuple[LabelledQuestion, ...]:
    """The pack's questions alone, without a look at anything else in it. Raises `PackError`."""
    findings = PackFindings(path)
    questions = tuple(read_list("questions.yaml", LabelledQuestion, findings))
    findings.raise_faults(path)
    return questions


def load_replies(path: Path) -> tuple[PackReply, ...]:
    """The pack's own replies, without a look at anything else in it. Raises `PackError`."""
    findings = PackFindings(path)
    replies = tuple(read_optional(REPLIES, findings))
    findings.raise_faults(path)
    return replies


def check_pack(path: Path) -> PackReport:
    """Faults, warnings and counts of the pack in the folder `path`; never raises for what lies in the folder.

    Raises `PackError` if there is no such folder.
    """
    pack, findings = _read(path)
    counts = {
        "documents": len(pack.documents),
        "intents": len(pack.intents),
        "utterances": sum(len(intent.utterances) for intent in pack.intents),
        "questions": len(pack.questions),
        "calibration": len(pack.calibration),
        "policies": len(pack.policy_files),
    }
    kinds = [
        *(f"documents.{document.scope}" for document in pack.documents),
        *(f"documents.{document.language}" for document in pack.documents),
        *(f"questions.{question.kind}" for question in pack.questions),
    ]
    return PackReport(
        path=str(path),
        version=pack.version,
        faults=tuple(findings.faults),
        warnings=tuple(findings.warnings),
        counts={**counts, **Counter(kinds)},
    )


def read_site_settings(findings: PackFindings) -> Settings:
    """The settings of the pack's site; the defaults where it has none, or none that can be read."""
    file = findings.path / "site.toml"
    if not file.is_file():
        return Settings()
    try:
        settings = load_settings(Settings, file, {}).settings
        TenantPatterns(settings.prefilter.patterns)
    except TenantPatternError as error:
        findings.fault("site.toml", f"prefilter.patterns: {error}", error.hint)
        return settings
    except SettingsError as error:
        for fault in error.faults:
            reason = f"{fault.key}: {fault.reason}" if fault.key else fault.reason
            findings.fault("site.toml", reason, fault.hint or "`tidegate config reference` prints the keys")
        return Settings()
    return settings


def _own_files(path: Path) -> list[Path]:
    """All but what was made of the pack for its tenants, which has versions of its own."""
    return [file for file in list_files(path) if file.relative_to(path).parts[0] != ARTEFACTS]


def _read(path: Path) -> tuple[Pack, PackFindings]:
    _check_folder(path)
    findings = PackFindings(path)
    files = _own_files(path)
    prefilter = read_site_settings(findings).prefilter
    languages = prefilter.languages
    documents = find_documents(path, files)
    lists = {name: tuple(read_list(name, kind, findings)) for name, kind in LISTS.items()}
    collections = tuple(read_optional(COLLECTIONS, findings))
    beside = [file for file in files if file.parent == path / POLICIES]
    policies = list_policies(beside)
    pack = Pack(
        name=path.resolve().name,
        version=_version(path, files),
        path=str(path),
        documents=tuple(read_documents(documents, languages, findings, collections=collections)),
        intents=lists["intents.yaml"],
        questions=lists["questions.yaml"],
        calibration=tuple(read_optional(CALIBRATION, findings)),
        thesaurus=tuple(read_optional(THESAURUS, findings)),
        replies=tuple(read_optional(REPLIES, findings)),
        policy_files=tuple(map(str, policies)),
        collections=collections,
    )
    PackRules(pack, languages, findings).apply()
    check_policy_tests(beside, prefilter.phone_regions, findings)
    check_collections(pack, findings)
    read_prompts(path, findings)
    _check_artefacts(path, findings)
    prompts = (path / PROMPTS).glob(f"*{PROMPT}")
    _name_unread(path, {*files} - {*documents, *policies, *list_tests(beside), *prompts}, findings)
    return pack, findings


def _check_folder(path: Path) -> None:
    if not path.is_dir():
        fault = PackFault(file=str(path), reason="there is no such folder", hint="`tidegate pack new` makes one")
        raise PackError(path, (fault,))


def _check_artefacts(path: Path, findings: PackFindings) -> None:
    """A warning for each tenant's reader that would not be used; where the models are not built, that is not known."""
    tenants = tuned_tenants(path)
    if not tenants:
        return
    from tidegate.services.knowledge.reader.unit_reader import read_version  # brings the runtime of the models along

    settings = read_site_settings(PackFindings(path))
    base = read_version(Path(settings.models_dir))
    for tenant in tenants:
        name = tuning_directory(path, tenant).relative_to(path).as_posix()
        ignored = find_tuning(path, tenant, base).ignored if base else ""
        hint = f"`tidegate pack calibrate {path} --tenant {tenant} --train` makes it anew"
        if tenant not in settings.tenants:
            ignored, hint = (
                f"{tenant} is no tenant of this pack's settings",
                "remove the folder, or name the tenant there",
            )
        if ignored:
            findings.warn(name, f"it is not used: {ignored}", hint)


def _name_unread(path: Path, others: Iterable[Path], findings: PackFindings) -> None:
    """A warning for each file that nobody reads, and for whatever else lies there: links that lead to no file, …"""
    names = ("site.toml", *OPTIONAL, *LISTS)
    for file in sorted({*others} - {path / name for name in names}):
        hint = hint_for(file.suffix)
        if (path / FOLDER).is_dir() and file.relative_to(path).parts[0] != FOLDER:
            hint = f"documents lie in {FOLDER}, policies in policies; beside them are {', '.join(names)}"
        findings.warn(findings.name_of(file), UNREAD, hint)
    name_passed_over(path, findings)


def _version(path: Path, files: list[Path]) -> str:
    """A digest of the files: of their names and contents; of one that is larger than what is read, the size."""
    digest = hashlib.sha256()
    for file in files:
        try:
            size = file.stat().st_size
            digest.update(os.fsencode(file.relative_to(path).as_posix()) + f"\0{size}\0".encode())
            if size <= MOST_BYTES:
                digest.update(file.read_bytes())
        except OSError as error:
            digest.update(f"{error.errno}\0".encode())
    return digest.hexdigest()[:12]


def read_optional(name: str, findings: PackFindings) -> Iterable[Any]:
    """The items of a list that a pack may do without, as `read_list` reads them."""
    return read_list(name, OPTIONAL[name], findings) if (findings.path / name).is_file() else ()


def read_list(name: str, kind: Any, findings: PackFindings) -> Iterable[Any]:
    """The items of a list of a pack that can be read; the others, and a file that is not there, are faults."""
    file = findings.path / name
    if not file.is_file():
        findings.fault(name, "the file is missing", "`tidegate pack new` writes one that you can start from")
        return
    text = read_text(file, findings)
    raw = None if text is None else parse_yaml(name, text, findings)
    if raw is None:
        return
    if not isinstance(raw, list):
        findings.fault(name, f"expected a list, got {type(raw).__name__}", "start each item with a dash", line=1)
        return
    for position, item in enumerate(raw):
        try:
            value = msgspec.convert(item, kind)
        except msgspec.ValidationError as error:
            hint = f"the fields are {', '.join(kind.__struct_fields__)}; put numbers and dates in quotes"
            findings.fault(name, str(error), hint, line=findings.line_of(name, position))
            continue
        findings.position_of_item[id(value)] = (name, position)
        yield value
