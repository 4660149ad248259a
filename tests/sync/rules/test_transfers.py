"""One queue per link: who goes first, how fast, when; and that a snapshot starves no policy."""

from __future__ import annotations

from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.sync.rules.transfers import (
    ORDER,
    Grant,
    LinkBudget,
    OffPeak,
    TokenBucket,
    Transfer,
    TransferClass,
    Wait,
    next_chunk,
)

NO_LIMIT = LinkBudget(bucket=TokenBucket(rate=0, burst=0))
NIGHT = OffPeak(start_s=22 * 3600, end_s=5 * 3600)
HOUR = 3600.0


def transfer(
    kind: TransferClass, id: str = "", left: int = 10, since_s: float = 0.0, is_wanted: bool = True
) -> Transfer:
    return Transfer(id=id or kind, kind=kind, left=left, chunk=100, since_s=since_s, is_wanted=is_wanted)


def test_classes_go_in_their_order_whatever_the_queue_s() -> None:
    for queue in permutations(transfer(kind) for kind in ORDER):
        left, sent = list(queue), []
        while isinstance(grant := next_chunk(left, 0.0, NO_LIMIT), Grant):
            sent.append(grant.id)
            left = [each for each in left if each.id != grant.id]
        assert sent == ["policy", "prompt", "adapter", "index", "weights"]
        assert grant == Wait()


def test_inside_of_a_class_what_is_waited_for_goes_first_then_the_oldest() -> None:
    queue = [
        transfer("weights", "lazy", since_s=0, is_wanted=False),
        transfer("weights", "a", since_s=2),
        transfer("weights", "d", since_s=1),
        transfer("weights", "c", since_s=1),
        transfer("weights", "done", left=0),
    ]
    sent = []
    while isinstance(grant := next_chunk(queue, 0.0, NO_LIMIT), Grant):
        sent.append(grant.id)
        queue = [each for each in queue if each.id != grant.id]
    assert sent == ["c", "d", "a", "lazy"]


@pytest.mark.parametrize(
    ("hour", "closed_h"),
    [(22.0, 0), (23.5, 0), (0.0, 0), (4.99, 0), (5.0, 17), (12.0, 10), (21.5, 0.5), (24 + 12.0, 10)],
)
def test_a_window_over_midnight_is_open_or_says_when_it_is(hour: float, closed_h: float) -> None:
    assert NIGHT.wait_s(hour * HOUR) == pytest.approx(closed_h * HOUR)


def test_a_window_without_length_is_the_whole_day() -> None:
    assert OffPeak(start_s=60, end_s=60).wait_s(12 * HOUR) == 0.0


def test_outside_of_the_windows_only_the_urgent_goes_and_of_two_windows_the_next_one_counts() -> None:
    budget = LinkBudget(bucket=NO_LIMIT.bucket, windows=(NIGHT, OffPeak(start_s=13 * 3600, end_s=14 * 3600)))
    noon = 12 * HOUR
    assert next_chunk([transfer("index"), transfer("adapter")], noon, budget) == Wait(for_s=HOUR)
    for urgent in ("policy", "prompt"):
        grant = next_chunk([transfer("index"), transfer(urgent)], noon, budget)
        assert isinstance(grant, Grant)
        assert grant.id == urgent
    assert isinstance(next_chunk([transfer("index")], 13.5 * HOUR, budget), Grant)
    assert next_chunk([], noon, budget) == Wait()


def test_a_bucket_lends_one_chunk_and_is_paid_back() -> None:
    budget = LinkBudget(bucket=TokenBucket(rate=10, burst=50))
    grant = next_chunk([transfer("index", left=250)], 0.0, budget)
    assert isinstance(grant, Grant)
    assert (grant.size, grant.bucket.tokens) == (100, -100)
    later = LinkBudget(bucket=grant.bucket)
    assert next_chunk([transfer("index", left=150)], 4.0, later) == Wait(for_s=6.0)
    assert isinstance(next_chunk([transfer("index", left=150)], 10.0, later), Grant)
    assert grant.bucket.refilled(1000.0).tokens == 50, "never more than the burst"
    assert grant.bucket.refilled(-5.0) == grant.bucket, "a clock that goes back gives nothing"


@given(
    st.lists(st.tuples(st.sampled_from(ORDER), st.integers(1, 400)), max_size=6),
    st.floats(0.0, 100.0),
)
def test_a_policy_waits_for_one_chunk_at_most_and_the_rate_is_kept(
    others: list[tuple[TransferClass, int]], arrives_s: float
) -> None:
    queue = [transfer(kind, f"other-{number}", left) for number, (kind, left) in enumerate(others) if kind != "policy"]
    bucket, now_s, sent, pushed = TokenBucket(rate=10, burst=50), 0.0, 0, False
    for _ in range(200):
        if not pushed and now_s >= arrives_s:
            queue.append(transfer("policy", "pushed", left=50))
            pushed = True
            pushed_s = now_s
        answer = next_chunk(queue, now_s, LinkBudget(bucket=bucket))
        if isinstance(answer, Wait):
            now_s += max(answer.for_s or 1.0, 1e-3)
            continue
        bucket, sent = answer.bucket, sent + answer.size
        if answer.id == "pushed":
            assert now_s - pushed_s <= 100 / 10 + 1e-6, "one chunk's debt"
        queue = [
            msgspec.structs.replace(each, left=each.left - answer.size) if each.id == answer.id else each
            for each in queue
        ]
        assert sent <= 50 + 10 * now_s + 100
    assert pushed
    assert not any(each.left > 0 for each in queue), "everything has been sent in the end"
