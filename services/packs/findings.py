"""What is found while a pack is read: faults, warnings, and where each thing lies. Next: load.py."""

from __future__ import annotations

from pathlib import Path

import msgspec
from ruamel.yaml import YAML

from tidegate.schemas import TidegateError


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
    """Faults and warnings as they come up, and where each document and each list item lies."""

    def __init__(self) -> None:
        self.faults: list[PackFault] = []
        self.warnings: list[PackFault] = []
        self.file_of_document: dict[str, str] = {}
        self.position_of_item: dict[int, tuple[str, int]] = {}
        self.documents_unread = 0
        """While there are any, that a document is unknown is not held against who cites it."""
        self._without_line: list[tuple[list[PackFault], int, int]] = []

    def fault(self, file: str, reason: str, hint: str, *, line: int = 0, item: int | None = None) -> None:
        """Note a fault at a line, or at an item of a list, whose line is looked up at the end."""
        self._note(self.faults, PackFault(file=file, reason=reason, hint=hint, line=line), item)

    def has_faults(self, file: str) -> bool:
        """Whether a file was faulty; that it holds too little is then not held against it."""
        return any(fault.file == file for fault in self.faults)

    def fault_of(self, value: object, reason: str, hint: str) -> None:
        """Note a fault of an item of a list that was read."""
        file, item = self.position_of_item[id(value)]
        self.fault(file, reason, hint, item=item)

    def warn(self, file: str, reason: str, hint: str) -> None:
        """Note a warning about a file."""
        self._note(self.warnings, PackFault(file=file, reason=reason, hint=hint), None)

    def warn_of(self, value: object, reason: str, hint: str) -> None:
        """Note a warning about an item of a list that was read."""
        file, item = self.position_of_item[id(value)]
        self._note(self.warnings, PackFault(file=file, reason=reason, hint=hint), item)

    def add_lines(self, path: Path) -> None:
        """Give the faults of list items their lines. Only a pack with faults pays for the second reading."""
        lines: dict[str, list[int]] = {}
        for notes, index, item in self._without_line:
            file = notes[index].file
            if file not in lines:
                lines[file] = _lines_of(path / file)
            notes[index] = msgspec.structs.replace(notes[index], line=lines[file][item])

    def _note(self, notes: list[PackFault], note: PackFault, item: int | None) -> None:
        notes.append(note)
        if item is not None:
            self._without_line.append((notes, len(notes) - 1, item))


def _lines_of(file: Path) -> list[int]:
    return [node.start_mark.line + 1 for node in YAML(typ="safe", pure=True).compose(file.read_text("utf-8-sig")).value]
