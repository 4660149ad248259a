"""When to try again, and what a dead letter states: decisions as tables."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tidegate.brokers.base import UnreachableError
from tidegate.brokers.dead_letters import MAX_REASON_CHARS, dead_letter_headers, describe_reason
from tidegate.brokers.memory.consumer import matches
from tidegate.brokers.stage import Retry
from tidegate.schemas import RejectError, RetryLaterError, UnreadableError

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def highest(_low: float, high: float) -> float:
    return high


@pytest.mark.parametrize(
    ("error", "attempt", "delay_s"),
    [
        (OSError(), 1, 0.4),
        (OSError(), 2, 0.8),
        (OSError(), 3, 1.6),
        (OSError(), 4, 2.0),  # the cap
        (OSError(), 5, None),  # exhausted
        (OSError(), 6, None),
        (TimeoutError(), 1, 0.4),
        (ValueError(), 1, 0.4),
        (UnreachableError("gone"), 1, 0.4),
        (RetryLaterError("no link", 7.5), 1, 7.5),
        (RetryLaterError("no link", 7.5), 4, 7.5),
        (RetryLaterError("no link", 7.5), 5, None),
        (RejectError("never"), 1, None),
        (UnreadableError("what?"), 1, None),
    ],
)
def test_a_retry_is_a_value(error: Exception, attempt: int, delay_s: float | None) -> None:
    retry = Retry(attempts=5, base_s=0.2, cap_s=2.0, jitter=highest)
    assert retry.delay_s(error, attempt) == delay_s


def test_a_delay_is_drawn_from_the_whole_range() -> None:
    asked: list[tuple[float, float]] = []

    def jitter(low: float, high: float) -> float:
        asked.append((low, high))
        return 0.123

    assert Retry(jitter=jitter).delay_s(OSError(), 1) == 0.123
    assert asked == [(0.0, 0.4)]


def raised(error: Exception) -> Exception:
    try:
        raise error
    except Exception as caught:  # noqa: BLE001 - it has a traceback now
        return caught


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (RejectError("no such schema"), "RejectError: no such schema"),
        (RetryLaterError("no link", 1.0), "RetryLaterError: no link"),
        (UnreadableError("expected `str` - at `$.rid`"), "UnreadableError: expected `str` - at `$.rid`"),
        (RejectError("two\r\nlines\tand a tab"), "RejectError: two lines and a tab"),
        (RejectError("caf\u00e9 \u2014 \x00\x1b"), "RejectError: caf? ? ??"),
        (RejectError("x" * 600), "RejectError: " + "x" * 487),
        (FileNotFoundError(2, "No such file or directory"), "FileNotFoundError: [Errno 2] No such file or directory"),
        (UnreachableError("nobody answers on ask"), "UnreachableError: nobody answers on ask"),
        (ValueError("invalid literal: '4111 1111'"), "ValueError at an unknown line"),
    ],
)
def test_the_reason_of_a_dead_letter_is_one_ascii_line_that_quotes_nobody(error: Exception, reason: str) -> None:
    assert describe_reason(error) == reason
    assert len(reason) <= MAX_REASON_CHARS


@pytest.mark.parametrize("error", [ValueError("4111 1111"), TimeoutError(), KeyError("john")])
def test_an_error_that_may_quote_is_known_by_its_place(error: Exception) -> None:
    reason = describe_reason(raised(error))
    assert reason.startswith(f"{type(error).__name__} at test_retry.py:")


def test_the_same_delivery_dead_lettered_again_has_the_same_id() -> None:
    delivery: Any = SimpleNamespace(
        id="q1",
        subject="asks.kiosk.r1",
        position="ASKS:42",
        attempt=3,
        stored_at_s=1.5,
        headers={"traceparent": PARENT},
    )
    assert dead_letter_headers(delivery, "router", "site1", RejectError("no")) == {
        "Nats-Msg-Id": "q1.router.dead.42",
        "Dead-Stage": "router",
        "Dead-Site": "site1",
        "Dead-Reason": "RejectError: no",
        "Dead-Subject": "asks.kiosk.r1",
        "Dead-Attempt": "3",
        "Dead-Id": "q1",
        "Dead-Stored-At": "1.500",
        "traceparent": PARENT,
    }


@pytest.mark.parametrize(
    ("pattern", "subject", "covers"),
    [
        ("asks.>", "asks.kiosk.r1", True),
        ("asks.>", "asks.kiosk", True),
        ("asks.>", "asks", False),
        ("asks.>", "asksome.kiosk", False),
        ("pipe.*.routed.*", "pipe.kiosk.routed.r1", True),
        ("pipe.*.routed.*", "pipe.kiosk.routed", False),
        ("pipe.*.routed.*", "pipe.kiosk.routed.r1.x", False),
        ("pipe.*.routed.*", "pipe.kiosk.drafted.r1", False),
        ("ask", "ask", True),
        ("ask", "asks", False),
        (">", "anything.at.all", True),
    ],
)
def test_the_twin_reads_patterns_as_the_server_does(pattern: str, subject: str, covers: bool) -> None:
    assert matches(pattern, subject) is covers
