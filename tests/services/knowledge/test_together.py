"""Several pieces of work for one question are done at once where threads are free, and by who asks where none is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.knowledge.reader.together import Helpers

WAIT_S = 20.0


@given(st.integers(0, 3), st.lists(st.integers(), max_size=8))
def test_each_job_is_done_once_and_the_results_come_in_order(helpers: int, numbers: list[int]) -> None:
    done: list[int] = []

    def job(at: int) -> int:
        done.append(at)
        return numbers[at]

    assert Helpers(helpers).run([partial(job, at) for at in range(len(numbers))]) == numbers
    assert sorted(done) == list(range(len(numbers)))


def test_as_many_jobs_run_at_once_as_there_are_helpers_and_who_asks() -> None:
    together = threading.Barrier(3)
    assert sorted(Helpers(2).run([partial(together.wait, WAIT_S)] * 3)) == [0, 1, 2]


def test_what_no_helper_is_free_for_is_done_by_who_asks() -> None:
    helpers = Helpers(1)
    begun, is_free = threading.Event(), threading.Event()

    def keep_busy() -> int:
        begun.set()
        assert is_free.wait(WAIT_S)
        return 0

    other = threading.Thread(target=helpers.run, args=([begun.wait, keep_busy],))
    other.start()
    assert begun.wait(WAIT_S)
    assert set(helpers.run([threading.get_ident] * 4)) == {threading.get_ident()}
    is_free.set()
    other.join(WAIT_S)


def test_where_a_job_fails_what_nobody_has_begun_is_left() -> None:
    helpers, release, begun = Helpers(1), threading.Event(), threading.Event()
    late: list[str] = []

    def hold() -> None:
        begun.set()
        assert release.wait(WAIT_S)

    def fail() -> None:
        assert begun.wait(WAIT_S)
        raise ZeroDivisionError

    jobs: list[Callable[[], object]] = [fail, hold, partial(late.append, "begun")]
    with pytest.raises(ZeroDivisionError):
        helpers.run(jobs)
    release.set()
    helpers.run([partial(threading.Barrier(2).wait, WAIT_S)] * 2)  # the helper comes to this after all before it
    assert not late


def test_what_a_helper_raises_is_raised_to_who_asked() -> None:
    begun = threading.Event()

    def fail() -> None:
        begun.set()
        raise ZeroDivisionError

    jobs: list[Callable[[], object]] = [partial(begun.wait, WAIT_S), fail]
    with pytest.raises(ZeroDivisionError):
        Helpers(1).run(jobs)


@given(st.integers(0, 2), st.booleans(), st.booleans())
def test_both_jobs_are_done_once_and_a_failure_is_raised(helpers: int, first_fails: bool, second_fails: bool) -> None:
    done: list[str] = []

    def job(name: str, *, fails: bool) -> str:
        done.append(name)
        return "" if 1 // (not fails) else "never"

    jobs = partial(job, "first", fails=first_fails), partial(job, "second", fails=second_fails)
    if first_fails or second_fails:
        with pytest.raises(ZeroDivisionError):
            Helpers(helpers).run_both(*jobs)
    else:
        assert Helpers(helpers).run_both(*jobs) == ("", "")
        assert sorted(done) == ["first", "second"]


def test_of_both_the_helper_does_the_second_meanwhile() -> None:
    together = threading.Barrier(2)
    assert sorted(Helpers(1).run_both(partial(together.wait, WAIT_S), partial(together.wait, WAIT_S))) == [0, 1]


@given(st.integers(0, 3), st.lists(st.integers(), max_size=8))
def test_in_turn_each_job_is_done_once_and_the_results_come_in_order(helpers: int, numbers: list[int]) -> None:
    done: list[int] = []

    def job(at: int) -> int:
        done.append(at)
        return numbers[at]

    assert list(Helpers(helpers).in_turn([partial(job, at) for at in range(len(numbers))])) == numbers
    assert sorted(done) == list(range(len(numbers)))


def test_in_turn_a_helper_begins_the_next_one_meanwhile() -> None:
    begun = threading.Event()
    jobs: list[Callable[[], object]] = [partial(begun.wait, WAIT_S), begun.set]
    results = Helpers(1).in_turn(jobs)
    assert next(results) is True
    results.close()


def test_in_turn_what_nobody_has_begun_when_enough_is_known_is_left() -> None:
    helpers, release, begun = Helpers(1), threading.Event(), threading.Event()
    late: list[str] = []

    def hold() -> None:
        begun.set()
        assert release.wait(WAIT_S)

    jobs: list[Callable[[], object]] = [partial(begun.wait, WAIT_S), hold, partial(late.append, "begun")]
    results = helpers.in_turn(jobs)
    assert next(results) is True
    results.close()
    release.set()
    helpers.run([partial(threading.Barrier(2).wait, WAIT_S)] * 2)  # the helper comes to this after all before it
    assert not late
