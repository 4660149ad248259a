"""Makes a pack of a folder of documents: writes what is missing, from defaults that are shipped.

Promises that no file that exists is touched, and that what is written passes `check_pack`. Next: load.py, defaults/.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path

import msgspec

from tidegate.schemas import TidegateError
from tidegate.schemas.pack import Document
from tidegate.services.languages.detection import detect_foreign_language
from tidegate.services.languages.words import LANGUAGES
from tidegate.services.packs.documents import FOLDER, UNREAD, find_documents, name_passed_over, read_documents
from tidegate.services.packs.findings import PackFault, PackFindings
from tidegate.services.packs.folder import list_files, make_readable
from tidegate.services.packs.load import PackReport, check_pack
from tidegate.services.policies.files import list_policies

_MOST_NAME = 240
"""Bytes of a link's name; file systems take 255, some of them less."""
_MOST_SUFFIX = 16
_MOST_NOTES = 8
"""Reasons that an error lists."""


class NewPack(msgspec.Struct, frozen=True, kw_only=True):
    """What was written, as paths from the pack's folder, and what a check finds in the pack now."""

    path: str
    written: tuple[str, ...]
    report: PackReport

    def __str__(self) -> str:
        lines = [f"wrote {name}" for name in self.written] or [f"{self.path}: nothing was missing"]
        return "\n".join((*lines, str(self.report)))


class NoDocumentsError(TidegateError, ValueError):
    """A folder holds nothing that can be answered from."""

    hint = "give a folder with PDF, Word, Excel, HTML, CSV, Markdown or text files"


def pack_of_documents(
    folder: Path,
    path: Path,
    on_file: Callable[[str], None] = lambda _name: None,
    on_page: Callable[[str], None] = lambda _detail: None,
) -> tuple[PackFault, ...]:
    """Make `path` anew, a pack whose documents are links to the files in `folder`, which is not touched.

    Returns what is to be known about the files that are not read: Markdown that is wrong is left out too. Raises
    `NoDocumentsError`.
    """
    if path.exists():
        shutil.rmtree(path)
    findings = PackFindings(path)
    _link_files(folder, path, findings)
    unlinked = [*findings.warnings]
    linked = list_files(path)
    documents = list(read_documents(find_documents(path, linked), LANGUAGES, findings, on_file, on_page))
    if all(findings.has_faults(findings.file_of_document[document.id]) for document in documents):
        raise NoDocumentsError(_why_nothing(folder, linked, _name_as_given(findings.faults + findings.warnings)))
    for fault in findings.faults:
        (path / fault.file).unlink(missing_ok=True)
    return _name_as_given([*findings.faults, *unlinked, *complete_pack(path).report.warnings])


def _link_files(folder: Path, path: Path, findings: PackFindings) -> None:
    """Make a link to each file of a folder; a warning about whatever else lies there, and what cannot be linked."""
    for file in list_files(folder):
        if file.absolute().is_relative_to(path.absolute()):
            continue
        relative = file.relative_to(folder)
        link = path / FOLDER / _name_link(relative)
        if os.path.lexists(link):  # two names that differ in bytes which are no letters, or in their middle
            digest = hashlib.sha256(os.fsencode(relative)).hexdigest()[:8]
            link = link.with_name(_shorten(f"{digest}-{link.name}"))
        try:
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.absolute())
        except OSError as error:  # as where the path is longer than the file system takes
            findings.warn(
                findings.name_of(link), f"{UNREAD}: {error.strerror}", "move it up, or give it a shorter name"
            )
    others = PackFindings(folder)
    name_passed_over(folder, others)
    for other in others.warnings:
        if not (folder / other.file).absolute().is_relative_to(path.absolute()):
            findings.warn(f"{FOLDER}/{other.file}", other.reason, other.hint)


def _name_link(relative: Path) -> Path:
    """Where a file's link lies: under its own name, which can be printed, and is short enough for a file system."""
    return Path(*(_shorten(make_readable(part)) for part in relative.parts))


def _shorten(name: str) -> str:
    if len(name.encode()) <= _MOST_NAME:
        return name
    suffix = Path(name).suffix[:_MOST_SUFFIX]
    room = _MOST_NAME - len(suffix.encode())
    return name.encode()[:room].decode("utf-8", "ignore") + suffix


def _name_as_given(notes: Iterable[PackFault]) -> tuple[PackFault, ...]:
    """Those on documents, each by its name in the folder that was given."""
    return tuple(
        msgspec.structs.replace(note, file=note.file.removeprefix(f"{FOLDER}/"))
        for note in notes
        if note.file.startswith(f"{FOLDER}/")
    )


def _why_nothing(folder: Path, files: Sequence[Path], notes: Sequence[PackFault]) -> str:
    if notes:
        more = f"; and {len(notes) - _MOST_NOTES} more" if len(notes) > _MOST_NOTES else ""
        return f"nothing in {folder} can be read: {'; '.join(map(str, notes[:_MOST_NOTES]))}{more}"
    kinds = sorted({file.suffix.lower() or "without a suffix" for file in files})
    found = f"its files are of the kinds {', '.join(kinds)}" if kinds else "it holds no file"
    return f"nothing in {folder} can be read: {found}"


def complete_pack(path: Path) -> NewPack:
    """Write what the folder `path` lacks to be a pack; make it, with a document to start from, where there is none.

    Raises `OSError` where it cannot be written to.
    """
    path.mkdir(parents=True, exist_ok=True)
    written: list[str] = []

    def write(name: str, text: str) -> None:
        if not (path / name).exists():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_text(text, encoding="utf-8")
            written.append(name)

    if not find_documents(path, list_files(path)):
        write(f"{FOLDER}/example.md", _default("example.md"))
    write("site.toml", _site_of(_documents(path, LANGUAGES)))
    if not list_policies((path / "policies").glob("*")):
        write("policies/default.yaml", _default("policy.yaml"))
        write("policies/default_test.yaml", _default("policy_test.yaml"))
    for name in ("intents.yaml", "questions.yaml"):
        write(name, _default(name))
    return NewPack(path=str(path), written=tuple(written), report=check_pack(path))


def _documents(path: Path, languages: Sequence[str]) -> list[Document]:
    return list(read_documents(find_documents(path, list_files(path)), languages, PackFindings(path)))


def _site_of(documents: Iterable[Document]) -> str:
    languages = dict.fromkeys(LANGUAGES)
    for document in documents:
        foreign = detect_foreign_language(document.text, LANGUAGES)
        languages.update(dict.fromkeys(filter(None, (document.language, foreign))))
    listed = ", ".join(f'"{language}"' for language in languages)
    return f"# `tidegate config reference` prints all keys.\n\n[prefilter]\nlanguages = [{listed}]\n"


def _default(name: str) -> str:
    return (files("tidegate.services.packs") / "defaults" / name).read_text("utf-8")
