"""What an index is told of a store: digests of what changed, each document as it is now, and who signed it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.document_authors import KEY, Author, content
from tests.support.sync_parts import NOTICES, NOW, Keys, make_hub, make_site, text
from tests.sync.rules.test_merge import joined
from tidegate.schemas.sync import MergeRule
from tidegate.sync.changes import list_changes, read_changes, read_document, signer_of
from tidegate.sync.rules.clock import NOTHING
from tidegate.sync.rules.merge import NO_VERSIONS, Version
from tidegate.sync.rules.resolve import resolve

ONE, TWO = f"site1/{KEY[:16]}", f"site2/{KEY[:16]}"
OLD = Author("site1@1").write("d", NOTHING, content("a", owner="x"), ms=10)
NEW = Author("site2@1").write("d", NOTHING, content("b"), ms=20)
SAME = Author("site2@1").write("d", NOTHING, content("a", owner="x"), ms=20)
GONE = Author("site2@1").write("d", NOTHING, None, ms=20)


@pytest.mark.parametrize(
    ("versions", "rule", "signer"),
    [
        ((OLD,), "ask", ONE),
        ((OLD, NEW), "ask", TWO),
        ((OLD, NEW), "last-writer", TWO),
        ((OLD, NEW), "field-merge", f"{ONE} {TWO}"),
        ((OLD, SAME), "ask", TWO),
        ((OLD, SAME), "field-merge", TWO),
        ((OLD, GONE), "ask", ""),
        ((), "ask", ""),
    ],
)
def test_the_signer_is_whose_words_they_are(versions: tuple[Version, ...], rule: MergeRule, signer: str) -> None:
    siblings = joined(*versions) if versions else NO_VERSIONS
    assert signer_of(siblings, resolve(siblings, rule)) == signer


def test_digests_tell_what_changed_and_a_document_is_read_when_it_is_wanted(tmp_path: Path) -> None:
    store = make_hub(tmp_path).store
    hub = make_hub(tmp_path / "other")
    for name in ("a", "b"):
        hub.author.write("notices", name, text(name), NOW)
    with hub.store.reading() as reader:
        everything = list_changes(reader, "notices", 0)
        assert (everything.generation, set(everything.digests), everything.is_complete) == (2, {"a", "b"}, True)
        assert set(list_changes(reader, "notices", 1).digests) == {"b"}
        assert list_changes(reader, "notices", 99).is_complete
        changed = read_document(reader, "notices", "b")
        assert changed is not None
        assert changed.signer == f"hub/{Keys('hub').key_id[:16]}"
        assert changed.digest == everything.digests["b"]
        assert read_document(reader, "notices", "c") is None
        assert read_changes(reader, "notices", 1).documents == (changed,)
    with store.reading() as reader:
        assert list_changes(reader, "notices", 0) == (0, {}, True)


def test_a_replica_that_was_never_whole_tells_nothing(tmp_path: Path) -> None:
    site = make_site(tmp_path, "site1", make_hub(tmp_path), NOTICES)
    site.author.write("notices", "a", text("x"), NOW)
    with site.store.reading() as reader:
        assert list_changes(reader, "notices", 0) == (0, {}, False)
