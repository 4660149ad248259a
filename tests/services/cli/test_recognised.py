"""The command line says of a citation that its text was recognised in a picture, in the language of the answer."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from tests.support.message_parts import ANSWER, CITATION, PLAN, QUESTION, RECEIPT, SUGGESTION, WHOSE
from tidegate.schemas import Drafted, Published
from tidegate.services.cli.ask import show_answer
from tidegate.services.cli.evidence import summarise_fact
from tidegate.services.languages.words import LANGUAGES, load_words, say_recognised

RECOGNISED = msgspec.structs.replace(CITATION, page=3, is_recognised=True)


def published(language: str, **fields: Any) -> Published:
    about: dict[str, Any] = {
        "outcome": "answered",
        "text": "Kostenlos.",
        "language": language,
        "receipt": RECEIPT,
        **fields,
    }
    return Published(**WHOSE, **about)


@pytest.mark.parametrize("language", LANGUAGES)
def test_an_answer_is_shown_with_what_was_recognised(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = load_words(language).recognised
    suggestion = msgspec.structs.replace(SUGGESTION, page=4, is_recognised=True)
    show_answer(published(language, citations=(CITATION, RECOGNISED), suggestions=(SUGGESTION, suggestion)))
    lines = capsys.readouterr().out.splitlines()
    assert f"  [payments@0a1b2c3d4e5f] page 3, {words}" in lines
    assert "  [payments@0a1b2c3d4e5f] 10-41" in lines
    assert sum(words in line for line in lines) == 2
    assert any(f", page 4, {words} [payments]" in line for line in lines)


def test_the_words_of_each_language_are_its_own_and_another_language_reads_english() -> None:
    assert len({say_recognised(language) for language in LANGUAGES}) == len(LANGUAGES)
    assert say_recognised("it") == say_recognised("") == say_recognised("en")


def test_the_trace_of_a_request_says_it_in_the_facts_that_carry_an_answer() -> None:
    recognised = msgspec.structs.replace(ANSWER, citations=(CITATION, RECOGNISED))
    for answer, is_said in ((ANSWER, False), (recognised, True)):
        drafted = msgspec.to_builtins(Drafted(**WHOSE, question=QUESTION, plan=PLAN, answer=answer))
        shown = msgspec.to_builtins(published("fr", citations=answer.citations))
        assert (f"({say_recognised(QUESTION.language)})" in summarise_fact(drafted)) is is_said
        assert (f"({say_recognised('fr')})" in summarise_fact(shown)) is is_said
