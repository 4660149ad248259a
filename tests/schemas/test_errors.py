"""The base of our errors: a code, a reason and a hint, whatever else the error is."""

from __future__ import annotations

import pytest

from tidegate.schemas import RetryLaterError, TidegateError, UnreadableError


class DiskFullError(TidegateError, ConnectionError):
    """A subclass of a built-in error that has ideas of its own about `str`."""

    hint = "make room"


class NoSuchKeyError(DiskFullError, KeyError):
    """Inherits the hint."""


@pytest.mark.parametrize("kind", [DiskFullError, NoSuchKeyError])
def test_an_error_has_its_name_as_code_and_its_reason_as_text(kind: type[TidegateError]) -> None:
    error = kind("no 'room' left")
    assert str(error) == error.reason == "no 'room' left"
    assert error.hint == "make room"
    assert kind("no room", "delete something").hint == "delete something"
    assert isinstance(error, ConnectionError)


def test_the_code_is_the_name_in_snake_case() -> None:
    assert (DiskFullError.code, NoSuchKeyError.code, UnreadableError.code) == ("disk_full", "no_such_key", "unreadable")


def test_a_class_without_a_hint_is_refused() -> None:
    with pytest.raises(TypeError, match="NamelessError has no hint"):

        class NamelessError(TidegateError):
            """Says what, not what to do."""


def test_a_retry_says_when() -> None:
    error = RetryLaterError("not now", 1.5)
    assert (error.after_s, error.code) == (1.5, "retry_later")
