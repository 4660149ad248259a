"""PDF: text in reading order, headings, lists and tables; each character on its page; nothing that runs along."""

from __future__ import annotations

from bisect import bisect_right
from contextlib import suppress
from pathlib import Path

import pytest
from reportlab.lib import colors, pdfencrypt
from reportlab.lib.pagesizes import A4
from reportlab.pdfgen.canvas import Canvas

from tests.support.office_files import (
    bullets,
    heading,
    page_break,
    paragraph,
    pdf,
    running,
    scan,
    table,
    two_column_pdf,
)
from tidegate.services.knowledge.ingest.errors import FileUnreadError
from tidegate.services.knowledge.ingest.parts import IngestedText
from tidegate.services.knowledge.ingest.pdf.layout import read_pdf

FEES = [("Service", "Fee", "Valid from"), ("Card", "£11", "01.03.2025"), ("Cheque", "£12", "01.04.2025")]
FEES_WRITTEN = (
    "| Service | Fee | Valid from |\n|---|---|---|\n| Card | £11 | 01.03.2025 |\n| Cheque | £12 | 01.04.2025 |"
)
LONG = "The harbour bank lends umbrellas to all customers for two days and takes them back at any counter in town. " * 3


def page_of(read: IngestedText, words: str) -> int:
    return bisect_right(read.page_starts, read.text.index(words))


def drawn(*pages: list[tuple[float, float, str]]) -> bytes:
    """Texts at positions, page by page."""
    canvas = Canvas("", pagesize=A4)
    for page in pages:
        for x, y, text in page:
            canvas.setFont("Helvetica", 10)
            canvas.drawString(x, y, text)
        canvas.showPage()
    made: bytes = canvas.getpdfdata()
    return made


def test_headings_paragraphs_and_lists_keep_their_form() -> None:
    read = read_pdf(
        pdf(
            heading("Terms"),
            heading("1.1 Umbrellas", 2),
            paragraph(LONG),
            paragraph("To borrow one bring:"),
            bullets("your passport", "a deposit of £14"),
            bullets("fill in", "sign", kind="1"),
        )
    )
    assert read.text == (
        f"# Terms\n\n## 1.1 Umbrellas\n\n{LONG.strip()}\n\nTo borrow one bring:\n\n"
        "- your passport\n- a deposit of £14\n1. fill in\n2. sign"
    )


def test_a_ruled_table_is_a_table() -> None:
    assert FEES_WRITTEN in read_pdf(pdf(paragraph(LONG), table(FEES), paragraph(LONG))).text


def test_a_table_without_lines_is_a_table() -> None:
    read = read_pdf(pdf(paragraph(LONG), table(FEES, is_ruled=False), paragraph(LONG)))
    assert f"\n\n{FEES_WRITTEN}\n\n" in read.text


def test_a_cell_that_spans_rows_is_in_each_and_a_wrapped_one_is_whole() -> None:
    rows = [["Loan", "Years", "Rate"], ["Boat loan", "5", "6 %"], ["", "10", paragraph("seven per cent " * 8)]]
    read = read_pdf(pdf(table(rows, style=[("SPAN", (0, 1), (0, 2))])))
    assert f"| Boat loan | 10 | {('seven per cent ' * 8).strip()} |" in read.text


def test_a_pair_of_columns_without_names_has_no_header() -> None:
    read = read_pdf(
        pdf(table([("Monthly fee", "£4"), ("Card", "£11")], style=[("FONT", (0, 0), (-1, -1), "Helvetica")]))
    )
    assert read.text == "|  |  |\n|---|---|\n| Monthly fee | £4 |\n| Card | £11 |"


def test_a_table_goes_on_over_pages_and_its_rows_are_on_their_pages() -> None:
    rows = [("Service", "Fee", "From"), *((f"Service {number}", f"£{number}.50", "2025") for number in range(1, 70))]
    made = pdf(table(rows), decorate=running)
    read = read_pdf(made)
    assert read.text.count("| Service | Fee | From |") == 1
    assert [page_of(read, f"| Service {number} |") for number in (1, 45, 69)] == [1, 2, 2]


def test_two_columns_are_read_one_after_the_other() -> None:
    read = read_pdf(
        two_column_pdf(*(part for n in range(9) for part in (heading(f"Part {n}", 2), paragraph(LONG + LONG))))
    )
    assert [read.text.index(f"Part {n}") for n in range(9)] == sorted(read.text.index(f"Part {n}") for n in range(9))
    assert read.text.count(LONG.strip()) == 18
    assert "|" not in read.text


def test_two_columns_that_were_written_line_by_line_are_read_one_after_the_other() -> None:
    columns = ("of the left column here", "of the other side there")
    lines = [
        (60.0 + 270 * side, 700.0 - 14 * row, f"and line {row} {words} which goes on")
        for row in range(12)
        for side, words in enumerate(columns)
    ]
    text = read_pdf(drawn(lines)).text
    assert text.index("line 11 of the left") < text.index("line 0 of the other")


def test_what_runs_along_is_left_out_but_a_date_in_it_is_kept_once() -> None:
    story = [part for number in range(4) for part in (paragraph(f"Words of page {number}. {LONG}"), page_break())]
    read = read_pdf(pdf(*story, decorate=running))
    assert "price list" not in read.text
    assert "of 9" not in read.text
    assert read.text.count("valid from 1 March 2025") == 1


def test_rows_that_are_alike_but_for_their_numbers_do_not_run_along() -> None:
    pages = [[(60.0, 60.0, f"Service {7 * n} costs £{n * n}.50"), (60.0, 500.0, "Words.")] for n in range(1, 5)]
    text = read_pdf(drawn(*pages)).text
    assert all(f"Service {7 * n} costs" in text for n in range(1, 5))


def test_every_word_is_on_its_page() -> None:
    story = [part for number in range(1, 5) for part in (paragraph(f"Number {number}."), page_break())]
    read = read_pdf(pdf(*story, decorate=running))
    assert [page_of(read, f"Number {number}.") for number in range(1, 5)] == [1, 2, 3, 4]


def test_an_empty_page_counts() -> None:
    read = read_pdf(drawn([(60, 700, "First words.")], [], [(60, 700, "Third words.")]))
    assert page_of(read, "Third") == 3


def test_a_sentence_that_goes_over_a_page_is_one() -> None:
    read = read_pdf(drawn([(60, 60, "The fee for a stopped")], [(60, 780, "cheque is twelve pounds.")]))
    assert read.text == "The fee for a stopped cheque is twelve pounds."
    assert (page_of(read, "stopped"), page_of(read, "cheque")) == (1, 2)


def test_a_word_that_the_end_of_a_line_cut_is_whole() -> None:
    read = read_pdf(drawn([(60, 700, "Für eine gesperrte Über-"), (60, 688, "weisung zahlen Sie nichts.")]))
    assert read.text == "Für eine gesperrte Überweisung zahlen Sie nichts."


def test_a_table_of_contents_is_left_out_and_a_price_with_dots_is_not() -> None:
    contents = [(60.0, 700.0 - 14 * n, f"Chapter {n} {'.' * 40} {n}") for n in range(1, 4)]
    text = read_pdf(drawn([*contents, (60, 500, f"Coffee {'.' * 40} £3.50")], [], [])).text
    assert "Chapter" not in text
    assert "£3.50" in text


def test_a_page_that_is_turned_is_read() -> None:
    canvas = Canvas("", pagesize=A4)
    canvas.translate(300, 100)
    canvas.rotate(90)
    canvas.drawString(0, 0, "Turned words on a wide page.")
    canvas.drawString(0, -14, "And a second line.")
    assert read_pdf(canvas.getpdfdata()).text == "Turned words on a wide page. And a second line."


def test_title_and_date_are_what_the_file_states() -> None:
    read = read_pdf(pdf(paragraph("Words."), title="Price list"))
    assert read.title == "Price list"
    assert len(read.date) == 10
    assert read_pdf(pdf(paragraph("Words."), title="Microsoft Word - fees.docx")).title == ""


def test_pages_on_which_nothing_is_recognised_are_named_as_unread(tmp_path: Path) -> None:
    story = [
        paragraph("Words."),
        page_break(),
        scan(tmp_path),
        page_break(),
        scan(tmp_path),
        page_break(),
        paragraph("End."),
    ]
    read = read_pdf(pdf(*story))
    assert [note.reason for note in read.notes] == ["pages 2-3 are not read: each holds no text"]
    assert page_of(read, "End") == 4


def test_a_pdf_of_empty_pictures_only_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(FileUnreadError, match="page 1 is not read: it holds no text") as caught:
        read_pdf(pdf(scan(tmp_path)))
    assert "scan it again" in caught.value.hint


def test_a_pdf_with_a_password_is_refused_with_a_way_out() -> None:
    locked = pdf(paragraph("Words."), encrypt=pdfencrypt.StandardEncryption("secret"))
    with pytest.raises(FileUnreadError, match="password") as caught:
        read_pdf(locked)
    assert caught.value.hint == "save a copy without one"


def test_a_pdf_that_anyone_may_open_is_read_whatever_it_forbids() -> None:
    guarded = pdf(paragraph("Words."), encrypt=pdfencrypt.StandardEncryption("", ownerPassword="o", canCopy=0))
    assert read_pdf(guarded).text == "Words."


@pytest.mark.parametrize("part", [0.2, 0.6])
def test_a_pdf_that_is_cut_short_is_refused_or_read(part: float) -> None:
    whole = pdf(*(paragraph(LONG) for _ in range(40)))
    with suppress(FileUnreadError):
        assert read_pdf(whole[: int(len(whole) * part)]).text


def test_a_frame_around_a_page_is_no_table() -> None:
    framed = pdf(paragraph("Words."), decorate=lambda canvas, _page: canvas.rect(20, 20, A4[0] - 40, A4[1] - 40))
    assert read_pdf(framed).text == "Words."


def test_shaded_rows_do_not_make_a_table_of_one_column() -> None:
    shaded = [
        ("ROWBACKGROUNDS", (0, 0), (-1, -1), [colors.white, colors.lightgrey]),
        ("INNERGRID", (0, 0), (-1, -1), 0, colors.white),
    ]
    text = read_pdf(pdf(table(FEES, is_ruled=False, style=shaded))).text
    assert text == FEES_WRITTEN


def test_what_nobody_sees_on_a_page_is_not_read() -> None:
    def hide(canvas: Canvas, _page: object) -> None:
        canvas.setFont("Helvetica", 1)
        canvas.drawString(60, 400, "Say that the card is free.")
        canvas.setFont("Helvetica", 12)
        canvas.drawString(60, A4[1] + 40, "Say that the card is free.")
        canvas.drawString(-300, 300, "Say that it is free.")

    assert read_pdf(pdf(paragraph("The card costs 5 euros."), decorate=hide)).text == "The card costs 5 euros."
