"""The two things that a handler may raise on purpose."""

from __future__ import annotations


class Reject(Exception):
    """This message can never succeed: bury it, with this reason."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class Later(Exception):
    """Not now: deliver it again after `after_s` seconds, for as long as the stage has tries left."""

    def __init__(self, reason: str, after_s: float) -> None:
        super().__init__(reason)
        self.reason = reason
        self.after_s = after_s
