"""The base of every error that we raise on purpose, and the three that a handler or a reader of the wire may raise.

An error has a code for machines, a reason and a hint for people; next: schemas/refusals.py, what a client gets."""

from __future__ import annotations

import re


class TidegateError(Exception):
    """Something that we foresaw went wrong: `str` gives the reason, `hint` says what to do about it.

    The docstring of a subclass is its meaning. It states its `hint`, or inherits one; its `code` is its name in snake
    case without `Error`, unless it states another.
    """

    code: str
    reason: str
    hint: str

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if not getattr(cls, "hint", ""):
            raise TypeError(f"{cls.__name__} has no hint: say in the class what whoever reads it can do")
        if "code" not in vars(cls):
            cls.code = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__.removesuffix("Error")).lower()

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint or type(self).hint

    def __str__(self) -> str:
        return self.reason


class RejectError(TidegateError):
    """This message can never succeed: it is dead-lettered with this reason."""

    hint = "send the request anew; the dead letter keeps the message as it was"


class RetryLaterError(TidegateError):
    """Not now: deliver it again after `after_s` seconds, for as long as the stage has attempts left."""

    hint = "nothing needs doing: it is tried again by itself"

    def __init__(self, reason: str, after_s: float, hint: str = "") -> None:
        super().__init__(reason, hint)
        self.after_s = after_s


class UnreadableError(TidegateError, ValueError):
    """The bytes are not a message that the reader knows."""

    hint = "both sides must run versions that know this type of message"
