"""The language of a text is told, also of a short one, and another language is not taken for one of the site's."""

from __future__ import annotations

import pytest

from tidegate.services.stages.prefilter.handler import DetectedLanguage
from tidegate.services.stages.prefilter.language import LanguageModel

LANGUAGES = ("en", "de", "fr", "es")


@pytest.fixture(scope="module")
def language() -> LanguageModel:
    return LanguageModel(LANGUAGES)


@pytest.mark.parametrize(
    ("text", "hint", "expected"),
    [
        ("What are your opening hours on Saturday?", "", ("en", True)),
        ("How do I block my card?", "", ("en", True)),
        ("Can I pay by instalments?", "", ("en", True)),
        ("Wie kann ich meine Karte sperren?", "", ("de", True)),
        ("Öffnungszeiten Samstag", "", ("de", True)),
        ("Comment bloquer ma carte ?", "", ("fr", True)),
        ("horaires d'ouverture samedi", "", ("fr", True)),
        ("¿Cómo bloqueo mi tarjeta?", "", ("es", True)),
        ("quiero abrir una cuenta", "", ("es", True)),
        ("Quali sono gli orari di apertura?", "", ("it", False)),
        ("Come posso bloccare la mia carta?", "", ("it", False)),
        ("Jak zablokować kartę?", "", ("pl", False)),
        ("Kartımı nasıl bloke ederim?", "", ("tr", False)),
        ("Quais são os horários?", "", ("pt", False)),
        ("Hoe kan ik mijn kaart blokkeren?", "", ("nl", False)),
        ("Как заблокировать карту?", "", ("ru", False)),
        ("如何冻结我的银行卡？", "", ("zh", False)),
        ("营业时间", "", ("zh", False)),
        ("كيف أحظر بطاقتي؟", "", ("ar", False)),
        ("ok?", "", ("en", True)),
        ("Konto", "", ("en", True)),
        ("Konto", "de", ("de", True)),
        ("Konto", "de-CH", ("de", True)),
        ("What are your opening hours?", "xx", ("en", True)),
        ("24/7 ???", "", ("en", True)),
        ("<NAME_0123456789ab> <EMAIL_0123456789ab> sperren Sie bitte meine Karte", "", ("de", True)),
        ("<NAME_0123456789ab> <EMAIL_0123456789ab> ?", "", ("en", True)),
    ],
)
def test_the_language_is_detected_and_another_one_is_not_taken_for_ours(
    language: LanguageModel, text: str, hint: str, expected: tuple[str, bool]
) -> None:
    assert tuple(language.detect(text, hint)) == expected


def test_a_vault_token_has_no_language(language: LanguageModel) -> None:
    german = LanguageModel(("de", "en"))
    token = "<ACCOUNT_deadbeefdead>"
    assert german.detect(f"{token} {token} help") == DetectedLanguage("de", True), "four letters: the first language"
    assert language.detect(f"{token} {token} help") == DetectedLanguage("en", True)


def test_a_site_speaks_the_languages_of_its_settings() -> None:
    italian, other = LanguageModel(("it", "ru")), LanguageModel(LANGUAGES)
    assert italian.detect("Quali sono gli orari di apertura?") == DetectedLanguage("it", True)
    assert italian.detect("Как заблокировать карту?") == DetectedLanguage("ru", True)
    assert italian.detect("What are your opening hours on Saturday?") == DetectedLanguage("en", False)
    assert italian.version != other.version
    welsh, _ = LanguageModel(("cy",)), LanguageModel(LANGUAGES)
    assert welsh.detect("Rydw i wedi colli fy ngherdyn banc") == DetectedLanguage("cy", True), (
        "each site's model is its own"
    )
    with pytest.raises(ValueError, match="qq"):
        LanguageModel(("qq",))
