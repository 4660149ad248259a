"""Reads a document as people have it: Markdown, with or without front matter, or what services/knowledge/ingest reads.

Promises a default for what the front matter leaves out, and that nothing is misread in silence. Next: load.py.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from tidegate.schemas.answer import CharacterSpan
from tidegate.schemas.pack import CollectionRules, Document, version_of_document
from tidegate.services.knowledge.index.markdown import find_first_heading
from tidegate.services.knowledge.ingest import read as ingest
from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.markdown_unseen import without_unseen_markup
from tidegate.services.knowledge.ingest.reader import DocumentReader
from tidegate.services.knowledge.ingest.unseen import without_unseen
from tidegate.services.languages.detection import detect_language
from tidegate.services.packs.collections import find_declared
from tidegate.services.packs.findings import PackFindings, parse_yaml, read_text
from tidegate.services.packs.folder import list_passed_over

MARKDOWN = (".md", ".markdown")
INGESTED = ingest.SUFFIXES
SUFFIXES = (*MARKDOWN, *INGESTED)
FOLDER = "documents"
UNREAD = "this file is not read"
"""Begins the warning about a file that is left out."""
KEYS = ("id", "title", "language", "scope", "valid_from", "valid_until", "public_contact")
_MOST_ID = 64
_HINT = (
    "an id is a-z, 0-9, - and _; a language two letters; a scope shared, site or hub; a day 2026-12-31; "
    "public_contact true or false"
)


class _RawDocument(NamedTuple):
    """A document before its defaults; `name` is its file, from the pack's folder."""

    name: str
    fields: dict[str, Any]
    body: str
    title: str = ""
    page_starts: tuple[int, ...] = ()
    recognised: tuple[CharacterSpan, ...] = ()


def find_documents(path: Path, files: Sequence[Path]) -> list[Path]:
    """Those of a pack's files that are documents: those below `documents` that can be, or all where there is no such
    folder."""
    root = path / FOLDER if (path / FOLDER).is_dir() else path
    return [file for file in files if file.is_relative_to(root) and file.suffix.lower() in SUFFIXES]


def read_documents(
    files: Sequence[Path],
    languages: Sequence[str],
    findings: PackFindings,
    on_file: Callable[[str], None] = lambda _name: None,
    on_page: Callable[[str], None] = lambda _detail: None,
    collections: Sequence[CollectionRules] = (),
) -> Iterator[Document]:
    """The documents in `files`, each with an id of its own; what is wrong with the others is in `findings`.

    Markdown that is wrong is a fault, which its author can mend; any other file that cannot be read is a warning.
    `on_file` is called with the name of each file when it was read, `on_page` with each page that is to be recognised.
    What lies in the folder of one of the `collections` is in that.
    """
    raws: list[tuple[Path, _RawDocument | None]] = []
    with DocumentReader(on_page=on_page) as reader:
        for file in files:
            is_markdown = file.suffix.lower() in MARKDOWN
            raws.append((file, _read(file, findings) if is_markdown else _ingest(file, reader, findings)))
            on_file(file.name)
    unnamed = [file for file, raw in raws if raw and "id" not in raw.fields]
    levels = [Counter(column) for column in zip(*(_slugs(file, findings) for file in unnamed), strict=True)]
    for file, raw in raws:
        *_, longest = slugs = _slugs(file, findings)
        slug = next((slug for slug, taken in zip(slugs, levels, strict=False) if taken[slug] == 1), longest)
        document = raw and _document(raw, slug, languages, findings)
        document = raw and document and _assign(document, raw, collections, findings)
        if raw is None or document is None:
            findings.documents_unread += 1
            continue
        if document.id in findings.file_of_document:
            other = findings.file_of_document[document.id]
            hint = "give each document its own id in its front matter"
            findings.fault(raw.name, f"the id {document.id} is taken by {other}", hint, line=2)
            continue
        findings.file_of_document[document.id] = raw.name
        yield document


def name_passed_over(folder: Path, findings: PackFindings) -> None:
    """A warning for whatever lies in a folder and is no file to read."""
    for other in list_passed_over(folder):
        findings.warn(findings.name_of(other.path), f"{UNREAD}: it {other.reason}", other.hint)


def make_slug(name: str) -> str:
    """A document's id from its file's name: a-z, 0-9 and dashes, equal for names that differ in case or in how their
    letters are composed."""
    plain = unicodedata.normalize("NFKD", name.casefold())
    made = re.sub(r"[^a-z0-9_]+", "-", "".join(c for c in plain if not unicodedata.combining(c))).strip("-_")[:_MOST_ID]
    return made or f"document-{hashlib.sha256(os.fsencode(plain)).hexdigest()[:12]}"


def _slugs(file: Path, findings: PackFindings) -> tuple[str, ...]:
    """The ids that a file may have by its name, the best first: without its folder, with it, with its suffix too; and
    one of its own where its author can give none, or its name is longer than an id."""
    name = findings.name_of(file).removeprefix(f"{FOLDER}/")
    slugs = make_slug(file.stem), make_slug(name.removesuffix(file.suffix)), make_slug(name)
    own = slugs[-1]
    if len(own) == _MOST_ID or file.suffix.lower() not in MARKDOWN:
        digest = hashlib.sha256(os.fsencode(file.relative_to(findings.path))).hexdigest()[:12]
        own = f"{own[: _MOST_ID - 13]}-{digest}"
    return (*slugs, own)


def _ingest(file: Path, reader: DocumentReader, findings: PackFindings) -> _RawDocument | None:
    name = findings.name_of(file)
    try:
        found = reader.read(file)
    except FileUnreadError as error:
        findings.warn(name, f"{UNREAD}: {error.reason}", error.hint)
        return None
    for note in found.notes:
        findings.warn(name, note.reason, note.hint)
    fields = {"date": found.date} if found.date else {}
    return _RawDocument(name, fields, found.text, found.title, found.page_starts, found.recognised)


def _read(file: Path, findings: PackFindings) -> _RawDocument | None:
    name, text = findings.name_of(file), read_text(file, findings)
    if text is None:
        return None
    text = without_unseen_markup(without_unseen(text.replace("\r\n", "\n").replace("\r", "\n")))
    if text.startswith("+++\n"):
        findings.fault(name, "the front matter is TOML", "write it as YAML, between two lines ---", line=1)
        return None
    if not text.startswith("---\n"):
        return _RawDocument(name, {}, text.strip("\n"))
    front, dashes, body = f"{text[3:]}\n".partition("\n---\n")
    if not dashes:
        hint = "end it with a line ---, or begin the text with something else than ---"
        findings.fault(name, "the front matter does not end", hint, line=1)
        return None
    fields = parse_yaml(name, front, findings)
    if fields is None and not findings.has_faults(name):
        fields = {}  # nothing but white space and comments
    if not isinstance(fields, dict):
        if fields is not None:
            findings.fault(name, f"the front matter is {type(fields).__name__}", "key: value, one a line", line=1)
        return None
    given = {"language" if key == "lang" else key: value for key, value in fields.items() if value is not None}
    return _RawDocument(name, given, body.strip("\n"))


def _document(raw: _RawDocument, default_id: str, languages: Sequence[str], findings: PackFindings) -> Document | None:
    for key in map(str, raw.fields.keys() - set(KEYS)):
        if difflib.get_close_matches(key.casefold(), KEYS, cutoff=0.75):
            findings.fault(raw.name, f"the front matter has {key}", f"the keys are {', '.join(KEYS)}", line=1)
            return None
    body = raw.body
    if not body.strip():
        findings.fault(raw.name, "the document is empty", "write its text below the front matter", line=1)
    title = str(raw.fields.get("title", find_first_heading(body) or raw.title or _title_from(raw.name)))
    language = str(raw.fields.get("language", "")).lower().partition("-")[0]
    days = (str(raw.fields.get("valid_from", "")), str(raw.fields.get("valid_until", "")))
    try:
        for day in filter(None, days):
            date.fromisoformat(day)
        is_public = msgspec.convert(raw.fields.get("public_contact", False), bool)
        return msgspec.convert(
            {
                "id": raw.fields.get("id", default_id),
                "title": title,
                "language": language or detect_language(f"{title}\n{body}", languages),
                "scope": raw.fields.get("scope", "shared"),
                "text": body,
                "version": version_of_document(body, *days, raw.recognised, is_public_contact=is_public),
                "valid_from": days[0],
                "valid_until": days[1],
                "page_starts": raw.page_starts,
                "recognised": raw.recognised,
                "date": str(raw.fields.get("date", "")),
                "is_public_contact": is_public,
            },
            Document,
        )
    except (msgspec.ValidationError, ValueError) as error:
        findings.fault(raw.name, str(error), _HINT, line=1)
        return None


def _assign(
    document: Document, raw: _RawDocument, collections: Sequence[CollectionRules], findings: PackFindings
) -> Document | None:
    """The document in the collection of its folder, if that is declared: its scope is what the owner says."""
    declared = find_declared(raw.name.removeprefix(f"{FOLDER}/"), collections)
    if declared is None:
        return document
    if raw.fields.get("scope", declared.owner) != declared.owner:
        reason = f"the scope is {document.scope}, and the collection {declared.name} is of owner {declared.owner}"
        findings.fault(raw.name, reason, "leave the scope out, or move the file", line=1)
        return None
    placed = msgspec.structs.replace(document, scope=declared.owner, collection=declared.name)
    if not declared.public_contact or placed.is_public_contact:
        return placed
    days = (placed.valid_from, placed.valid_until)
    version = version_of_document(placed.text, *days, placed.recognised, is_public_contact=True)
    return msgspec.structs.replace(placed, version=version, is_public_contact=True)


def _title_from(name: str) -> str:
    words = re.sub(r"[-_\s]+", " ", Path(name).stem).strip() or Path(name).stem
    return words[:1].upper() + words[1:]
