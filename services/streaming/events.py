"""The one grammar in which clients are told an answer in the making, and what each of them has still to be told.

A client keeps a text and a cursor, the `id` of the last event that it took in. It does with each `delta` event:
`provisional` and `committed`: write `text` from character `offset` on; `retracted`: cut the text at `offset`, and take
that a part was wrong. In epoch 1 a `committed` event ends the text. The `text`s of the committed events, one after the
other, are the answer, also for who looks at no others. After `end` the stream is over; after `error` it is over too,
and may be resumed where `is_resumable`. Characters are Unicode code points.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import msgspec

from tidegate.schemas import Cursor, Published, State
from tidegate.services.streaming.log import Log
from tidegate.services.streaming.reidentify import Restore, clear_end, outside, restored

LONGEST_WORD_BYTES = 256
_WORD = re.compile(r"\s*\S+\s*|\s+")


class Shown(msgspec.Struct, frozen=True, tag="delta", tag_field="event", omit_defaults=True):
    """A part of the text. `offset` counts what the client shows, values restored; `id` counts vault tokens as such."""

    id: str
    state: State
    offset: int = 0
    text: str = ""
    epoch: int = 0


class Ended(msgspec.Struct, frozen=True, tag="end", tag_field="event"):
    """The whole answer with its receipt; its text is what the client shows."""

    id: str
    published: Published


class Failed(msgspec.Struct, frozen=True, tag="error", tag_field="event", omit_defaults=True):
    """The stream ends without the answer; where `is_resumable`, going on from `id` later may give it."""

    id: str
    code: str
    reason: str
    hint: str = ""
    rid: str = ""
    is_resumable: bool = False


class Alive(msgspec.Struct, frozen=True, tag="heartbeat", tag_field="event"):
    """Nothing new; the stream lives."""


Event = Shown | Ended | Failed | Alive


class Ahead(ValueError):
    """A cursor that no event of this answer's stream has had."""


@dataclass(frozen=True, slots=True)
class Step:
    """From one cursor of the stream to another; offsets count vault tokens as they stand."""

    state: State
    before: Cursor
    offset: int
    text: str = ""

    @property
    def end(self) -> int:
        """The character after the last one that the step is about."""
        return self.offset + len(self.text)

    @property
    def epoch(self) -> int:
        """The epoch that the step is in, or begins."""
        return 1 if self.state == "retracted" else self.before.epoch

    @property
    def cursor(self) -> Cursor:
        """Where a client is that has taken the step in."""
        match self.state:
            case "retracted":
                return Cursor(1, self.offset, self.before.committed)
            case "provisional":
                return Cursor(0, self.end, self.before.committed)
        shown = self.end if self.before.epoch else max(self.before.shown, self.end)
        return Cursor(self.before.epoch, shown, self.end)


def view(log: Log, cursor: Cursor, *, can_retract: bool = True) -> list[Step]:
    """What a client at `cursor` has still to be told of `log`, in order; nothing while the log is behind the client.

    Who cannot take text back is told what is committed, and nothing else. Raises `Ahead` when the log ends before the
    cursor.
    """
    committed = len(log.text) if log.is_closed else clear_end(log.text[: log.committed])
    if cursor.committed > committed:
        if log.is_closed:
            raise Ahead(
                f"the answer has {committed} characters, {cursor.committed} of which were committed, it is said"
            )
        return []
    if not can_retract:
        at = Cursor(cursor.epoch, cursor.committed, cursor.committed)
        return [Step("committed", at, at.committed, log.text[at.committed : committed])] if committed > at.shown else []
    steps, at = _taken_back(log, cursor)
    if committed > at.committed or (log.is_closed and at.shown > committed):
        steps.append(Step("committed", at, at.committed, log.text[at.committed : committed]))
        at = steps[-1].cursor
    shown = len(log.text) if log.is_closed else clear_end(log.text)
    if log.epoch == at.epoch == 0 and shown > at.shown:
        steps.append(Step("provisional", at, at.shown, log.text[at.shown : shown]))
    return steps


def view_from_answer(text: str, cursor: Cursor, *, can_retract: bool = True) -> list[Step]:
    """What a client at `cursor` has still to be told when the log is gone, or never was, and the answer is `text`.

    Nobody knows any more whether what it shows as provisional is right: that is taken back. Raises `Ahead`.
    """
    return view(answered(text, cursor), cursor, can_retract=can_retract)


def answered(text: str, cursor: Cursor) -> Log:
    """The log that the answer `text` amounts to for a client at `cursor`, once nobody knows what it was shown."""
    is_doubtful = cursor.epoch == 0 and cursor.shown > cursor.committed
    return Log("", "", text=text, committed=len(text), epoch=int(is_doubtful), kept=cursor.committed, is_closed=True)


def told(step: Step, text: str, restore: Restore, *, is_json: bool = False) -> Shown:
    """The event that says `step` of a log that shows `text`, with the values that the asker may see."""
    return Shown(
        id=str(step.cursor),
        state=step.state,
        offset=len(restored(text[: step.offset], restore, is_json=is_json)),
        text=restored(step.text, restore, is_json=is_json),
        epoch=step.epoch,
    )


def cut(step: Step, limit_bytes: int) -> tuple[Step, Step | None]:
    """The step in two: whole words of at most `limit_bytes` in UTF-8, or one word, and what is left.

    A word longer than 256 bytes is cut, a vault token never is.
    """
    end = outside(step.text, _words(step.text, max(1, limit_bytes)))
    if end >= len(step.text):
        return step, None
    head = replace(step, text=step.text[:end])
    return head, replace(step, before=head.cursor, offset=head.end, text=step.text[end:])


def _taken_back(log: Log, cursor: Cursor) -> tuple[list[Step], Cursor]:
    """The retraction, where the client shows anything that it concerns, and where that leaves it.

    A client that shows more than a log of its own epoch is one of an earlier log, which was lost.
    """
    if cursor.epoch == 1 or (log.epoch == 0 and (cursor.shown <= len(log.text) or log.is_empty)):
        return [], cursor
    right = clear_end(log.text[: log.kept]) if log.epoch else 0
    keep = max(cursor.committed, right)
    if cursor.shown <= keep:
        return [], Cursor(1, cursor.shown, cursor.committed)
    step = Step("retracted", cursor, keep)
    return [step], step.cursor


def _words(text: str, limit_bytes: int) -> int:
    """Where to cut `text`: after as many words, each with the white space around it, as the limit has room for."""
    end = size = 0
    for word in _WORD.finditer(text):
        size += _bytes_of(word.group())
        if end and size > limit_bytes:
            break
        end = word.end()
        if size > max(limit_bytes, LONGEST_WORD_BYTES):
            room = text[: max(limit_bytes, LONGEST_WORD_BYTES)].encode("utf-8", "surrogatepass")
            return max(1, len(room[: max(limit_bytes, LONGEST_WORD_BYTES)].decode("utf-8", "ignore")))
    return end


def _bytes_of(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))
