"""The events of an answer's stream, and which of them a client at a given cursor has still to receive. Pure.

Next: services/gateway/client_stream.py, which sends them."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

import msgspec

from tidegate.schemas import Cursor, Format, Published, State, TidegateError
from tidegate.schemas.vault_token import complete_length, next_boundary
from tidegate.services.streaming.log import WITHDRAWN, AnswerLog
from tidegate.services.streaming.reidentify import ValueOf, reidentify_text

LONGEST_WORD_BYTES = 256
_WORD = re.compile(r"\s*\S+\s*|\s+")


class DeltaEvent(msgspec.Struct, frozen=True, tag="delta", tag_field="event", omit_defaults=True):
    """A part of the text. `offset` counts what the client shows, values put back; `id` counts vault tokens as such.
    `reason` is the code for which text was withdrawn."""

    id: str
    state: State
    offset: int = 0
    text: str = ""
    epoch: int = 0
    format: Format = "text"
    reason: str = ""


class EndEvent(msgspec.Struct, frozen=True, tag="end", tag_field="event"):
    """The whole answer with its receipt; its text is what the client shows, unless that was withdrawn from a client
    that can take nothing back: then `withdrawn_chars` of the receipt are not 0, and it was sent nothing more."""

    id: str
    published: Published


class ErrorEvent(msgspec.Struct, frozen=True, tag="error", tag_field="event", omit_defaults=True):
    """The stream ends without the answer; where `is_resumable`, resuming from `id` later may give it."""

    id: str
    code: str
    reason: str
    hint: str = ""
    rid: str = ""
    is_resumable: bool = False


class HeartbeatEvent(msgspec.Struct, frozen=True, tag="heartbeat", tag_field="event"):
    """Nothing new; the stream is alive."""


Event = DeltaEvent | EndEvent | ErrorEvent | HeartbeatEvent
"""A client keeps a text and a cursor, the `id` of the last event that it took in. It does with each `delta` event:
`provisional` and `committed`: write `text` from character `offset` on; `retracted`: cut the text at `offset`;
`withdrawn`: cut it there, whatever was committed, and write `text`. From epoch 1 on a `committed` event ends the text.
Where nothing was withdrawn, the `text`s of the committed events, one after the other, are the answer, also for
a client that ignores all others. After `end` the stream is over; after `error` it is over too, and may be resumed where
`is_resumable`. Characters are Unicode code points.
"""


class CursorAheadError(TidegateError, ValueError):
    """A cursor that no event of this answer's stream has had."""

    hint = "send the `id` of the last event that you have, or leave it out"


@dataclass(frozen=True, slots=True)
class StreamStep:
    """From one cursor of the stream to another; offsets count vault tokens as tokens."""

    state: State
    before: Cursor
    offset: int
    text: str = ""

    @property
    def end(self) -> int:
        """The offset after the step's last character."""
        return self.offset + len(self.text)

    @property
    def epoch(self) -> int:
        """The epoch of the step, or the one that it begins."""
        return {"retracted": 1, "withdrawn": WITHDRAWN}.get(self.state, self.before.epoch)

    @property
    def cursor(self) -> Cursor:
        """The cursor of a client that has applied the step."""
        match self.state:
            case "retracted":
                return Cursor(1, self.offset, self.before.committed)
            case "withdrawn":
                return Cursor(WITHDRAWN, self.end, self.end)
            case "provisional":
                return Cursor(0, self.end, self.before.committed)
        shown = self.end if self.before.epoch else max(self.before.shown, self.end)
        return Cursor(self.before.epoch, shown, self.end)


def pending_steps(log: AnswerLog, cursor: Cursor, *, can_retract: bool = True) -> list[StreamStep]:
    """The steps of `log` that a client at `cursor` has still to receive, in order; none while the log is behind it.

    A client that cannot retract receives what is committed, and nothing else. Raises `CursorAheadError` when the log
    ends before the cursor.
    """
    if log.epoch == WITHDRAWN:
        return _withdrawal(log, cursor, can_retract=can_retract)
    if cursor.epoch == WITHDRAWN:
        if log.is_closed:
            raise CursorAheadError("nothing of the answer was withdrawn")
        return []
    committed = len(log.text) if log.is_closed else complete_length(log.text[: log.committed])
    if cursor.committed > committed:
        if log.is_closed:
            raise CursorAheadError(
                f"the answer has {committed} characters; the cursor claims that {cursor.committed} were committed"
            )
        return []
    if not can_retract:
        at = Cursor(cursor.epoch, cursor.committed, cursor.committed)
        text = log.text[at.committed : committed]
        return [StreamStep("committed", at, at.committed, text)] if text else []
    steps, at = _retraction(log, cursor)
    if committed > at.committed or (log.is_closed and at.shown > committed):
        steps.append(StreamStep("committed", at, at.committed, log.text[at.committed : committed]))
        at = steps[-1].cursor
    shown = len(log.text) if log.is_closed else complete_length(log.text)
    if log.epoch == at.epoch == 0 and shown > at.shown:
        steps.append(StreamStep("provisional", at, at.shown, log.text[at.shown : shown]))
    return steps


def log_of_answer(text: str, cursor: Cursor) -> AnswerLog:
    """The log that the answer `text` amounts to for a client at `cursor`, once the log itself is lost.

    Nobody knows any more whether what the client shows as provisional is right, so that is retracted.
    """
    is_doubtful = cursor.epoch == 0 and cursor.shown > cursor.committed
    return AnswerLog(
        "", "", text=text, committed=len(text), epoch=int(is_doubtful), kept=cursor.committed, is_closed=True
    )


def render_event(
    step: StreamStep, text: str, value_of: ValueOf, *, is_json: bool = False, reason: str = ""
) -> DeltaEvent:
    """The event for `step` of a log that shows `text`, with the values that the asker may see; `reason`: the log's."""
    return DeltaEvent(
        id=str(step.cursor),
        state=step.state,
        offset=len(reidentify_text(text[: step.offset], value_of, is_json=is_json)),
        text=reidentify_text(step.text, value_of, is_json=is_json),
        epoch=step.epoch,
        format="json" if is_json else "text",
        reason=reason if step.state == "withdrawn" else "",
    )


def split_step(step: StreamStep, limit_bytes: int) -> tuple[StreamStep, StreamStep | None]:
    """The step in two: whole words of at most `limit_bytes` in UTF-8, or one word; then the rest, if any.

    A word longer than 256 bytes is split, a vault token never is.
    """
    end = next_boundary(step.text, _words_end(step.text, max(1, limit_bytes)))
    if end >= len(step.text):
        return step, None
    head = replace(step, text=step.text[:end])
    return head, replace(step, before=head.cursor, offset=head.end, text=step.text[end:])


def _retraction(log: AnswerLog, cursor: Cursor) -> tuple[list[StreamStep], Cursor]:
    """The retraction, where the client shows anything that it concerns, and where that leaves it.

    A client that shows more than a log of its own epoch is one of an earlier log, which was lost.
    """
    if cursor.epoch == 1 or (log.epoch == 0 and (cursor.shown <= len(log.text) or log.is_empty)):
        return [], cursor
    right = complete_length(log.text[: log.kept]) if log.epoch else 0
    keep = max(cursor.committed, right)
    if cursor.shown <= keep:
        return [], Cursor(1, cursor.shown, cursor.committed)
    step = StreamStep("retracted", cursor, keep)
    return [step], step.cursor


def _withdrawal(log: AnswerLog, cursor: Cursor, *, can_retract: bool) -> list[StreamStep]:
    """What stands in the stead of all that was shown; nothing more for a client that shows some and cannot retract."""
    if cursor.epoch == WITHDRAWN or not (cursor.shown or cursor.committed):
        at = Cursor(WITHDRAWN, cursor.committed, cursor.committed)
        if at.committed > len(log.text):
            raise CursorAheadError(f"the answer has {len(log.text)} characters, not {at.committed}")
        rest = log.text[at.committed :]
        return [StreamStep("committed", at, at.committed, rest)] if rest else []
    return [StreamStep("withdrawn", cursor, 0, log.text)] if can_retract else []


def _words_end(text: str, limit_bytes: int) -> int:
    """Where to split `text`: after as many words, each with the white space around it, as fit the limit."""
    end = size = 0
    longest = max(limit_bytes, LONGEST_WORD_BYTES)
    for word in _WORD.finditer(text):
        size += len(word.group().encode("utf-8", "surrogatepass"))
        if end and size > limit_bytes:
            break
        end = word.end()
        if size > longest:
            room = text[:longest].encode("utf-8", "surrogatepass")
            return max(1, len(room[:longest].decode("utf-8", "ignore")))
    return end
