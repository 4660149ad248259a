"""Questions that nobody has asked before: those of a pack, each in many wordings that ask for the same.

A cache can so help neither side. Next: litellm_gateway.py.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loadtests.bench.measure import MeasurementError

OPENINGS = (
    "",
    "Hello, ",
    "Good morning. ",
    "Good afternoon. ",
    "Excuse me, ",
    "A question: ",
    "Please tell me: ",
    "I would like to know: ",
    "Could you help me? ",
    "Hi, ",
    "Sorry to bother you. ",
    "One more thing: ",
)
CLOSINGS = (
    "",
    " Thank you.",
    " Thanks!",
    " Please.",
    " Many thanks.",
    " Thanks a lot.",
    " Kind regards.",
    " Thanks in advance.",
)


class Wordings(Iterator[str]):
    """Texts of the questions, none of them twice; the questions as they stand come first.

    Raises `MeasurementError` where none is left: what is asked twice would be another measurement.
    """

    def __init__(self, questions: Sequence[str], skipped: int = 0) -> None:
        """Of which the first `skipped` have been asked already."""
        self._questions = tuple(questions)
        self._taken = skipped

    @property
    def count(self) -> int:
        """How many there are in all."""
        return len(self._questions) * len(OPENINGS) * len(CLOSINGS)

    def __next__(self) -> str:
        if self._taken >= self.count:
            raise MeasurementError(f"all {self.count} wordings of {len(self._questions)} questions have been asked")
        wording, question = divmod(self._taken, len(self._questions))
        closing, opening = divmod(wording, len(OPENINGS))
        self._taken += 1
        return f"{OPENINGS[opening]}{self._questions[question]}{CLOSINGS[closing]}"
