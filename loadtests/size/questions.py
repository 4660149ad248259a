"""Questions of which no two are the same, made of those of a pack: an answer that is remembered costs nothing."""

from __future__ import annotations

from collections.abc import Sequence

from tidegate.schemas import Asked
from tidegate.schemas.pack import LabelledQuestion
from tidegate.services.evaluation.load_clients import LoadQuestions

OPENINGS = (
    "", "Hello.", "Good morning.", "Good afternoon.", "Excuse me.", "Hi there.", "A question, please.",
    "I have a question.", "One thing I wonder about.", "Could you help me?", "I am new here.", "I was in last week.",
    "My neighbour asked me this.", "I could not find this on the page.", "We talked about it at home.",
    "It is not urgent.",
)  # fmt: skip
CLOSINGS = (
    "", "Thank you.", "Thanks a lot.", "Many thanks.", "Please be brief.", "I would like to know.", "It would help me.",
    "Thanks in advance.", "Please tell me.", "That is all.", "I am curious.", "Thank you very much.",
    "I appreciate it.", "No hurry.", "Have a nice day.", "I am grateful for any answer.",
)  # fmt: skip


class UniqueQuestions(LoadQuestions, frozen=True):
    """The texts in turn, each time said otherwise; `prefix` begins the ids of the requests."""

    prefix: str = "soak"

    def asked(self, number: int) -> Asked:
        """The request of this number, under an id that is known."""
        return Asked(
            tenant=self.tenant,
            text=vary_question(self.texts, number),
            rid=self.rid_of(number),
            budget_ms=self.budget_ms,
        )

    def rid_of(self, number: int) -> str:
        """The id of the request of this number."""
        return f"{self.prefix}-{number}"


def vary_question(texts: Sequence[str], number: int) -> str:
    """The text that is asked as this number, from 0 on: another one for each, where no two texts are alike. Pure."""
    variant, which = divmod(number, len(texts))
    variant, opening = divmod(variant, len(OPENINGS))
    more, closing = divmod(variant, len(CLOSINGS))
    parts = (OPENINGS[opening], texts[which], CLOSINGS[closing], f"({more + 1})" if more else "")
    return " ".join(filter(None, parts))


def pick_texts(questions: Sequence[LabelledQuestion]) -> tuple[str, ...]:
    """Those of a pack that may stand between sentences in English, as they are asked, each once."""
    fitting = [each.text for each in questions if each.language == "en" and each.workload == "assist"]
    return tuple(dict.fromkeys(fitting))
