"""How much is read for a question, where, and what that was measured at.

Next: reader.py, which reads so much; unit_reader.py."""

from __future__ import annotations

import msgspec


class Effort(msgspec.Struct, frozen=True):
    """How much is read for a question: at most so many windows, and only where the confidence by retrieval alone lies
    between `hopeless` and `sure`; no further one where what was read gives a confidence of `enough`, nor is one begun
    beside it where that is `likely`, by retrieval alone."""

    windows: int
    hopeless: float
    sure: float
    enough: float = 1.0
    likely: float = 1.0


AT_SITE = Effort(windows=2, hopeless=0.2, sure=0.88, enough=0.8, likely=0.7)
"""Read so far, half of the kiosk's answers began within 67 ms; read up to 0.94, within 78, and from 0.1 to 0.97 within
118, in one run on a slow machine. The price on dev questions: the right unit stands first for 61.0 % and not for 62.7;
of the surest tenth one in 18 is wrong either way. That no second window is read after 0.8 changed nothing in what was
answered of the 542 dev questions, and saved one window in nine; after 0.7 one in six, and 0.8 % more were wrong.
Of the kiosk's 74 questions that are read, 41 of the 46 below 0.7 by retrieval need the second, and 8 of the others."""
AT_HUB = Effort(windows=4, hopeless=0.1, sure=0.97)
"""The hub has the time to read more, and is asked only where a site was unsure."""
