"""The documents that an index holds, with their texts, for what is made of all of them. Next: records.py."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from tidegate.schemas.pack import Document
from tidegate.services.knowledge.index import records
from tidegate.services.knowledge.index.database import IndexDatabase
from tidegate.services.knowledge.index.storage import Storage


def list_documents(path: Path) -> Iterator[Document]:
    """The live documents of the index in a directory as of one generation, by id; none where there is no index. Raises
    what `IndexDatabase` does."""
    database = IndexDatabase(Storage(path))
    if not database.is_made():
        return
    with closing(database), database.reading() as connection:
        for entry in records.list_entries(connection):
            document = records.find_document(connection, entry.id)
            if document is not None:
                yield document
