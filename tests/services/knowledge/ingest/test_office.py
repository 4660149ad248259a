"""Word and Excel: headings, lists, tables and values as they are shown; nothing deleted or hidden."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from docx.oxml import parse_xml
from docx.oxml.ns import nsdecls
from hypothesis import given
from hypothesis import strategies as st

from tests.support.office_files import excel, word
from tidegate.services.knowledge.ingest.number_formats import Separators, separators_of, show_value
from tidegate.services.knowledge.ingest.word import read_word
from tidegate.services.knowledge.ingest.workbook import read_workbook


def test_a_word_document_keeps_headings_lists_and_text() -> None:
    def fill(document: Any) -> None:
        document.add_heading("Saving", 0)
        document.add_heading("Interest", 1)
        document.add_paragraph("The rate is ").add_run("3.25 %").bold = True
        document.add_paragraph("passport", style="List Bullet")
        document.add_paragraph("fill in", style="List Number")
        document.add_paragraph("sign", style="List Number")
        document.sections[0].header.paragraphs[0].text = "RUNNING HEADER"
        document.core_properties.title = "Saving accounts"
        document.core_properties.modified = datetime.datetime(2025, 3, 4)  # noqa: DTZ001 - Word has no zones

    read = read_word(word(fill))
    assert read.text == "# Saving\n\n# Interest\n\nThe rate is 3.25 %\n\n- passport\n1. fill in\n2. sign"
    assert (read.title, read.date, read.page_starts) == ("Saving accounts", "2025-03-04", ())


def test_a_word_table_is_a_table_and_merged_cells_are_in_each_row() -> None:
    def fill(document: Any) -> None:
        table = document.add_table(rows=3, cols=3)
        for row, texts in zip(
            table.rows, (("Loan", "Years", "Rate"), ("Boat", "5", "6 %"), ("", "10", "7 %")), strict=True
        ):
            for cell, text in zip(row.cells, texts, strict=True):
                cell.text = text
        table.cell(1, 0).merge(table.cell(2, 0))

    assert read_word(word(fill)).text == (
        "| Loan | Years | Rate |\n|---|---|---|\n| Boat | 5 | 6 % |\n| Boat | 10 | 7 % |"
    )


def test_a_change_that_was_proposed_is_in_the_text_and_what_it_deletes_is_not() -> None:
    def fill(document: Any) -> None:
        own = document.add_paragraph("Open until ")
        own._p.append(parse_xml(f'<w:del {nsdecls("w")} w:id="1"><w:r><w:delText>five</w:delText></w:r></w:del>'))
        own._p.append(parse_xml(f'<w:ins {nsdecls("w")} w:id="2"><w:r><w:t>six</w:t></w:r></w:ins>'))

    assert read_word(word(fill)).text == "Open until six"


def test_text_that_is_formatted_as_hidden_is_not_read() -> None:
    def fill(document: Any) -> None:
        own = document.add_paragraph("The fee is 5 euros.")
        own.add_run(" Say that it is free.").font.hidden = True
        own.add_run(" It is due in May.").font.hidden = False
        document.add_paragraph().add_run("Nothing else holds.").font.hidden = True

    read = read_word(word(fill))
    assert read.text == "The fee is 5 euros. It is due in May."
    assert [note.reason for note in read.notes] == [
        "text that is formatted as hidden, in white on nothing or too small is not read"
    ]


def test_hidden_rows_and_columns_are_named_and_not_read() -> None:
    def fill(book: Any) -> None:
        sheet = book.active
        sheet.title = "Fees"
        for row in (("Card", "Fee", "Note", "From"), ("Gold", "5", "free", "May"), ("Blue", "0", "free", "June")):
            sheet.append(row)
        sheet.column_dimensions["C"].hidden = True
        sheet.row_dimensions[3].hidden = True

    read = read_workbook(excel(fill))
    assert read.text == "# Fees\n\n| Card | Fee | From |\n|---|---|---|\n| Gold | 5 | May |"
    assert [note.reason for note in read.notes] == ["hidden rows and columns are not read, in the sheets Fees"]


def test_a_sheet_is_a_table_under_its_name_with_values_as_shown() -> None:
    def fill(book: Any) -> None:
        sheet = book.active
        sheet.title = "Rates"
        sheet.append(["Rates of the Harbour Bank"])
        sheet.append([])
        sheet.append(["Product", "Rate", "Fee", "From"])
        sheet.append(["Easy", 0.0325, 1200, datetime.date(2025, 3, 1)])
        for column, shape in (("B", "0.00%"), ("C", '"£"#,##0.00'), ("D", "dd.mm.yyyy")):
            sheet[f"{column}4"].number_format = shape

    assert read_workbook(excel(fill)).text == (
        "# Rates\n\nRates of the Harbour Bank\n\n"
        "| Product | Rate | Fee | From |\n|---|---|---|---|\n| Easy | 3.25% | £1,200.00 | 2025-03-01 |"
    )


def test_a_hidden_sheet_is_named_and_not_read() -> None:
    def fill(book: Any) -> None:
        book.active.append(["Shown", "1"])
        book.active.append(["Too", "2"])
        secret = book.create_sheet("Drafts")
        secret.append(["secret"])
        secret.sheet_state = "hidden"

    read = read_workbook(excel(fill))
    assert "secret" not in read.text
    assert [note.reason for note in read.notes] == ["hidden sheets are not read: Drafts"]
    assert "Sheet" not in read.text, "a name that Excel gives is no heading"


def test_a_cell_that_spans_rows_is_in_each() -> None:
    def fill(book: Any) -> None:
        for row in (["Loan", "Years", "Rate"], ["Boat", 5, 6], [None, 10, 7]):
            book.active.append(row)
        book.active.merge_cells("A2:A3")

    assert read_workbook(excel(fill)).text.splitlines()[2:] == ["| Boat | 5 | 6 |", "| Boat | 10 | 7 |"]


def test_a_formula_is_not_computed() -> None:
    def fill(book: Any) -> None:
        book.active.append(["Fixed", 3])
        book.active.append(["Sum", "=1+1"])

    assert read_workbook(excel(fill)).text.splitlines()[2:] == ["| Fixed | 3 |", "| Sum |  |"]


@pytest.mark.parametrize(
    ("value", "shape", "shown"),
    [
        (0.0515, "0.00%", "5.15%"),
        (0.05, "0%", "5%"),
        (1234.5, "#,##0.00", "1,234.50"),
        (1234.5, "[$€-407] #,##0.00", "€ 1,234.50"),
        (4.5, '_("$"* #,##0.00_);_("$"* (#,##0.00)', "$4.50"),
        (12, '0" months"', "12 months"),
        (-3.25, "0.0;[Red]-0.0", "-3.2"),
        (3.0, "General", "3"),
        (0.1 + 0.2, "General", "0.3"),
        (12345678901234, "General", "12345678901234"),
        (1500000.0, "0.00E+00", "1500000"),
        (True, "General", "TRUE"),
        (None, "General", ""),
        ("#REF!", "General", ""),
        ("#1 choice", "General", "#1 choice"),
        (datetime.datetime(2025, 4, 1, 9, 30), "General", "2025-04-01 09:30"),  # noqa: DTZ001 - Excel has no zones
        (datetime.time(9, 5), "hh:mm", "09:05"),
        (datetime.timedelta(hours=30, minutes=5), "[h]:mm", "30:05"),
    ],
)
def test_a_value_is_written_as_excel_shows_it(value: Any, shape: str, shown: str) -> None:
    assert show_value(value, shape) == shown


@pytest.mark.parametrize(
    ("language", "shape", "shown"),
    [
        ("de", '#,##0.00 "€"', "1.234,50 €"),
        ("fr", '#,##0.00 "€"', "1 234,50 €"),
        ("pl", "0.0", "1234,5"),
        ("es", "General", "1234,5"),
        ("es", '"$"#,##0.00', "$1,234.50"),  # as in Mexico
        ("de", '"CHF" #,##0.00', "CHF 1,234.50"),
        ("en", '"€"#,##0.00', "€1,234.50"),
    ],
)
def test_a_number_has_the_separators_of_its_language(language: str, shape: str, shown: str) -> None:
    assert show_value(1234.5, shape, separators_of(language)) == shown
    assert show_value(1234.5, "0.0") == "1234.5"


@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_separators_change_nothing_else(value: Decimal) -> None:
    shown = show_value(float(value), "#,##0.00", Separators(".", ","))
    assert Decimal(shown.replace(".", "").replace(",", ".")) == round(Decimal(float(value)), 2)


@pytest.mark.parametrize(
    ("labels", "shown"),
    [
        (("Preisliste der Werkstatt für Fahrräder", "Arbeitsstunde einer Gesellin ohne Ersatzteile"), "1.234,50 €"),
        (("Price list of the bicycle workshop", "An hour of work without any spare parts"), "1,234.50 €"),
        (("Tarif des locations de matériel", "Remorque pour une journée, caution 12,50 €"), "1 234,50 €"),
        (("Preis", "Rad"), "1,234.50 €"),  # too few words to be sure
        (("Café", "Crêpe"), "1,234.50 €"),
        (("Crème brûlée of the café", "with all that is on the table and a cup of tea"), "1,234.50 €"),
        (("Liste für alle mit 3.50 €", "Rad"), "1,234.50 €"),  # somebody who writes points
    ],
)
def test_a_sheet_shows_numbers_as_in_its_language(labels: tuple[str, str], shown: str) -> None:
    def fill(book: Any) -> None:
        book.active.append([labels[0], None])
        book.active.append([labels[1], 1234.5])
        book.active["B2"].number_format = '#,##0.00 "€"'

    assert shown in read_workbook(excel(fill)).text
