"""Copies an index that may be in use, as it was between two changes. Next: prepared.py, which copies."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

from tidegate.services.knowledge.index.database import IndexDatabase, raising_own_errors, read_head_of
from tidegate.services.knowledge.index.storage import Storage
from tidegate.services.knowledge.index.thesaurus import FILE


def copy_index(source: Path, target: Path) -> None:
    """Copy an index to where there is none. Raises what `IndexDatabase` does."""
    storage, copied = Storage(source), Storage(target)
    target.mkdir(parents=True, exist_ok=True)
    with storage.lock():
        IndexDatabase(storage).inode()  # SQLite would make the file where there is none
        with (
            raising_own_errors(target),
            closing(sqlite3.connect(storage.database)) as read,
            closing(sqlite3.connect(copied.database)) as written,
        ):
            read.backup(written)
        head = read_head_of(target)
        shutil.copytree(storage.keyword(head.keyword), copied.keyword(head.keyword), dirs_exist_ok=True)
        for file in [*storage.graph_files(head.graph), source / FILE]:
            if file.exists():
                shutil.copy2(file, target / file.name)
