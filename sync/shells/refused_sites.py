"""Whom the hub tells what it refused a site, so that it is in the audit log; next: services/replication/hub.py."""

from __future__ import annotations

from collections.abc import Callable

from tidegate.schemas.errors import TidegateError

OnRefused = Callable[[str, TidegateError], None]
"""Is given the site, by the subject under which it asked, and the error that it is told; at a site what was offered to
it, and why nothing of it was applied."""


def tell_nobody(_: str, __: TidegateError) -> None:
    """For a hub without an audit log."""
