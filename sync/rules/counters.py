"""Judges an author's operations by its counter, its boots and their chain: the next, a duplicate, a hole, or a clone.

What an actor wrote is one history: a second one under its name is found out, whichever machine writes it.
Next: replica.py, which fences; merge.py, for what was written in that one history."""

from __future__ import annotations

from typing import Literal

import msgspec

from tidegate.schemas.errors import TidegateError
from tidegate.schemas.sync import AuthorMark, BootStart
from tidegate.sync.rules.merge import Version

MOST_BOOTS = 256
"""Starts of an author that a mark remembers."""
CounterJudgement = Literal["next", "duplicate", "hole", "went-back", "forked"]


class CounterError(TidegateError):
    """An author's operation is not the next of its history, and not a known one: it is not applied."""

    hint = "a hole is filled from the author's stream; a counter that went back fences the author"


class AuthorHoleError(CounterError):
    """Operations of the author are missing before this one."""

    hint = "fetch what is missing from the author's stream; if it is not there, provision the author anew"


class CounterWentBackError(CounterError):
    """The author has two histories: its disk was cloned, or a backup of it was restored."""

    hint = "the author is fenced: `tidegate site add` provisions it anew, as its next incarnation"


class CountedEvent(msgspec.Struct, frozen=True, kw_only=True):
    """Whatever an actor counts: an operation, or an attestation. `previous` is the digest of the event before it."""

    actor: str
    counter: int
    boot_id: str
    digest: str
    previous: str = ""


def event_of(what: Version | CountedEvent) -> CountedEvent:
    """The event that an operation is; an event is itself."""
    if isinstance(what, CountedEvent):
        return what
    operation = what.operation
    return CountedEvent(
        actor=operation.dot.actor,
        counter=operation.dot.counter,
        boot_id=operation.boot_id,
        digest=what.digest,
        previous=operation.previous,
    )


def judge(mark: AuthorMark | None, what: Version | CountedEvent, is_whole: bool = True) -> CounterJudgement:
    """What an event is, after what is known of its actor (None: nothing).

    `is_whole`: the reader gets every operation of the author's stream, as the hub does, so that the chain of digests
    must have no hole; a site gets those of its collections alone, and asks only that the counter does not go back.
    `went-back`: a boot that is new writes a counter that is known: a backup was restored. `forked`: a boot returns
    after another, or two operations follow one, or one counter has two contents: two machines write. What is older than
    the boots that are remembered is a duplicate: a backup as old is found by `next_counter`.
    """
    event = event_of(what)
    if mark is None:
        return "hole" if is_whole and event.previous else "next"
    if event.counter <= mark.counter:
        return _judge_known(mark, event)
    if event.boot_id != mark.boots[-1].boot_id and any(boot.boot_id == event.boot_id for boot in mark.boots):
        return "forked"
    if is_whole and event.previous != mark.digest:
        return "forked" if event.previous == mark.previous else "hole"
    return "next"


def observe(mark: AuthorMark | None, what: Version | CountedEvent, is_whole: bool = True) -> AuthorMark:
    """The mark after an event that is `next`, or a `duplicate` (then it is the same mark).

    Raises `AuthorHoleError` for a hole, `CounterWentBackError` where the author has two histories.
    """
    event = event_of(what)
    judgement, known = judge(mark, event, is_whole), mark.counter if mark else 0
    if judgement == "hole":
        raise AuthorHoleError(f"operations of {event.actor} between {known} and {event.counter} are missing")
    if judgement in ("went-back", "forked"):
        how = "a restored backup" if judgement == "went-back" else "a second machine"
        raise CounterWentBackError(f"{event.actor}:{event.counter} of boot {event.boot_id} comes after {known}: {how}")
    if judgement == "duplicate" and mark is not None:
        return mark
    boots = mark.boots if mark else ()
    if not boots or boots[-1].boot_id != event.boot_id:
        boots = (*boots, BootStart(event.boot_id, event.counter))[-MOST_BOOTS:]
    return AuthorMark(counter=event.counter, digest=event.digest, previous=mark.digest if mark else "", boots=boots)


class OwnCounter(msgspec.Struct, frozen=True, kw_only=True):
    """An author's own counter: what it has stored of itself, before it writes."""

    boot_id: str
    counter: int = 0


def next_counter(stored: OwnCounter, mark: AuthorMark | None) -> int:
    """The counter of the author's next operation. `mark` is what the hub last acknowledged of this author, if known.

    The author stores it before it sends the operation. Raises `CounterWentBackError` where the hub knows more than the
    author: its own disk is older than what it has written.
    """
    if mark is not None and mark.counter > stored.counter:
        raise CounterWentBackError(
            f"the hub knows {mark.counter} operations of this site, which knows {stored.counter}"
        )
    return stored.counter + 1


def _judge_known(mark: AuthorMark, event: CountedEvent) -> CounterJudgement:
    if event.counter == mark.counter and event.digest != mark.digest:
        return "forked" if event.boot_id == mark.boots[-1].boot_id else "went-back"
    writers = [boot.boot_id for boot in mark.boots if boot.first <= event.counter]
    if not writers or writers[-1] == event.boot_id:
        return "duplicate"
    is_known = any(boot.boot_id == event.boot_id for boot in mark.boots)
    return "forked" if is_known else "went-back"
