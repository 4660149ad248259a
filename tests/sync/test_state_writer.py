"""A transaction of a store reads what it wrote, and leaves just that, in whatever order marks are put and cleared."""

from __future__ import annotations

from itertools import count
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.support.sync_parts import NOTICES
from tidegate.schemas.sync import AuthorMark, BootStart
from tidegate.sync.apply import CHAIN
from tidegate.sync.reader import CollectionUnknownError
from tidegate.sync.store import ReplicaStore
from tidegate.sync.writer import StoreWriter

SCOPES, ACTORS = (CHAIN, NOTICES.name), ("hub@1", "site1@1")
_scope, _actor = st.sampled_from(SCOPES), st.sampled_from(ACTORS)
_steps = st.one_of(
    st.tuples(st.just("put"), _scope, _actor, st.integers(1, 9)),
    st.tuples(st.just("forget"), _scope, _actor),
    st.tuples(st.just("clear"), _scope),
    st.tuples(st.just("read"), _scope, _actor),
    st.tuples(st.just("end")),
)
_numbers = count()


@given(steps=st.lists(_steps, max_size=12))
@example(steps=[("put", CHAIN, "hub@1", 1), ("clear", CHAIN), ("read", CHAIN, "hub@1")])
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_marks_are_as_they_were_put_within_a_transaction_and_behind_it(
    tmp_path: Path, steps: list[tuple[Any, ...]]
) -> None:
    store = ReplicaStore(tmp_path / f"{next(_numbers)}.db", "hub", "a" * 16)
    expected: dict[tuple[str, str], AuthorMark] = {}
    transaction = store.writing()
    writer = transaction.__enter__()
    for kind, *about in steps:
        if kind == "put":
            scope, actor, number = about
            expected[scope, actor] = AuthorMark(counter=number, digest=f"{number:064}", boots=(BootStart("b" * 16, 1),))
            writer.put_mark(scope, actor, expected[scope, actor])
        elif kind == "forget":
            expected.pop((about[0], about[1]), None)
            writer.put_mark(about[0], about[1], None)
        elif kind == "clear":
            expected = {key: mark for key, mark in expected.items() if key[0] != about[0]}
            writer.clear_marks(about[0])
        elif kind == "read":
            assert writer.mark(about[0], about[1]) == expected.get((about[0], about[1]))
            assert writer.marks(about[0]) == {key[1]: mark for key, mark in expected.items() if key[0] == about[0]}
        else:
            transaction.__exit__(None, None, None)
            transaction = store.writing()
            writer = transaction.__enter__()
    transaction.__exit__(None, None, None)
    with store.reading() as reader:
        for scope in SCOPES:
            assert reader.marks(scope) == {key[1]: mark for key, mark in expected.items() if key[0] == scope}
    store.close()


def test_who_writes_is_as_it_was_put_and_nothing_of_it_is_left_where_the_transaction_failed(tmp_path: Path) -> None:
    store = ReplicaStore(tmp_path / "store.db", "hub", "a" * 16)
    store.put_collection(NOTICES)
    with store.writing() as writer:
        writer.put_own(msgspec.structs.replace(writer.own(), counter=3))
        assert writer.own().counter == 3
    with pytest.raises(CollectionUnknownError), store.writing() as writer:
        _count_and_fail(writer)
    with store.reading() as reader:
        assert reader.own().counter == 3


def _count_and_fail(writer: StoreWriter) -> None:
    writer.put_own(msgspec.structs.replace(writer.own(), counter=4))
    writer.record("nothing")
