"""How far the documents of an index are from those that it held once, when something was made of them.

Promises to count documents, and not how often each was changed. Next: database.py; services/fleet/made_files.py.
"""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import NamedTuple

from tidegate.services.knowledge.index.database import IndexDatabase, read_head
from tidegate.services.knowledge.index.storage import Storage

_COUNT_SINCE = "SELECT count(*) FROM documents WHERE first >= ?"


class HeldThen(NamedTuple):
    """What tells the documents of a moment from later ones: how many there were, and the next unused passage number.

    A document that comes or is replaced gets numbers that were never used: all below are of that moment.
    """

    documents: int
    next_number: int


def read_held(path: Path) -> HeldThen:
    """What the index in a directory holds now; nothing where there is none. Raises what `IndexDatabase` does."""
    database = IndexDatabase(Storage(path))
    if not database.is_made():
        return HeldThen(0, 0)
    with closing(database), database.reading() as connection:
        head = read_head(connection)
    return HeldThen(head.documents, head.next_number)


def count_changes(path: Path, then: HeldThen) -> int:
    """How many documents are new or other ones since, or how many of those from then are gone or other ones: whichever
    are more. Raises what `IndexDatabase` does."""
    database = IndexDatabase(Storage(path))
    if not database.is_made():
        return then.documents
    with closing(database), database.reading() as connection:
        head = read_head(connection)
        # Numbers that are lower than they were are those of an index that was begun anew.
        since = then.next_number if head.next_number >= then.next_number else 0
        (came,) = connection.execute(_COUNT_SINCE, (since,)).fetchone()
    return int(max(came, then.documents - (head.documents - came)))
