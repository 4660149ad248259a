"""The log of what was shown of one answer: provisional text, commits, a retraction, an end or a withdrawal. Pure.

Next: services/streaming/log_writer.py, which stores its lines; events.py, which turns it into a client's events."""

from __future__ import annotations

import dataclasses
import os.path
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from tidegate.schemas import Committed, Delta, Evidence, Format, Guess, State, TidegateError, replace

RUN_AHEAD_CHARS = 600
WITHDRAWN = 2
"""The epoch of a log that was withdrawn."""
NO_EVIDENCE = Evidence()


WITHDRAWAL = "evidence_only"
"""The reason where it is no refusal that stands in the stead of what was shown, but quotations."""


class CommitConflictError(TidegateError, ValueError):
    """A text that does not continue what is committed for good."""

    hint = "the committed text stays as it is; only a text that begins with it can follow"


class CorruptLogError(TidegateError, ValueError):
    """Lines that are not a log: one is missing, or at the wrong offset."""

    hint = "read the stream again from its first line, or take the text from the published answer"


@dataclasses.dataclass(frozen=True, slots=True)
class AnswerLog:
    """What is shown of one answer, and how much of it is final.

    `show_provisional`, `commit` and `close` return the lines to store; `with_line` is the log once a line is stored.
    None of them changes the log, so that a writer that is overtaken can read it again and ask again.

    `text` is what is shown; its first `committed` characters are final. In epoch 1 nothing provisional is shown any
    more; `kept` characters of epoch 0 were right. In epoch 2 all was withdrawn, for `reason`; `text` is in its stead.
    At most `run_ahead_chars` are shown beyond what is committed. Lines carry token ids where those are known to be
    exactly the tokens of their text. `evidence` is what the committed text rests on, as far as it is known; `is_whole`:
    whoever generates it has finished. `guess` is what was shown as provisional first.
    """

    rid: str
    tenant: str
    run_ahead_chars: int = RUN_AHEAD_CHARS
    text: str = ""
    committed: int = 0
    epoch: int = 0
    kept: int = 0
    is_closed: bool = False
    is_whole: bool = False
    format: Format = "text"
    evidence: Evidence = NO_EVIDENCE
    committed_ids: int | None = 0
    drafted_ids: int | None = 0
    guess: Guess | None = None
    reason: str = ""
    withdrawn: int = 0

    @classmethod
    def from_lines(
        cls, lines: Iterable[Delta], rid: str, tenant: str, run_ahead_chars: int = RUN_AHEAD_CHARS
    ) -> AnswerLog:
        """The log that consists of `lines`. Raises `CorruptLogError`."""
        log = cls(rid, tenant, run_ahead_chars)
        for line in lines:
            log = log.with_line(line)
        return log

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written."""
        return self == AnswerLog(self.rid, self.tenant, self.run_ahead_chars)

    @property
    def committed_part(self) -> Committed:
        """The committed text and what it rests on."""
        text = self.text[: self.committed]
        return Committed(
            text=text,
            evidence=self.evidence,
            is_whole=self.is_whole,
            is_closed=self.is_closed,
            withdrawn=self.withdrawn,
        )

    def show_provisional(self, text: str, ids: Sequence[int] = (), guess: Guess | None = None) -> list[Delta]:
        """Lines that show as much of `text`, a draft so far, as continues what is shown and may run ahead."""
        shown = len(self.text)
        if self.epoch or self.is_closed or not text.startswith(self.text):
            return []
        end = min(len(text), self.committed + self.run_ahead_chars)
        if end < len(text):
            end = 1 + max(text.rfind(gap, shown, end) for gap in " \n")
        if end <= shown:
            return []
        known = ids if end == len(text) else ()
        return [replace(self._line("provisional", shown, text[shown:end], known, self.drafted_ids), guess=guess)]

    def commit(self, text: str, ids: Sequence[int] = ()) -> list[Delta]:
        """Lines that make `text`, the whole answer so far, final; before it, the retraction of what it contradicts.

        None when it is committed already. Raises `CommitConflictError` when it contradicts what is committed.
        """
        return self._commit_lines(text, ids, is_last=False)

    def close(self, text: str) -> list[Delta]:
        """As `commit`, for the last text: nothing follows. No lines when the log ends with this text already."""
        return self._commit_lines(text, (), is_last=True)

    def withdraw(self, text: str, reason: str) -> list[Delta]:
        """The line that takes back all that was shown, committed or not, and ends the log with `text`, even a closed
        one; none where it ends so already. Raises `CommitConflictError` where it was withdrawn for another text."""
        if self.epoch == WITHDRAWN:
            if text == self.text:
                return []
            raise CommitConflictError(f"{self._position} was withdrawn already")
        line = self._line("withdrawn", 0, text, (), None)
        why = reason or WITHDRAWAL
        return [replace(line, epoch=WITHDRAWN, is_last=True, reason=why, withdrawn=self.committed)]

    def restart(self) -> list[Delta]:
        """The first line of a log whose predecessor was lost with its stream. Nobody knows whether what clients show
        is right, so all but what is committed is retracted and nothing provisional follows. No line in epoch 1.
        """
        return [] if self.epoch else [self._retraction(self.committed)]

    def with_line(self, line: Delta) -> AnswerLog:
        """The log with `line` stored. Raises `CorruptLogError` when it cannot be the next one."""
        is_over = self.epoch == WITHDRAWN if line.state == "withdrawn" else self.is_closed
        if is_over or (line.rid, line.tenant) != (self.rid, self.tenant):
            raise CorruptLogError(f"the log has ended, or the {line.state} line is of another request")
        match line.state:
            case "provisional" if line.epoch == self.epoch == 0 and line.offset == len(self.text) and line.text:
                text, ids = self.text + line.text, _tokens_after(line, self.drafted_ids)
                guess = self.guess or line.guess
                return dataclasses.replace(self, text=text, drafted_ids=ids, format=line.format, guess=guess)
            case "retracted" if (self.epoch, line.epoch) == (0, 1) and self.committed <= line.offset <= len(self.text):
                return dataclasses.replace(self, text=self.text[: line.offset], epoch=1, kept=line.offset)
            case "committed" if line.epoch == self.epoch and line.offset == self.committed:
                return self._after_commit(line)
            case "withdrawn" if (line.epoch, line.offset, line.is_last) == (WITHDRAWN, 0, True):
                return self._after_withdrawal(line)
        raise CorruptLogError(f"a {line.state} line at {line.epoch}.{line.offset} does not follow {self._position}")

    def _after_commit(self, line: Delta) -> AnswerLog:
        end, beyond = self.committed + len(line.text), self.text[self.committed + len(line.text) :]
        text = self.text[: self.committed] + line.text
        if self.epoch == 0:  # in epoch 1 a commit ends what is shown: what a killed writer left is written over
            if not (text + beyond).startswith(self.text) or (line.is_last and beyond):
                raise CorruptLogError(
                    f"the commit up to {end} is not what {self._position} shows, and nothing was retracted"
                )
            text += beyond
        return dataclasses.replace(
            self,
            text=text,
            committed=end,
            is_closed=line.is_last,
            is_whole=self.is_whole or line.is_whole,
            format=line.format,
            evidence=line.evidence or self.evidence,
            committed_ids=_tokens_after(line, self.committed_ids),
            drafted_ids=self.drafted_ids if beyond else None,
        )

    def _after_withdrawal(self, line: Delta) -> AnswerLog:
        return dataclasses.replace(
            self,
            text=line.text,
            committed=len(line.text),
            epoch=WITHDRAWN,
            kept=0,
            is_closed=True,
            is_whole=line.is_whole,
            format=line.format,
            evidence=line.evidence or NO_EVIDENCE,
            committed_ids=None,
            drafted_ids=None,
            reason=line.reason,
            withdrawn=line.withdrawn,
        )

    def _commit_lines(self, text: str, ids: Sequence[int], *, is_last: bool) -> list[Delta]:
        final = self.text[: self.committed]
        if self.is_closed or len(text) < self.committed:
            if (text == self.text) if is_last else final.startswith(text):
                return []
            raise CommitConflictError(f"{len(text)} characters do not continue {self._position}")
        if not text.startswith(final):
            raise CommitConflictError(f"{len(text)} characters differ from what is committed in {self._position}")
        if len(text) == self.committed and not is_last:
            return []
        agreed = len(os.path.commonprefix((text, self.text)))  # noqa: RUF071 - characters are what is compared
        is_wrong = agreed < len(self.text) and (is_last or agreed < len(text))
        line = replace(
            self._line("committed", self.committed, text[self.committed :], ids, self.committed_ids),
            epoch=1 if is_wrong else self.epoch,
            is_last=is_last,
        )
        return [self._retraction(agreed), line] if line.epoch > self.epoch else [line]

    def _retraction(self, offset: int) -> Delta:
        return Delta(rid=self.rid, tenant=self.tenant, state="retracted", epoch=1, offset=offset)

    def _line(self, state: State, offset: int, text: str, ids: Sequence[int], before: int | None) -> Delta:
        """A line of this epoch; `before` is how many tokens are before its text, None where that is not known."""
        return Delta(
            rid=self.rid,
            tenant=self.tenant,
            state=state,
            epoch=self.epoch,
            position=before or 0 if ids else 0,
            ids=tuple(ids[before:]) if before is not None else (),
            offset=offset,
            text=text,
        )

    @property
    def _position(self) -> str:
        end = " (its end)" if self.is_closed else ""
        return f"{self.epoch}.{len(self.text)}.{self.committed}{end}"


class LogClosure(NamedTuple):
    """What was shown before a log was closed: how often text was retracted, what was shown as provisional, and how many
    characters that were committed were withdrawn."""

    retractions: int
    guess: Guess | None
    withdrawn: int = 0


def with_evidence(
    lines: Iterable[Delta], evidence: Evidence, format: Format = "text", *, is_whole: bool = True
) -> list[Delta]:
    """The lines with their evidence: what the committed ones rest on, and whether the answer is whole."""
    return [
        replace(line, format=format, evidence=evidence, is_whole=is_whole)
        if line.state in ("committed", "withdrawn")
        else replace(line, format=format)
        for line in lines
    ]


def _tokens_after(line: Delta, before: int | None) -> int | None:
    """How many tokens there are once `line` is stored; None once that is not known."""
    if not line.text:
        return before
    return line.position + len(line.ids) if line.ids else None
