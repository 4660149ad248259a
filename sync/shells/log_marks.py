"""Where in a stream the entries of a collection's log are: a few known positions, kept as the stream is read.

Every answer is a sequence to read on from, at or before what is looked for; a wrong one is never given, as the stream
is written in the order of the log. Next: corpus_log.py, which asks."""

from __future__ import annotations

from bisect import bisect_right, insort

from tidegate.schemas.sync import LogPosition

MOST_MARKS = 512


class LogMarks:
    """Known entries of one log: their positions, and the sequences under which they are stored."""

    def __init__(self) -> None:
        self._marks: list[tuple[LogPosition, int]] = []

    def note(self, position: LogPosition, sequence: int) -> None:
        """Remember where an entry is. Of too many every second one is forgotten, but for the last."""
        at = bisect_right(self._marks, (position, sequence))
        if at and self._marks[at - 1] == (position, sequence):
            return
        insort(self._marks, (position, sequence))
        if len(self._marks) > MOST_MARKS:
            self._marks = [*self._marks[:-1:2], self._marks[-1]]

    def around(self, position: LogPosition) -> tuple[LogPosition, int, int]:
        """The last known entry at or before `position`, with its sequence, and the sequence of the first known one
        behind it; 0 where none is known."""
        at = bisect_right(self._marks, position, key=lambda mark: mark[0])
        before, sequence = self._marks[at - 1] if at else (LogPosition(1), 0)
        return before, sequence, self._marks[at][1] if at < len(self._marks) else 0

    def clear(self) -> None:
        """Forget all of it: the stream was made anew."""
        self._marks.clear()
