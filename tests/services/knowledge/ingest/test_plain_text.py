"""Text in the character sets that people have, and delimited text as tables."""

from __future__ import annotations

import codecs

import pytest

from tidegate.services.knowledge.ingest.delimited import find_delimiter, read_delimited
from tidegate.services.knowledge.ingest.text import decode_text, is_binary, read_text

TEXTS = {
    "de": "Die Gebühr für eine gesperrte Überweisung beträgt 12 €.",
    "fr": "Les frais s’élèvent à 12 €. Où êtes-vous allé ? Ça dépend.",
    "es": "¿Cuánto cuesta el año? La comisión es de 12 €.",
    "pt": "Não há comissão; a opção é grátis até às 18 h.",
    "it": "Perché è così? La società è già chiusa.",
    "nl": "De coöperatie heeft één rekening. Kosten: € 12.",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("charset", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32", "cp1252"])
def test_a_text_is_read_in_its_character_set(text: str, charset: str) -> None:
    assert decode_text(text.encode(charset)) == text


def test_polish_text_of_windows_is_no_western_text() -> None:
    text = "Opłata za przelew wynosi dwanaście złotych. Proszę zgłosić się później, zażółć gęślą jaźń."
    assert decode_text(text.encode("cp1250")) == text


def test_a_big_endian_mark_is_honoured() -> None:
    assert decode_text(codecs.BOM_UTF16_BE + "Tür".encode("utf-16-be")) == "Tür"


def test_line_ends_are_one_and_control_characters_none() -> None:
    assert decode_text(b"a\r\nb\rc\x00\x07d") == "a\nb\ncd"


def test_bytes_that_are_no_text_are_told_apart() -> None:
    assert is_binary(bytes(range(256)) * 4)
    assert not is_binary("Grüße, 12 €".encode("cp1252"))
    assert not is_binary("Grüße, 12 €".encode("utf-16-le"))


def test_a_form_feed_begins_a_page() -> None:
    read = read_text(b"first page\n\fsecond page\n\fthird")
    assert [read.text[start:][:5] for start in read.page_starts] == ["first", "secon", "third"]
    assert read_text(b"no pages").page_starts == ()


def test_marks_of_plain_text_are_no_markup() -> None:
    assert read_text(b"5 * 3 * 2 <b>").text == r"5 \* 3 \* 2 \<b>"


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_a_table_is_cut_at_its_own_delimiter(delimiter: str) -> None:
    rows = [("Service", "Fee, yearly"), ("card", "11,50"), ("cheque", "12")]
    text = "\n".join(delimiter.join(f'"{cell}"' if delimiter in cell else cell for cell in row) for row in rows)
    assert find_delimiter(text) == delimiter
    assert read_delimited(text.encode()).text == (
        "| Service | Fee, yearly |\n|---|---|\n| card | 11,50 |\n| cheque | 12 |"
    )


def test_decimal_commas_do_not_cut_a_german_table() -> None:
    read = read_delimited("Leistung;Preis\nKarte;11,50 €\nScheck;12,00 €\n".encode("cp1252"))
    assert read.text.splitlines()[2:] == ["| Karte | 11,50 € |", "| Scheck | 12,00 € |"]


def test_a_title_above_a_table_and_empty_rows_and_columns_are_no_cells() -> None:
    read = read_delimited(b"Price list 2025,,\n,,\nService,,Fee\ncard,,4\n,,\nOld,,Fee\ncheque,,5\n")
    assert read.text == (
        "Price list 2025\n\n| Service | Fee |\n|---|---|\n| card | 4 |\n\n| Old | Fee |\n|---|---|\n| cheque | 5 |"
    )
