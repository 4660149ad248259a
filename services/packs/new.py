"""Makes a pack of a folder of documents: writes what is missing, from defaults that are shipped.

Promises that no file that exists is touched, and that what is written passes `check_pack`. Next: load.py, defaults/.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path

import msgspec

from tidegate.schemas import TidegateError
from tidegate.schemas.pack import Document
from tidegate.services.languages.detection import detect_foreign_language
from tidegate.services.languages.words import LANGUAGES
from tidegate.services.packs.documents import FOLDER, find_documents, read_documents
from tidegate.services.packs.findings import PackFault, PackFindings
from tidegate.services.packs.load import PackReport, check_pack, list_files


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
    for file in list_files(folder):
        if not file.absolute().is_relative_to(path.absolute()):
            link = path / FOLDER / file.relative_to(folder)
            link.parent.mkdir(parents=True, exist_ok=True)
            link.symlink_to(file.absolute())
    findings = PackFindings(path)
    files = find_documents(path, list_files(path))
    if not list(read_documents(files, LANGUAGES, findings, on_file, on_page)):
        reasons = "; ".join(map(str, (*findings.faults, *findings.warnings)))
        raise NoDocumentsError(f"nothing in {folder} can be read{': ' if reasons else ''}{reasons}")
    for fault in findings.faults:
        (path / fault.file).unlink(missing_ok=True)
    notes = (*findings.faults, *complete_pack(path).report.warnings)
    return tuple(
        msgspec.structs.replace(note, file=note.file.removeprefix(f"{FOLDER}/"))
        for note in notes
        if note.file.startswith(f"{FOLDER}/")
    )


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
    if not any((path / "policies").glob("*.y*ml")):
        write("policies/default.yaml", _default("policy.yaml"))
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
