"""A counter that goes back is found out: restored backups, cloned disks, cloned memory; and nothing else is."""

from __future__ import annotations

import copy

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.document_authors import Author, content
from tidegate.schemas.sync import AuthorMark, BootStart
from tidegate.sync.rules.clock import NOTHING
from tidegate.sync.rules.counters import (
    MOST_BOOTS,
    AuthorHoleError,
    CounterJudgement,
    CounterWentBackError,
    OwnCounter,
    judge,
    next_counter,
    observe,
)
from tidegate.sync.rules.merge import Version

BOOTS = ("aa" * 8, "bb" * 8, "cc" * 8)


def write(author: Author, text: str = "x") -> Version:
    return author.write("d", NOTHING, content(text))


def mark_after(versions: list[Version], is_whole: bool = True) -> AuthorMark | None:
    mark: AuthorMark | None = None
    for version in versions:
        mark = observe(mark, version, is_whole)
    return mark


def booted(author: Author, boot_id: str) -> Author:
    """The author after a restart, or on another machine: it goes on from what is on its disk."""
    again = copy.copy(author)
    again.boot_id = boot_id
    return again


def history() -> tuple[Author, list[Version]]:
    """Three operations of one boot, two of the next."""
    author = Author("site1@1", BOOTS[0])
    versions = [write(author) for _ in range(3)]
    author = booted(author, BOOTS[1])
    return author, [*versions, write(author), write(author)]


def test_a_history_is_taken_in_order_and_again() -> None:
    author, versions = history()
    mark = mark_after(versions)
    assert mark == AuthorMark(
        counter=5,
        digest=versions[4].digest,
        previous=versions[3].digest,
        boots=(BootStart(BOOTS[0], 1), BootStart(BOOTS[1], 4)),
    )
    assert [judge(mark, version) for version in versions] == ["duplicate"] * 5
    assert observe(mark, versions[0]) is mark
    assert judge(mark, write(author)) == "next"


def test_a_hole_is_named_where_the_whole_stream_is_read_and_expected_where_it_is_not() -> None:
    author, versions = history()
    write(author)
    late = write(author)
    with pytest.raises(AuthorHoleError, match="of site1@1 between 5 and 7 are missing"):
        observe(mark_after(versions), late)
    assert judge(mark_after(versions), late, is_whole=False) == "next"
    assert judge(None, versions[2]) == "hole"
    assert judge(None, versions[0]) == judge(None, versions[2], is_whole=False) == "next"


def restored_backup() -> tuple[list[Version], Version]:
    author = Author("site1@1", BOOTS[0])
    first = write(author)
    backup = booted(author, BOOTS[1])
    return [first, write(author), write(author)], write(backup, "other")


def cloned_disk() -> tuple[list[Version], Version]:
    author = Author("site1@1", BOOTS[0])
    first = write(author)
    clone = booted(author, BOOTS[1])
    known = [first, write(author)]
    clone.counter += 5  # what it wrote to its own LOCAL stream counts too, and hides that the counter went back
    return known, write(clone, "other")


def both_machines_run() -> tuple[list[Version], Version]:
    author = Author("site1@1", BOOTS[0])
    clone = booted(author, BOOTS[1])
    first, second = write(author), booted(author, BOOTS[1])
    clone.counter, clone.previous = author.counter, author.previous
    known = [first, write(second)]
    author.counter, author.previous = second.counter, second.previous
    return known, write(author)


def cloned_memory() -> tuple[list[Version], Version]:
    author = Author("site1@1", BOOTS[0])
    first = write(author)
    clone = copy.copy(author)
    return [first, write(author)], write(clone, "other")


def rewritten_last() -> tuple[list[Version], Version]:
    author = Author("site1@1", BOOTS[0])
    backup = booted(author, BOOTS[1])
    return [write(author)], write(backup, "other")


def old_boot_in_the_middle() -> tuple[list[Version], Version]:
    author, versions = history()
    author.boot_id, author.counter = BOOTS[0], 3
    return versions, write(author)


@pytest.mark.parametrize(
    ("story", "judgement"),
    [
        (restored_backup, "went-back"),
        (cloned_disk, "forked"),
        (both_machines_run, "forked"),
        (cloned_memory, "forked"),
        (rewritten_last, "went-back"),
        (old_boot_in_the_middle, "forked"),
    ],
)
def test_a_second_history_is_found_out(story: object, judgement: CounterJudgement) -> None:
    assert callable(story)
    known, version = story()
    mark = mark_after(known)
    assert judge(mark, version) == judgement
    with pytest.raises(CounterWentBackError, match="backup" if judgement == "went-back" else "second machine") as back:
        observe(mark, version)
    assert "next incarnation" in back.value.hint


@given(st.lists(st.sampled_from(["write", "boot"]), max_size=12), st.data())
def test_an_honest_author_is_never_fenced_whatever_is_repeated(steps: list[str], data: st.DataObject) -> None:
    author, versions, mark = Author("site1@1", f"{0:016x}"), list[Version](), None
    for number, step in enumerate(steps, 1):
        if step == "boot":
            author = booted(author, f"{number:016x}")
            continue
        versions.append(write(author, str(number)))
        mark = observe(mark, versions[-1])
        again = data.draw(st.sampled_from(versions))
        assert observe(mark, again) == mark


def test_a_site_whose_disk_is_older_than_what_the_hub_knows_does_not_write() -> None:
    _, versions = history()
    mark = mark_after(versions)
    assert next_counter(OwnCounter(boot_id=BOOTS[2], counter=5), mark) == 6
    assert next_counter(OwnCounter(boot_id=BOOTS[2], counter=9), mark) == 10, "not all of it has been acknowledged"
    assert next_counter(OwnCounter(boot_id=BOOTS[2]), None) == 1
    with pytest.raises(CounterWentBackError, match="the hub knows 5 operations of this site, which knows 4"):
        next_counter(OwnCounter(boot_id=BOOTS[2], counter=4), mark)


def test_a_mark_remembers_so_many_boots_and_takes_what_is_older_for_a_duplicate() -> None:
    author, versions = Author("site1@1", f"{0:016x}"), list[Version]()
    for number in range(MOST_BOOTS + 3):
        author = booted(author, f"{number:016x}")
        versions.append(write(author))
    mark = mark_after(versions)
    assert mark
    assert len(mark.boots) == MOST_BOOTS
    assert {judge(mark, version) for version in versions} == {"duplicate"}


def test_a_mark_survives_the_wire() -> None:
    mark = mark_after(history()[1])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(mark), type=AuthorMark) == mark
