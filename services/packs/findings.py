"""Reads the text and the YAML of a pack's files, and collects what is found: faults, warnings, where each thing lies.

Promises that a file that cannot be read is a fault, never an exception. Next: load.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from tidegate.brokers.process.yaml_text import YamlError, compose_yaml, load_yaml
from tidegate.schemas import TidegateError
from tidegate.services.knowledge.ingest.read import MOST_BYTES, MOST_CHARACTERS
from tidegate.services.packs.folder import make_readable


class PackFault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong, and what to do about it. `line` counts from 1; 0 where it is not known."""

    file: str
    reason: str
    hint: str
    line: int = 0

    def __str__(self) -> str:
        position = f"{self.file}:{self.line}" if self.line else self.file
        return f"{position}: {self.reason} ({self.hint})"


class PackError(TidegateError, ValueError):
    """The pack cannot be used; `faults` holds all that is wrong with it, not only the first."""

    hint = "mend what is listed; `tidegate pack check` lists it again, `tidegate pack new` writes what is missing"

    def __init__(self, path: Path, faults: tuple[PackFault, ...]) -> None:
        super().__init__("\n".join((f"{path}: {len(faults)} fault(s)", *map(str, faults))))
        self.faults = faults


class PackFindings:
    """Faults and warnings of the pack in `path` as they come up, and where each document and each list item lies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.faults: list[PackFault] = []
        self.warnings: list[PackFault] = []
        self.file_of_document: dict[str, str] = {}
        self.position_of_item: dict[int, tuple[str, int]] = {}
        self.documents_unread = 0
        """While there are any, that a document is unknown is not held against who cites it."""
        self._lines: dict[str, list[int]] = {}

    def name_of(self, file: Path) -> str:
        """What a file is called in findings: as it lies in the pack's folder, in letters that can be printed."""
        inside = file.relative_to(self.path) if file.is_relative_to(self.path) else file
        return make_readable(inside.as_posix())

    def fault(self, file: str, reason: str, hint: str, *, line: int = 0) -> None:
        """Note a fault of a file."""
        self.faults.append(PackFault(file=file, reason=reason, hint=hint, line=line))

    def warn(self, file: str, reason: str, hint: str, *, line: int = 0) -> None:
        """Note a warning about a file."""
        self.warnings.append(PackFault(file=file, reason=reason, hint=hint, line=line))

    def fault_of(self, value: object, reason: str, hint: str) -> None:
        """Note a fault of an item of a list that was read."""
        file, position = self.position_of_item[id(value)]
        self.fault(file, reason, hint, line=self.line_of(file, position))

    def warn_of(self, value: object, reason: str, hint: str) -> None:
        """Note a warning about an item of a list that was read."""
        file, position = self.position_of_item[id(value)]
        self.warn(file, reason, hint, line=self.line_of(file, position))

    def has_faults(self, file: str) -> bool:
        """Whether a file was faulty; that it holds too little is then not held against it."""
        return any(fault.file == file for fault in self.faults)

    def raise_faults(self, subject: Path) -> None:
        """Raises `PackError` of `subject` if there are any faults."""
        if self.faults:
            raise PackError(subject, tuple(self.faults))

    def line_of(self, file: str, position: int) -> int:
        """The line of an item of a list that could be read. Only a file with findings pays for the second reading."""
        if file not in self._lines:
            root = compose_yaml((self.path / file).read_text("utf-8-sig"))
            self._lines[file] = [node.start_mark.line + 1 for node in root.value] if root is not None else []
        return self._lines[file][position]


def read_text(file: Path, findings: PackFindings) -> str | None:
    """The file's text; None if it cannot be read, or is longer than a document may be."""
    try:
        if (length := file.stat().st_size) > MOST_BYTES:
            size = f"{length // 2**20} MiB; {MOST_BYTES // 2**20}"
        elif len(text := file.read_text("utf-8-sig")) > MOST_CHARACTERS:
            size = f"{len(text)} characters; {MOST_CHARACTERS}"
        else:
            return text
        findings.fault(findings.name_of(file), f"it has {size} are the most that are read", "split it")
    except UnicodeDecodeError as error:
        findings.fault(findings.name_of(file), str(error), "save the file as UTF-8")
    except OSError as error:
        findings.fault(findings.name_of(file), error.strerror or str(error), "let the file be read, or take it away")
    return None


def parse_yaml(name: str, text: str, findings: PackFindings) -> Any:
    """What `load_yaml` reads. None if it cannot be read, is more than is read, or holds nothing."""
    try:
        return load_yaml(text)
    except YamlError as error:
        findings.fault(name, error.reason, error.hint, line=error.line)
    return None
