"""Adds what the shipped safety head says of a text to what the pack's own intents say.

Next: services/knowledge/safety_head.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

from tidegate.schemas.vault_token import read_kinds
from tidegate.services.knowledge.reader.together import NOBODY, Helpers
from tidegate.services.knowledge.safety_head import SafetyEstimate, SafetyHead, relate
from tidegate.services.stages.prefilter.encodings import decode_hidden
from tidegate.services.stages.prefilter.handler import DetectedLanguage, IntentEstimate
from tidegate.services.stages.prefilter.replies import ReplyThresholds, VerdictEstimate

Classify = Callable[[str], IntentEstimate]
SplitText = Callable[[str], Sequence[str]]
ShareOdds = Callable[[float, int], float]
AGREED = 0.1
"""Chosen on messages that the head had not seen: with it the kiosk's intents find 19 of 289 unsafe ones more, and
withhold 4 of 302 hard_harmless and 2 of 278 harmless more; without it, 58 and 7."""
CHATTING = 0.95
"""What small talk takes: a question that goes on from the last one looks much like it."""
WINDOW_WORDS = 80
"""About the 128 tokens that the head reads at once."""


class SafetyTier:
    """The head with what it needs to read a text in parts and to be held against the site's thresholds."""

    def __init__(
        self,
        head: SafetyHead,
        thresholds: ReplyThresholds,
        detect: Callable[[str, str], DetectedLanguage],
        split: SplitText,
        spread: ShareOdds,
        helpers: Helpers = NOBODY,
    ) -> None:
        self._head = head
        self._thresholds = thresholds
        self._detect = detect
        self._split = split
        self._spread = spread
        self._helpers = helpers
        self.version = head.version

    async def classify(self, classify: Classify, text: str) -> IntentEstimate:
        """The pack's estimate with the head's beside it, for each verdict the larger of the two.

        An operating point of the head is where the site's threshold is; a text of several parts is no small talk. What
        the pack's intents alone take for unsafe or for distress counts where the head is at least `AGREED`: they know
        topics better than intentions.

        Both begin with the same layers, which are run once; then the head is run beside the rest where a processor is
        idle. Neither is changed by what runs beside it.
        """
        return await asyncio.to_thread(self._classify, classify, text)

    def _classify(self, classify: Classify, text: str) -> IntentEstimate:
        self._head.begin(split_windows(self._split(read_kinds(text))[0])[0])
        estimate, found = self._helpers.run_both(partial(classify, text), partial(self.judge, text))
        unsafe = _agree(estimate.unsafe, found.unsafe, self._thresholds.unsafe)
        distress = _agree(estimate.distress.probability, found.distress, self._thresholds.distress)
        chatting = _placed(relate(found.smalltalk, CHATTING), self._thresholds.smalltalk)
        smalltalk = max(estimate.smalltalk.probability, chatting)
        return estimate._replace(
            unsafe=unsafe,
            distress=VerdictEstimate(estimate.distress.intent or "distress", distress),
            smalltalk=VerdictEstimate(estimate.smalltalk.intent or "smalltalk", smalltalk),
        )

    def judge(self, text: str) -> SafetyEstimate:
        """As a whole, in windows where it is long, and by the worst of its parts, at its language's operating points.

        As a whole is how messages were trained and measured; parts find what a harmless opening would hide, and what is
        written in an encoding is read in plain. Of a vault token its kind is read: with its digits, of which no message
        of the training has any, a harmless question was unsafe by .03 or by .39, as they fell.
        """
        text = read_kinds(text)
        parts = self._split(text)
        windows = split_windows(parts[0])
        language = self._detect(text, "").code
        unsafe = distress = smalltalk = 0.0
        for group in filter(None, (windows, parts[1:], decode_hidden(text))):
            judged = [self._head.judge(part, language) for part in group]
            unsafe = max(unsafe, self._spread(max(each.unsafe for each in judged), len(group)))
            distress = max(distress, self._spread(max(each.distress for each in judged), len(group)))
            smalltalk = judged[0].smalltalk if len(parts) == 1 else 0.0
        return SafetyEstimate(unsafe, distress, smalltalk)


def split_windows(text: str) -> list[str]:
    """The text in windows of `WINDOW_WORDS` that overlap by a third; a short one is its only window."""
    words = text.split()
    step = WINDOW_WORDS * 2 // 3
    starts = range(0, max(1, len(words) - WINDOW_WORDS + step), step)
    return [" ".join(words[start : start + WINDOW_WORDS]) for start in starts]


def _agree(of_pack: float, of_head: float, threshold: float) -> float:
    """The larger probability, the pack's only where the head agrees; what is not a number stays none."""
    placed = _placed(of_head, threshold)
    if of_pack <= placed or (of_pack >= threshold and of_head < AGREED):
        return placed
    return of_pack


def _placed(probability: float, threshold: float) -> float:
    """Where a half becomes the threshold; a threshold of 0 or 1 is one that nothing or everything passes as it is."""
    return relate(probability, 1 - threshold) if 0 < threshold < 1 else probability
