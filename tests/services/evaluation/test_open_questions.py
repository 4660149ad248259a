"""Open questions: what was asked and not answered, by meaning, without a value of the vault."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.escalation_site import question
from tests.support.paths import MODELS
from tests.support.table_passages import RELATED
from tidegate.schemas import Published, Receipt, replace
from tidegate.services.evaluation.open_questions import OpenQuestion, group_questions, name_kinds, open_question
from tidegate.services.knowledge.embedding import Embedder


def published(outcome: str = "abstained", reason: str = "abstained") -> Published:
    receipt = Receipt(site="site1", route="edge", plan=None, lineage=(), citations=(), decisions=())
    whose: dict[str, Any] = {"rid": "r1", "tenant": "kiosk", "site": "site1", "asked_at_ms": 1, "deadline_at_ms": 2}
    fields: dict[str, Any] = {"outcome": outcome, "reason": reason, "text": "Sorry.", "receipt": receipt}
    return Published(**whose, **fields, suggestions=RELATED)


def asked(text: str, at_s: float = 1.0, **fields: Any) -> OpenQuestion:
    return OpenQuestion(text=text, **{"language": "en", "reason": "abstained", "at_s": at_s, **fields})


def test_personal_values_are_named_by_their_kind_alone() -> None:
    of = question("Is <NAME_0123456789ab> in,\n or <IBAN_0123456789ab>?")
    found = open_question(published(), of, 7.0)
    assert found is not None
    assert found.text == "Is [name] in, or [iban]?" == name_kinds(of.text)
    assert (found.at_s, found.nearest, found.reason) == (7.0, RELATED, "abstained")


@pytest.mark.parametrize(
    ("outcome", "reason", "is_open"),
    [
        ("abstained", "abstained", True),
        ("abstained", "cloud_unreachable", True),
        ("abstained", "unclear", True),
        ("abstained", "deadline", False),
        ("withheld", "unsafe", False),
        ("withheld", "policy_block", False),
        ("answered", "", False),
    ],
)
def test_only_what_documents_could_answer_is_an_open_question(outcome: str, reason: str, is_open: bool) -> None:
    assert (open_question(published(outcome, reason), question("What?"), 1.0) is not None) is is_open


def test_one_meaning_is_one_line_and_the_most_frequent_comes_first() -> None:
    coins = [asked("Do you exchange foreign coins?", at, nearest=RELATED) for at in (2.0, 5.0)]
    other = asked("Are foreign coins exchanged by you?", 9.0, reason="cloud_unreachable")
    german = asked("do you exchange foreign coins", 1.0, language="de")
    parking = asked("Where can I park my bicycle?", 3.0)
    embed = Embedder.load(MODELS).embed
    first, second = group_questions([parking, *coins, other, german], embed)
    assert (first.text, first.asked, first.other_wordings) == (
        "Do you exchange foreign coins?",
        4,
        ("Are foreign coins exchanged by you?",),
    )
    assert (first.languages, first.reasons) == (("en", "de"), {"abstained": 3, "cloud_unreachable": 1})
    assert (first.first_at_s, first.last_at_s) == (1.0, 9.0)
    assert [(each.document_id, each.score) for each in first.nearest] == [("coins", 0.7), ("fees", 0.4)]
    assert (second.text, second.asked, second.nearest) == ("Where can I park my bicycle?", 1, ())


def test_the_embedding_tells_one_meaning_from_two() -> None:
    """Holds `SAME_FROM` against the embedding that is shipped."""
    embed = Embedder.load(MODELS).embed
    alike = ("How much is a parking permit for residents?", "What does a resident's parking permit cost?")
    others = ("How do I report a pothole?", "When does the swimming pool open?", "What does a new passport cost?")
    assert len(group_questions([*map(asked, alike)], embed)) == 1
    assert len(group_questions([asked(alike[0]), *map(asked, others)], embed)) == 4


def test_without_an_embedding_the_wording_alone_counts() -> None:
    found = group_questions([asked("Coins?"), asked("coins"), asked("Notes?")], None)
    assert [(group.text, group.asked) for group in found] == [("Coins?", 2), ("Notes?", 1)]
    assert group_questions([], None) == []


def test_a_newer_wording_breaks_a_tie() -> None:
    older, newer = asked("Coins?", 1.0), replace(asked("Notes?"), at_s=2.0)
    assert [group.text for group in group_questions([older, newer], None)] == ["Notes?", "Coins?"]
