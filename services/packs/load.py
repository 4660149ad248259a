"""Reads a pack, a folder that somebody brings, and says everything that is wrong with it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tidegate.brokers.process.config import BadSettings
from tidegate.brokers.process.config import load as load_settings
from tidegate.schemas.pack import Calibration, Document, Intent, LabelledQuestion, Pack, Synonyms
from tidegate.services.packs.validate import Fault, Found, Rulebook, states
from tidegate.services.settings import Settings

__all__ = ["BadPack", "Fault", "Report", "check_pack", "judge", "load_pack", "read_document"]

LISTS: dict[str, Any] = {"intents.yaml": Intent, "questions.yaml": LabelledQuestion, "calibration.yaml": Calibration}
THESAURUS = "thesaurus.yaml"
"""The one list that a pack may do without."""


class BadPack(ValueError):
    """The pack cannot be used; `faults` holds all that is wrong with it, not only the first."""

    def __init__(self, path: Path, faults: tuple[Fault, ...]) -> None:
        super().__init__("\n".join((f"{path}: {len(faults)} fault(s)", *map(str, faults))))
        self.faults = faults


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found. The pack can be used if `faults` is empty; a warning says where it will answer badly."""

    path: str
    version: str
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]
    counts: dict[str, int]

    def __str__(self) -> str:
        notes = [
            f"{word}: {note}" for word, notes in (("fault", self.faults), ("warning", self.warnings)) for note in notes
        ]
        counted = ", ".join(f"{count} {name}" for name, count in self.counts.items() if "." not in name)
        return "\n".join((*notes, f"{self.path}: {counted}; {len(self.faults)} faults, {len(self.warnings)} warnings"))


def load_pack(path: Path) -> Pack:
    """The pack in the folder `path`. Raises `BadPack` with every fault: file, line where known, reason and hint."""
    pack, found = _read(path)
    if found.faults:
        raise BadPack(path, tuple(found.faults))
    return pack


def load_questions(path: Path) -> tuple[LabelledQuestion, ...]:
    """The pack's questions alone, without a look at anything else in it. Raises `BadPack`."""
    found = Found()
    questions = tuple(_read_list(path, "questions.yaml", LabelledQuestion, found))
    if found.faults:
        raise BadPack(path, tuple(found.faults))
    return questions


def check_pack(path: Path) -> Report:
    """Faults, warnings and counts of the pack in the folder `path`; never raises for what lies in the folder.

    Raises `BadPack` if there is no such folder.
    """
    pack, found = _read(path)
    counts = {
        "documents": len(pack.documents),
        "intents": len(pack.intents),
        "utterances": sum(len(intent.utterances) for intent in pack.intents),
        "questions": len(pack.questions),
        "calibration": len(pack.calibration),
        "policies": len(pack.policy_files),
    }
    for kind, items, word in (
        ("documents", pack.documents, "scope"),
        ("documents", pack.documents, "language"),
        ("questions", pack.questions, "kind"),
    ):
        for item in items:
            key = f"{kind}.{getattr(item, word)}"
            counts[key] = counts.get(key, 0) + 1
    return Report(
        path=str(path),
        version=pack.version,
        faults=tuple(found.faults),
        warnings=tuple(found.warnings),
        counts=counts,
    )


def judge(question: LabelledQuestion, outcome: str, text: str, cited_documents: Iterable[str]) -> bool:
    """The one rule of what is correct: whether an answer (or its absence) is right for `question`.

    `outcome` is that of `Published`; `cited_documents` are the ids of the documents that `text` cites.
    """
    if question.kind == "out_of_scope":
        return outcome == "abstained"
    if question.kind in ("unsafe", "unsupported_language"):
        return outcome == "withheld"
    said = all(states(text, fact) for fact in question.facts)
    return outcome == "answered" and said and not set(question.documents).isdisjoint(cited_documents)


def read_document(file: Path) -> Document:
    """One document from a Markdown file with front matter. Raises `BadPack` with what is wrong with it."""
    found = Found()
    document = _read_document(file.parent, file, found)
    if document is None:
        raise BadPack(file, tuple(found.faults))
    return document


def _read(path: Path) -> tuple[Pack, Found]:
    found = Found()
    if not path.is_dir():
        raise BadPack(
            path,
            (Fault(file=str(path), reason="there is no such folder", hint="name the one that holds intents.yaml"),),
        )
    files = sorted(
        (file for file in path.rglob("*") if file.is_file() and not _is_hidden(file.relative_to(path))),
        key=lambda file: file.relative_to(path).as_posix(),
    )
    settings = _read_site(path, found)
    documents = tuple(_read_documents(path, files, found))
    lists = {name: tuple(_read_list(path, name, kind, found)) for name, kind in LISTS.items()}
    policies = tuple(file for file in files if file.parent == path / "policies" and file.suffix in (".yaml", ".yml"))
    pack = Pack(
        name=path.resolve().name,
        version=_version(path, files),
        path=str(path),
        documents=documents,
        intents=lists["intents.yaml"],
        questions=lists["questions.yaml"],
        calibration=lists["calibration.yaml"],
        thesaurus=tuple(_read_list(path, THESAURUS, Synonyms, found)) if (path / THESAURUS).is_file() else (),
        policy_files=tuple(str(file) for file in policies),
    )
    rules = Rulebook(pack, settings.prefilter.languages, found)
    rules.apply()
    for file in policies:
        rules.policy(file.relative_to(path).as_posix(), _yaml(path, file, found))
    found.place_lines(path)
    return pack, found


def _is_hidden(relative: Path) -> bool:
    return any(part.startswith(".") for part in relative.parts)


def _version(path: Path, files: list[Path]) -> str:
    digest = hashlib.sha256()
    for file in files:
        data = file.read_bytes()
        digest.update(f"{file.relative_to(path).as_posix()}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()[:12]


def _read_site(path: Path, found: Found) -> Settings:
    file = path / "site.toml"
    if not file.is_file():
        return Settings()
    try:
        return load_settings(Settings, file, {}).settings
    except BadSettings as error:
        for fault in error.faults:
            reason = f"{fault.key}: {fault.reason}" if fault.key else fault.reason
            found.fault("site.toml", reason, fault.hint or "`tidegate config reference` prints the keys that there are")
    return Settings()


def _read_documents(path: Path, files: list[Path], found: Found) -> Iterable[Document]:
    for file in files:
        name = file.relative_to(path).as_posix()
        if not name.startswith("documents/") or file.suffix != ".md":
            continue
        document = _read_document(path, file, found)
        if document is None:
            found.documents_unread += 1
            continue
        found.place_of_document[document.id] = name
        yield document


def _read_document(path: Path, file: Path, found: Found) -> Document | None:
    name = file.relative_to(path).as_posix()
    text = _text(path, file, found)
    if text is None:
        return None
    opening, _, rest = text.replace("\r\n", "\n").partition("---\n")
    front, dashes, body = rest.partition("\n---\n")
    if opening or not dashes:
        hint = "start it with a line ---, then id, title, language, scope, one a line, then a line ---"
        found.fault(name, "the front matter is missing or does not end", hint, line=1)
        return None
    fields = _parse(name, front, found, first_line=2)
    return None if fields is None else _document(name, fields, body.strip("\n"), found)


def _document(name: str, fields: Any, body: str, found: Found) -> Document | None:
    known = {"id", "title", "language", "scope"}
    if not isinstance(fields, dict) or set(fields) != known:
        given = ", ".join(map(str, fields)) if isinstance(fields, dict) else type(fields).__name__
        hint = "exactly id, title, language and scope (site or hub)"
        found.fault(name, f"the front matter holds {given or 'nothing'}", hint, line=1)
        return None
    version = hashlib.sha256(body.encode()).hexdigest()[:12]
    try:
        document = msgspec.convert({**fields, "text": body, "version": version}, Document)
    except msgspec.ValidationError as error:
        found.fault(name, str(error), "an id is a-z, 0-9, - and _; a language two letters; a scope site or hub", line=1)
        return None
    if document.id in found.place_of_document:
        other = found.place_of_document[document.id]
        found.fault(name, f"the id {document.id} is taken by {other}", "give each document its own id", line=2)
        return None
    return document


def _read_list(path: Path, name: str, kind: Any, found: Found) -> Iterable[Any]:
    file = path / name
    if not file.is_file():
        found.fault(name, "the file is missing", "a pack has intents.yaml, questions.yaml and calibration.yaml")
        return
    raw = _yaml(path, file, found)
    if raw is None:
        return
    if not isinstance(raw, list):
        found.fault(name, f"expected a list, got {type(raw).__name__}", "start each item with a dash", line=1)
        return
    for position, item in enumerate(raw):
        try:
            value = msgspec.convert(item, kind)
        except msgspec.ValidationError as error:
            hint = f"the fields are {', '.join(kind.__struct_fields__)}; put numbers and dates in quotes"
            found.fault(name, str(error), hint, item=position)
            continue
        found.place_of_item[id(value)] = (name, position)
        yield value


def _yaml(path: Path, file: Path, found: Found) -> Any:
    text = _text(path, file, found)
    return None if text is None else _parse(file.relative_to(path).as_posix(), text, found)


def _text(path: Path, file: Path, found: Found) -> str | None:
    try:
        return file.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        found.fault(file.relative_to(path).as_posix(), str(error), "save the file as UTF-8")
        return None


def _parse(name: str, text: str, found: Found, first_line: int = 1) -> Any:
    """YAML 1.2, in which `no` is a word; a key given twice is a fault. None if it cannot be read."""
    try:
        return YAML(typ="safe", pure=True).load(text)
    except MarkedYAMLError as error:
        line = error.problem_mark.line + first_line if error.problem_mark else 0
        found.fault(name, error.problem or str(error), error.context or "see https://yaml.org for the form", line=line)
    except YAMLError as error:
        found.fault(name, str(error), "see https://yaml.org for the form")
    return None
