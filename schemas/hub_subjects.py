"""Subjects between the workers of the hub, which no leaf carries: who of them is at an escalation.

Next: subjects.py, which has all others."""

from __future__ import annotations


def claims_of(site: str, key: str, question: str = "*") -> str:
    """Where the hub's workers store which of them is at an escalation. `key` is `<tenant>.<rid>`, `question` the digest
    of what is asked."""
    return f"claims.{site}.{key}.{question}"


def claimant(worker: str) -> str:
    """Where a worker of the hub is asked for the verdict that it is at, by the other workers there."""
    return f"claimant.{worker}"
