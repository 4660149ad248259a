"""A server that fails is left alone for a while, and tried once before it is trusted again."""

from __future__ import annotations

import pytest

from tidegate.schemas import RetryLaterError
from tidegate.services.llm.targets.openai_compatible.circuit_breaker import CircuitBreaker


def test_a_breaker_opens_rests_tries_once_and_closes() -> None:
    now_s = [0.0]
    breaker = CircuitBreaker(failures=2, rest_s=10.0, clock=lambda: now_s[0])

    def fail() -> None:
        with pytest.raises(OSError), breaker.call(OSError):  # noqa: PT011 the error that is thrown in the block
            raise OSError

    fail()
    assert breaker.state == "closed"
    with pytest.raises(ValueError), breaker.call(OSError):  # noqa: PT011 not a failure of the other party
        raise ValueError
    fail()
    assert breaker.state == "open"
    with pytest.raises(RetryLaterError) as raised, breaker.call(OSError):
        pass
    assert raised.value.after_s == 10.0
    now_s[0] = 10.0
    assert breaker.state == "half-open"
    with breaker.call(OSError), pytest.raises(RetryLaterError), breaker.call(OSError):
        pass
    assert breaker.state == "closed"
    fail()
    fail()
    now_s[0] = 20.0
    fail()
    assert breaker.state == "open"
