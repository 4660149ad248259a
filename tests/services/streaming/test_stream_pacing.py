"""How much a client is sent at a time follows how fast it reads; the first word waits for nobody."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidegate.services.streaming.pacing import CAP_BYTES, LONGEST_WINDOW_S, SHORTEST_WINDOW_S, Pacer


def after(*chunks: tuple[float, int, float], cap: int = CAP_BYTES) -> tuple[Pacer, float]:
    """A pacer after chunks of (idle seconds before, bytes, seconds until there was room again), and the time."""
    pacer, now_s = Pacer(cap), 100.0
    for idle_s, size, blocked_s in chunks:
        now_s += idle_s
        pacer.sent(size, now_s)
        now_s += blocked_s
        pacer.drained(now_s)
    return pacer, now_s


def test_the_first_chunk_is_one_word_and_never_waits() -> None:
    assert Pacer().size == 1
    assert Pacer().wait_s(0.0, 0, is_whole=False) == 0.0


@pytest.mark.parametrize(
    ("chunks", "size"),
    [
        ([(0, 5, 0)], 256),
        ([(0, 5, 0), (0, 256, 0)], 512),
        ([(0, 5, 0)] + [(0, 256, 0)] * 9, CAP_BYTES),
        ([(0, 5, 0), (0, 256, 1.0)], 9),  # 261 bytes in a second: 9 in a window
        ([(0, 5, 0), (0, 256, 1.0), (0, 9, 0.1)], 3),
        ([(0, 5, 0), (0, 256, 25.6)], 1),
        ([(0, 5, 0), (0, 256, 1.0), (0, 9, 0.0001)], 18),  # room at once: twice as much
        ([(0, 5, 0)] + [(0, 4096, 0)] * 5 + [(0, 4096, 0.1)], 4096),  # a full buffer is not a slow reader
        ([(0, 5, 0), (0, 256, 0), (60, 512, 0.5)], 34),  # a pause of the writer is none of the reader's
    ],
)
def test_a_chunk_is_what_the_client_takes_in_a_window(chunks: list[tuple[float, int, float]], size: int) -> None:
    assert after(*chunks)[0].size == size


@pytest.mark.parametrize(
    ("since_s", "ready", "is_whole", "wait_s"),
    [
        (0.0, 10, False, SHORTEST_WINDOW_S),
        (0.006, 10, False, 0.010),
        (0.016, 10, False, 0.0),
        (5.0, 10, False, 0.0),
        (0.0, 256, False, 0.0),
        (0.0, 10, True, 0.0),
    ],
)
def test_pieces_that_come_close_together_are_sent_together(
    since_s: float, ready: int, is_whole: bool, wait_s: float
) -> None:
    pacer, now_s = after((0, 5, 0))
    assert pacer.wait_s(now_s + since_s, ready, is_whole=is_whole) == pytest.approx(wait_s)


def test_a_slow_client_is_waited_for_longer_but_not_long() -> None:
    pacer, now_s = after((0, 5, 0), (0, 256, 2.0))
    assert pacer.wait_s(now_s, 1, is_whole=False) == pytest.approx(LONGEST_WINDOW_S)


@given(
    chunks=st.lists(st.tuples(st.floats(0, 10), st.integers(0, 10_000), st.floats(0, 10)), max_size=20),
    cap=st.integers(1, 10_000),
    ready=st.integers(0, 10_000),
)
def test_sizes_and_waits_stay_within_their_bounds(chunks: list[tuple[float, int, float]], cap: int, ready: int) -> None:
    pacer, now_s = after(*chunks, cap=cap)
    assert 1 <= pacer.size <= cap
    assert 0.0 <= pacer.wait_s(now_s, ready, is_whole=False) <= LONGEST_WINDOW_S + 1e-9
    assert pacer.wait_s(now_s, ready, is_whole=True) == 0.0


@given(rate=st.floats(50, 1e5), chunks=st.integers(10, 60))
def test_a_steady_reader_gets_what_it_takes_in_a_window(rate: float, chunks: int) -> None:
    pacer, now_s = Pacer(), 0.0
    for _ in range(chunks):
        size = pacer.size
        pacer.sent(size, now_s)
        now_s += size / rate
        pacer.drained(now_s)
    wanted = min(CAP_BYTES, max(1, rate * LONGEST_WINDOW_S))
    assert wanted / 2 - 1 <= pacer.size <= wanted * 2 + 1
