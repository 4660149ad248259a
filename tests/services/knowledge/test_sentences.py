"""Where sentences end, in eight languages: never at an abbreviation, an initial or an ordinal."""

from __future__ import annotations

import re

import msgspec
import pytest

from tidegate.services.knowledge.index.sentences import split_sentences
from tidegate.services.languages.prose import PROSE_LANGUAGES, load_prose


def split(text: str) -> list[str]:
    return [text[start:end] for start, end in split_sentences(text, 0, len(text))]


@pytest.mark.parametrize(
    "sentences",
    [
        (
            "The Arnica bond matures in approx. 5 yrs. (i.e. on 30.09.2031).",
            "Interest of 3.25 % p.a. is paid on Dec. 31 by Dr. Oetzel Trust Ltd.",
            "Minimum is USD 10,000.00.",
        ),
        ("The answer is no.", "Ask J. K. Rowling, not St. Nick.", "It opens at 9.", "Closed on 31 Dec. 2025."),
        ("Die Filiale öffnet am 1. Januar um 9 Uhr.", "Das kostet z. B. 5 € inkl. MwSt.", "Siehe Abs. 2 Nr. 3."),
        ("Bitte kommen Sie bis zum 3. Tag in den 2. Stock.", "Danach schließt Fr. Dr. Amsel um 9.", "Ende."),
        ("M. Dupont et Mme. Roy restent env. 2 h.", "Il coûte 5 € (p. ex. en espèces).", "Voir art. 5."),
        ("La Sra. Gómez atiende de 9 a. m. a 2 p. m.", "El resto, etc.", "Así es.", "Llame al tel. 123."),
        ("Il sig. Rossi e la dott.ssa Verdi ricevono ecc.", "Il costo è di ca. 5 euro.", "Vedi art. 3."),
        ("O Sr. Silva atende no n. 5.", "Custa p. ex. 3 €, etc.", "Obrigado."),
        ("Dhr. Jansen kost bijv. 5 euro p.j. per lid, zie art. 3.", "De rest enz.", "Dank."),
        ("Biuro przy ul. Długiej jest czynne np. do godz. 17.", "Opłata to 5 tys. zł.", "Dr. Nowak itd.", "Koniec."),
    ],
)
def test_a_text_is_split_at_the_ends_of_its_sentences_only(sentences: tuple[str, ...]) -> None:
    assert split(" ".join(sentences)) == list(sentences)


@pytest.mark.parametrize("language", PROSE_LANGUAGES)
def test_every_language_has_all_words_and_none_of_its_patterns_matches_everything(language: str) -> None:
    words = msgspec.to_builtins(load_prose(language))
    words |= words.pop("validity")
    assert all(value for name, value in words.items() if name != "ordinal_leads")
    for value in words.values():
        for pattern in value if isinstance(value, list | tuple) else ():
            assert re.compile(pattern, re.IGNORECASE).fullmatch("") is None
    assert all(f"{{{name}}}" in words["part_shown"] for name in ("shown", "total", "title"))
