"""The log of what was shown of one answer: provisional text, commits, at most one retraction, an end.

One writer folds it from the lines that are stored, asks it which lines come next, and stores those.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from tidegate.schemas import Committed, Delta, Evidence, Format, Guess, State, changed

RUN_AHEAD_CHARS = 600
NO_EVIDENCE = Evidence()


class Contradiction(ValueError):
    """A text that does not go on from what is committed for ever."""


class Broken(ValueError):
    """Lines that are not a log: one is missing, or stands in the wrong place."""


@dataclass(frozen=True, slots=True)
class Log:
    """What is shown of one answer, and how firmly.

    `provisional`, `commit` and `close` say which lines are to be stored; `after` is the log once a line is. They change
    nothing themselves, so that a writer that is overtaken folds the log again and asks again.

    `text` is what is shown, of which the first `committed` characters stand for ever. In epoch 1 nothing provisional is
    shown any more; `kept` characters of epoch 0 were right. At most `run_ahead_chars` are shown beyond what is
    committed. Lines carry token ids where those are known to be exactly the tokens of their text. `evidence` is what
    the committed text rests on, as far as it is known; `is_whole` says that its speaker has no more to say. `guess` is
    what was shown as provisional first.
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

    @classmethod
    def of(cls, lines: Iterable[Delta], rid: str, tenant: str, run_ahead_chars: int = RUN_AHEAD_CHARS) -> Log:
        """The log that consists of `lines`. Raises `Broken`."""
        log = cls(rid, tenant, run_ahead_chars)
        for line in lines:
            log = log.after(line)
        return log

    @property
    def is_empty(self) -> bool:
        """Whether nothing was ever written."""
        return self == Log(self.rid, self.tenant, self.run_ahead_chars)

    @property
    def standing(self) -> Committed:
        """What is committed of it."""
        text = self.text[: self.committed]
        return Committed(text=text, evidence=self.evidence, is_whole=self.is_whole, is_closed=self.is_closed)

    def provisional(self, text: str, ids: Sequence[int] = (), guess: Guess | None = None) -> list[Delta]:
        """Show as much of `text`, a draft so far, as goes on from what is shown and may run ahead; else nothing."""
        shown = len(self.text)
        if self.epoch or self.is_closed or not text.startswith(self.text):
            return []
        end = min(len(text), self.committed + self.run_ahead_chars)
        if end < len(text):
            end = 1 + max(text.rfind(gap, shown, end) for gap in " \n")
        if end <= shown:
            return []
        known = ids if end == len(text) else ()
        return [changed(self._line("provisional", shown, text[shown:end], known, self.drafted_ids), guess=guess)]

    def commit(self, text: str, ids: Sequence[int] = ()) -> list[Delta]:
        """Make `text`, the whole answer so far, stand for ever; take back first what is shown and is not it.

        Nothing when it stands already. Raises `Contradiction` when it is not what stands.
        """
        return self._stand(text, ids, is_last=False)

    def close(self, text: str, ids: Sequence[int] = ()) -> list[Delta]:
        """As `commit`, for the whole text: nothing follows. Nothing when the log ends with this text already."""
        return self._stand(text, ids, is_last=True)

    def begin_again(self) -> list[Delta]:
        """The first line of a log whose forerunner was lost with its stream: what clients show of that is not vouched
        for, so that all but what is committed is taken back and nothing provisional follows. Nothing in epoch 1.
        """
        return [] if self.epoch else [self._line("retracted", self.committed, epoch=1)]

    def after(self, line: Delta) -> Log:
        """The log with `line` stored. Raises `Broken` when it cannot be the next one."""
        if self.is_closed or (line.rid, line.tenant) != (self.rid, self.tenant):
            raise Broken(f"nothing may follow here, and least of all a {line.state} line")
        match line.state:
            case "provisional" if line.epoch == self.epoch == 0 and line.offset == len(self.text) and line.text:
                text, ids, guess = self.text + line.text, _counted(line, self.drafted_ids), self.guess or line.guess
                return replace(self, text=text, drafted_ids=ids, format=line.format, guess=guess)
            case "retracted" if (self.epoch, line.epoch) == (0, 1) and self.committed <= line.offset <= len(self.text):
                return replace(self, text=self.text[: line.offset], epoch=1, kept=line.offset)
            case "committed" if line.epoch == self.epoch and line.offset == self.committed:
                return self._after_commit(line)
        raise Broken(f"a {line.state} line at {line.epoch}.{line.offset} does not follow {self._place}")

    def _after_commit(self, line: Delta) -> Log:
        end, beyond = self.committed + len(line.text), self.text[self.committed + len(line.text) :]
        text = self.text[: self.committed] + line.text
        if self.epoch == 0:  # in epoch 1 a commit ends what is shown: what a killed writer left is written over
            if not (text + beyond).startswith(self.text) or (line.is_last and beyond):
                raise Broken(f"the commit up to {end} is not what {self._place} shows, and nothing was retracted")
            text += beyond
        return replace(
            self,
            text=text,
            committed=end,
            is_closed=line.is_last,
            is_whole=self.is_whole or line.is_whole,
            format=line.format,
            evidence=line.evidence or self.evidence,
            committed_ids=_counted(line, self.committed_ids),
            drafted_ids=self.drafted_ids if beyond else None,
        )

    def _stand(self, text: str, ids: Sequence[int], *, is_last: bool) -> list[Delta]:
        stands = self.text[: self.committed]
        if self.is_closed or len(text) < self.committed:
            if (text == self.text) if is_last else stands.startswith(text):
                return []
            raise Contradiction(f"{len(text)} characters do not go on from {self._place}")
        if not text.startswith(stands):
            raise Contradiction(f"{len(text)} characters differ from what is committed in {self._place}")
        if len(text) == self.committed and not is_last:
            return []
        agreed = _agreement(text, self.text)
        is_wrong = agreed < len(self.text) and (is_last or agreed < len(text))
        epoch = 1 if is_wrong else self.epoch
        line = self._line("committed", self.committed, text[self.committed :], ids, self.committed_ids, epoch, is_last)
        return [self._line("retracted", agreed, epoch=1), line] if epoch > self.epoch else [line]

    def _line(
        self,
        state: State,
        offset: int,
        text: str = "",
        ids: Sequence[int] = (),
        before: int | None = None,
        epoch: int | None = None,
        is_last: bool = False,
    ) -> Delta:
        return Delta(
            rid=self.rid,
            tenant=self.tenant,
            state=state,
            epoch=self.epoch if epoch is None else epoch,
            position=before or 0 if ids else 0,
            ids=tuple(ids[before:]) if before is not None else (),
            offset=offset,
            text=text,
            is_last=is_last,
        )

    @property
    def _place(self) -> str:
        end = " (its end)" if self.is_closed else ""
        return f"{self.epoch}.{len(self.text)}.{self.committed}{end}"


def resting(
    lines: Iterable[Delta], evidence: Evidence, format: Format = "text", *, is_whole: bool = True
) -> list[Delta]:
    """The lines with what they are about: what the committed ones rest on, and whether their speaker has said all."""
    return [
        changed(line, format=format, evidence=evidence, is_whole=is_whole)
        if line.state == "committed"
        else changed(line, format=format)
        for line in lines
    ]


def _agreement(one: str, other: str) -> int:
    """How many characters both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (a, b) in pairs if a != b), min(len(one), len(other)))


def _counted(line: Delta, before: int | None) -> int | None:
    """How many tokens there are once `line` is stored; None as soon as that is not known."""
    if not line.text:
        return before
    return line.position + len(line.ids) if line.ids else None
