"""One document of several versions: the same bytes and the same clock everywhere, and the conflict is named."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.document_authors import Author, content
from tests.sync.rules.test_merge import joined
from tidegate.schemas import Dot, HybridTime
from tidegate.schemas.sync import DocumentContent, FieldStamp, MergeRule, Vectors
from tidegate.sync.rules.clock import NOTHING, merge
from tidegate.sync.rules.merge import NO_VERSIONS, Siblings, Version, join
from tidegate.sync.rules.resolve import resolve, stamp_edit

RULES: tuple[MergeRule, ...] = ("last-writer", "field-merge", "ask")
SITES = ("hub@1", "site1@1", "site2@1")
every_rule = pytest.mark.parametrize("rule", RULES)


def apart(first: DocumentContent | None, second: DocumentContent | None, late: int = 20) -> Siblings:
    """Two versions that were written apart, the second one later where `late` is above 10."""
    return joined(
        Author("site1@1").write("d", NOTHING, first, ms=10), Author("site2@1").write("d", NOTHING, second, ms=late)
    )


@every_rule
def test_one_version_is_the_document_and_no_conflict(rule: MergeRule) -> None:
    version = Author("site1@1").write("d", NOTHING, content("a", owner="branch"))
    resolved = resolve(joined(version), rule)
    assert resolved.content
    assert (resolved.content.text, resolved.content.meta) == ("a", {"owner": "branch"})
    assert resolved.conflict is None
    assert resolved.dots == (Dot("site1@1", 1),)
    assert resolve(NO_VERSIONS, rule).content is None


@every_rule
@pytest.mark.parametrize("written", [content("a", owner="x"), None])
def test_the_same_written_twice_is_no_conflict(rule: MergeRule, written: DocumentContent | None) -> None:
    resolved = resolve(apart(written, written), rule)
    assert resolved.conflict is None
    assert (resolved.content and resolved.content.text) == (written and "a")
    assert len(resolved.dots) == 2


@pytest.mark.parametrize(
    ("rule", "first", "second", "late", "text", "is_open"),
    [
        ("last-writer", content("a"), content("b"), 20, "b", False),
        ("last-writer", content("a"), content("b"), 5, "a", False),
        ("last-writer", content("a"), content("b"), 10, "b", False),  # a tie: by the dot
        ("last-writer", None, content("b"), 20, "b", False),
        ("last-writer", content("a"), None, 20, None, False),
        ("field-merge", content("a"), content("b"), 20, "b", False),
        ("field-merge", None, content("b"), 20, None, False),
        ("field-merge", content("a"), None, 5, None, False),
        ("ask", content("a"), content("b"), 20, "b", True),
        ("ask", content("a"), None, 5, None, True),
        ("ask", None, content("b"), 20, None, True),
    ],
)
def test_versions_written_apart_are_a_conflict_that_the_rule_decides(
    rule: MergeRule,
    first: DocumentContent | None,
    second: DocumentContent | None,
    late: int,
    text: str | None,
    is_open: bool,
) -> None:
    resolved = resolve(apart(first, second, late), rule)
    assert (resolved.content and resolved.content.text) == text
    assert resolved.conflict
    assert resolved.conflict.is_open is is_open
    assert resolved.conflict.kind == ("edits" if first and second else "edit-and-delete")
    assert resolved.conflict.dots == (Dot("site1@1", 1), Dot("site2@1", 1))
    chosen = {"a": "site1@1", "b": "site2@1"}.get(text or "", "site1@1" if first is None else "site2@1")
    assert resolved.conflict.chosen == (None if rule == "field-merge" and text else Dot(chosen, 1))


def base_and_edits(*changes: DocumentContent) -> tuple[Version, list[Version]]:
    """A document, and edits of it that were made apart, each at another site, in a collection of `field-merge`."""
    base = Author("hub@1").write("d", NOTHING, content("text", phone="1", fax="2"), ms=1)
    before = resolve(joined(base), "field-merge")
    edits = []
    for site, (number, change) in zip(SITES[1:], enumerate(changes), strict=False):
        stamp = FieldStamp(HybridTime(10 + number), Dot(site, 1))
        stamped = stamp_edit(change, before.content, stamp)
        edits.append(Author(site).write("d", before.clock, stamped, ms=10 + number))
    return base, edits


def test_edits_of_different_fields_are_merged_and_no_conflict() -> None:
    base, edits = base_and_edits(content("new text", phone="1", fax="2"), content("text", phone="7"))
    resolved = resolve(joined(base, *edits), "field-merge")
    assert resolved.content
    assert (resolved.content.text, resolved.content.meta) == ("new text", {"phone": "7"}), "the fax was removed"
    assert resolved.conflict is None


def test_a_field_that_both_changed_is_named_and_has_the_later_value() -> None:
    base, edits = base_and_edits(content("a", phone="1", fax="2"), content("b", phone="7", fax="2"))
    resolved = resolve(joined(base, *edits), "field-merge")
    assert resolved.content
    assert (resolved.content.text, resolved.content.meta["phone"]) == ("b", "7")
    assert resolved.conflict
    assert (resolved.conflict.fields, resolved.conflict.chosen) == (("text",), None)


def test_an_edit_after_a_merge_keeps_what_it_did_not_touch_and_a_removed_field_stays_removed() -> None:
    base, edits = base_and_edits(content("new", phone="1", fax="2"), content("text", phone="7"))
    merged = resolve(joined(base, *edits), "field-merge")
    assert merged.content
    stamp = FieldStamp(HybridTime(50), Dot("hub@1", 2))
    hub = stamp_edit(content("newer", phone="7"), merged.content, stamp)
    assert hub.stamps["meta.phone"].dot == Dot("site2@1", 1)
    assert hub.stamps["meta.fax"].dot == Dot("site2@1", 1)
    assert "text" not in hub.stamps
    gone = stamp_edit(content("newer"), merged.content, stamp)
    assert gone.stamps["meta.phone"] == stamp


def test_vectors_stay_with_the_title_and_text_that_they_are_of() -> None:
    vectors = Vectors(model="ab" * 32, dimensions=2, digest="cd" * 32)
    with_vectors = msgspec.structs.replace(content("new", phone="1", fax="2"), vectors=vectors)
    base, edits = base_and_edits(with_vectors, content("text", phone="7", fax="2"))
    merged = resolve(joined(base, *edits), "field-merge").content
    assert merged
    assert merged.vectors == vectors
    base, edits = base_and_edits(with_vectors, content("text", title="Other", phone="1", fax="2"))
    mixed = resolve(joined(base, *edits), "field-merge").content
    assert mixed
    assert (mixed.title, mixed.text, mixed.vectors) == ("Other", "new", None), "nobody has made these vectors"
    other = content("newest", phone="1", fax="2")
    base, edits = base_and_edits(with_vectors, other)
    latest = resolve(joined(base, *edits), "field-merge").content
    assert latest
    assert (latest.text, latest.vectors) == ("newest", None)


contents = st.none() | st.builds(
    content, st.sampled_from("ab"), st.sampled_from("TU"), phone=st.sampled_from("12")
)  # fmt: skip


@every_rule
@given(st.lists(st.tuples(contents, st.integers(1, 3)), min_size=1, max_size=3))
def test_every_site_derives_the_same_bytes_and_the_clock_of_the_inputs(
    rule: MergeRule, written: list[tuple[DocumentContent | None, int]]
) -> None:
    versions = [Author(site).write("d", NOTHING, each, ms) for site, (each, ms) in zip(SITES, written, strict=False)]
    derived = {msgspec.msgpack.encode(resolve(joined(*order), rule)) for order in permutations(versions)}
    assert len(derived) == 1
    resolved = resolve(joined(*versions), rule)
    assert resolved.clock == merge(joined(version).clock for version in versions), "and no event of its own"


@every_rule
def test_resolutions_do_not_ping_pong(rule: MergeRule) -> None:
    """ravendb#8673: every node minted a new vector for its resolution, which conflicted with the others' for ever."""
    state = apart(content("a"), content("b"))
    resolutions = [resolve(state, rule) for _ in SITES]
    assert len({msgspec.msgpack.encode(each) for each in resolutions}) == 1
    assert resolutions[0].clock == state.clock
    written = Author("hub@1").write("d", resolutions[0].clock, content("decided"))
    for site_state in (state, join(state, written)):
        settled = join(site_state, written)
        assert settled.versions == (written,), "one edit settles it everywhere, once"
        assert resolve(settled, rule).conflict is None
