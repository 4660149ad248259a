"""The command line says of what is cited who signed it, and whether it may be out of date, in the answer's language."""

from __future__ import annotations

import msgspec
import pytest

from tests.services.cli.test_recognised import published
from tests.support.message_parts import CITATION, REPLICATED, SUGGESTION
from tidegate.services.cli.ask import show_answer
from tidegate.services.languages.words import LANGUAGES, load_words, say_source

SIGNER = str(REPLICATED["signer"])


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_citation_names_its_signer_and_its_age(language: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = load_words(language)
    signed = words.signed.replace("{who}", SIGNER)
    stale = msgspec.structs.replace(CITATION, **REPLICATED)
    fresh = msgspec.structs.replace(stale, is_fresh=True)
    suggestion = msgspec.structs.replace(SUGGESTION, signer=SIGNER, is_fresh=False)
    show_answer(published(language, citations=(CITATION, fresh, stale), suggestions=(suggestion,)))
    lines = capsys.readouterr().out.splitlines()
    cited = [line for line in lines if line.startswith("  [payments@0a1b2c3d4e5f]")]
    about = "  [payments@0a1b2c3d4e5f] 10-41"
    assert cited == [about, f"{about}, {signed}", f"{about}, {signed}, {words.stale}"]
    assert any(f", {signed}, {words.stale} [payments]" in line for line in lines)


def test_the_words_of_each_language_are_its_own() -> None:
    shown = {tuple(say_source(language, "hub/1", is_fresh=False)) for language in LANGUAGES}
    assert len(shown) == len(LANGUAGES)
    assert say_source("it", "", is_fresh=True) == []
    assert say_source("it", "hub/1", is_fresh=False) == say_source("en", "hub/1", is_fresh=False)
