"""How far an index is from what it held: documents that came, went or were replaced, and not how often."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.support.branch_index import LETTERS, branch_index
from tests.support.corpus import BRANCH, document
from tidegate.services.knowledge.index.changes import HeldThen, count_changes, read_held
from tidegate.services.knowledge.index.hybrid import HybridIndex

NAMES = st.sampled_from("abcdef")
STEPS = st.lists(st.tuples(NAMES, st.one_of(st.none(), st.integers(0, 2))), max_size=8)
"""Each the name of a document and its version; None where it is deleted."""


@given(before=STEPS, after=STEPS)
@example(before=[("a", 0), ("b", 0)], after=[("a", None), ("c", 0)])
@example(before=[("a", 0)], after=[("a", 1), ("a", 2)])
@settings(max_examples=15, derandomize=True, deadline=None)
def test_what_came_or_went_is_counted_whatever_remains(
    before: list[tuple[str, int | None]], after: list[tuple[str, int | None]]
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, held = Path(folder) / "index", dict[str, tuple[int, int]]()
        index = HybridIndex.open(path, LETTERS)

        def take(steps: list[tuple[str, int | None]], moment: int) -> None:
            for name, version in steps:
                if version is None:
                    index.delete([name])
                    held.pop(name, None)
                elif name not in held or held[name][0] != version:
                    index.upsert([document(name, f"# {name}\n\nText {version}.\n\n## More\n\nEnd.")])
                    held[name] = (version, moment)

        take(before, 0)
        then, known = read_held(path), set(held)
        take(after, 1)
        came = sum(moment == 1 for _, moment in held.values())
        assert count_changes(path, then) == max(came, len(known) - (len(held) - came))
        index.close()


def test_the_same_documents_again_are_no_change(tmp_path: Path) -> None:
    index = branch_index(tmp_path)
    then = read_held(tmp_path)
    index.upsert(BRANCH)
    index.close()
    assert (then.documents, count_changes(tmp_path, then)) == (len(BRANCH), 0)


def test_an_index_that_was_begun_anew_holds_nothing_from_before(tmp_path: Path) -> None:
    branch_index(tmp_path).close()
    assert count_changes(tmp_path, HeldThen(1, 1_000)) == len(BRANCH)


def test_an_index_that_is_gone_has_lost_all(tmp_path: Path) -> None:
    assert read_held(tmp_path) == HeldThen(0, 0)
    assert count_changes(tmp_path, HeldThen(7, 9)) == 7
