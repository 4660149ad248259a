"""What lies in a folder that somebody brings: its files, and all else in it, with the reason why that is not read.

Promises one order, that no link to a folder is followed, so that none leads round in a circle, that a link to a file
leads to one of its own kind, and that nothing but what is hidden is passed over in silence. Next: load.py,
documents.py.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

LET_READ = "let it be read, or take it away"
AS_ITSELF = "put the file itself in its place, if it is a document"


class PassedOver(NamedTuple):
    """Something in a folder that is no file to read, after `it` why not, and what to do about it."""

    path: Path
    reason: str
    hint: str


def list_files(path: Path) -> list[Path]:
    """The files below a folder, in order, links to files among them; none whose name, or whose folder's name, starts
    with a dot. None where there is no such folder."""
    return _walk(path)[0]


def list_passed_over(path: Path) -> list[PassedOver]:
    """What else lies below a folder: folders that cannot be opened, links to folders and to nothing, pipes, devices."""
    return _walk(path)[1]


def make_readable(name: str) -> str:
    """A file's name as it can be printed and stored: bytes that are no UTF-8, and control characters, are replaced."""
    decoded = os.fsencode(name).decode("utf-8", "replace")
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in decoded)


def _walk(root: Path) -> tuple[list[Path], list[PassedOver]]:
    files: list[Path] = []
    others: list[PassedOver] = []
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as found:
                entries = [entry for entry in found if not entry.name.startswith(".")]
        except FileNotFoundError:  # there is none, or it went away meanwhile
            continue
        except OSError as error:
            others.append(PassedOver(folder, f"is a folder that cannot be opened ({error.strerror})", LET_READ))
            continue
        for entry in entries:
            path = folder / entry.name
            try:
                if entry.is_symlink() and entry.is_file() and not _is_of_its_kind(path):
                    others.append(PassedOver(path, "is a link to a file of another kind", AS_ITSELF))
                elif entry.is_file():
                    files.append(path)
                elif entry.is_dir(follow_symlinks=False):
                    folders.append(path)
                else:
                    others.append(_describe(entry, path))
            except OSError as error:  # a link to itself, or into a folder that cannot be opened
                others.append(PassedOver(path, f"cannot be opened ({error.strerror})", LET_READ))
    return (
        sorted(files, key=lambda file: file.relative_to(root).as_posix()),
        sorted(others, key=lambda other: other.path.as_posix()),
    )


def _is_of_its_kind(link: Path) -> bool:
    """Whether what a link leads to is called as it is: else a document of a folder that somebody brings could be a key,
    a vault or an index of this machine, which is published then."""
    return link.resolve().suffix.lower() == link.suffix.lower()


def _describe(entry: os.DirEntry[str], path: Path) -> PassedOver:
    """Raises `OSError` for a link that cannot be followed."""
    if not entry.is_symlink():
        return PassedOver(path, "is no file", "take it away")
    if entry.is_dir():
        hint = "put the folder itself in its place, or name that folder"
        return PassedOver(path, "is a link to a folder, and such links are not followed", hint)
    return PassedOver(path, "is a link that leads to no file", "take it away")
