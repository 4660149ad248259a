"""Documents as people write them: any Markdown, HTML inside it, questions with answers. Spans are verbatim."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.corpus import document
from tidegate.services.knowledge.index.chunking import cut_into_chunks, render_unit
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.markdown import find_blocks, find_first_heading, split_cells, strip_markup
from tidegate.services.knowledge.reader.calibration import SHIPPED
from tidegate.services.knowledge.reader.reader import Reader
from tidegate.services.knowledge.reader.unit_reader import UnitReader

SETEXT = """Harebell account
================

The Harebell account costs £3 a month.

Charges abroad
--------------

Paying abroad with Harebell costs 1.5 %.
"""
HTML = """<h2>Campion account</h2>
<table><tr><th>Service</th><th>Fee</th></tr><tr><td>Campion monthly fee</td><td>£2</td></tr>
<tr><td>Campion card <b>replacement</b></td><td>&pound;11</td></tr></table>
<script>alert("steal")</script><style>p { color: red }</style>
<!-- a note of the editor -->
<p>Campion customers need &pound;500 on the account.</p>
<ul><li>A passport</li><li>A <em>recent</em> bill</li></ul>
"""
MARKUP = """The [Teasel account](https://bank.example/teasel) costs **£4** a month and comes with a ~~metal~~ *plastic*
card<br>and `one` free ATM withdrawal a day.[^1] See [the list][fees].

[^1]: Not at airports.

[fees]: https://bank.example/fees
"""
QUESTIONS = """**Q: Can I pay in wet banknotes?**

A: Yes, at the counter of any branch, with proof of identity.

**Q: Is there a fee for wet banknotes?**

A: No.

Q: How long does it take until the money for wet banknotes is on my account?
A: Ten working days.
"""
CODE = """To log in, run:

```sh
vale login --branch quayside
```

> Keep the key
> in a safe place.

1. First
   - nested one
   - [x] nested two

   More about the first.
2. Second

Service | Fee
--- | ---
Draft | £12 \\| €14
"""


def units_of(text: str) -> list[tuple[str, str]]:
    return [(unit.kind, render_unit(text, unit)) for chunk in cut_into_chunks(text) for unit in chunk.units]


def test_an_underlined_heading_is_a_heading_and_never_in_an_answer() -> None:
    assert [chunk.heading for chunk in cut_into_chunks(SETEXT)] == [
        "Harebell account",
        "Harebell account › Charges abroad",
    ]
    assert [words for _, words in units_of(SETEXT)] == [
        "The Harebell account costs £3 a month.",
        "Paying abroad with Harebell costs 1.5 %.",
    ]
    assert find_first_heading(SETEXT) == "Harebell account"


def test_html_is_read_like_markdown_and_its_scripts_are_not_read_at_all() -> None:
    assert {chunk.heading for chunk in cut_into_chunks(HTML)} == {"Campion account"}
    assert units_of(HTML) == [
        ("row", "Campion monthly fee – Fee: £2"),
        ("row", "Campion card replacement – Fee: £11"),
        ("sentence", "Campion customers need £500 on the account."),
        ("item", "A passport"),
        ("item", "A recent bill"),
    ]


def test_an_answer_is_in_plain_words_without_what_was_struck_out() -> None:
    assert units_of(MARKUP) == [
        (
            "sentence",
            "The Teasel account costs £4 a month and comes with a plastic card and one free ATM withdrawal a day.",
        ),
        ("sentence", "See the list."),
        ("sentence", "Not at airports."),
    ]


def test_a_question_in_a_document_is_the_heading_of_its_answer() -> None:
    headings = [chunk.heading for chunk in cut_into_chunks(QUESTIONS)]
    assert headings == [
        "Can I pay in wet banknotes?",
        "Is there a fee for wet banknotes?",
        "How long does it take until the money for wet banknotes is on my account?",
    ]
    assert [words for _, words in units_of(QUESTIONS)] == [
        "Yes, at the counter of any branch, with proof of identity.",
        "No.",
        "Ten working days.",
    ]
    last = "Is this the end?\n\n# Other\n\nText. Is it? It is."
    assert [words for _, words in units_of(last)] == ["Is this the end?", "Text.", "Is it?", "It is."]


def test_code_quotes_lists_in_lists_and_tables_without_edges() -> None:
    assert units_of(CODE) == [
        ("sentence", "To log in, run:"),
        ("sentence", "vale login --branch quayside"),
        ("sentence", "Keep the key in a safe place."),
        ("item", "First"),
        ("item", "nested one"),
        ("item", "nested two"),
        ("sentence", "More about the first."),
        ("item", "Second"),
        ("row", "Draft – Fee: £12 | €14"),
    ]


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_line_ends_of_other_systems_move_no_span(end: str) -> None:
    for text in (SETEXT, HTML, MARKUP, QUESTIONS, CODE):
        other = text.replace("\n", end)
        assert [" ".join(words.split()) for _, words in units_of(other)] == [w for _, w in units_of(text)]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a * b * c, 2*3 and snake_case_name", "a * b * c, 2*3 and snake_case_name"),
        ("if a < b & c > d", "if a < b & c > d"),
        ("![a plan](x.png) of <b>the</b> **branch", "a plan of the branch"),
        ("<https://bank.example> and \\*this\\*", "https://bank.example and *this*"),
        ("Caf&eacute; &#8364;5 &copy;", "Café €5 ©"),
    ],
)
def test_plain_words(text: str, words: str) -> None:
    assert strip_markup(text) == words


def test_a_cell_may_hold_markup() -> None:
    assert split_cells("| **a** | [b](c) | d \\| e |") == ["a", "b", "d | e"]


TAGS = (
    "<table>",
    "<tr>",
    "<td>a",
    "</td>",
    "</tr>",
    "<p>b",
    "</p>",
    "<script>x",
    "</script>",
    "<h1>c",
    "</h1>",
    "<li>d",
)
MARKS = ("> ", "- ", "  ", "```\n", "**", "| e | f |\n", "|---|---|\n", "===\n", "g?", "A: ", "&amp;", "<")
PIECES = st.sampled_from((*TAGS, *MARKS, "\n", "\n\n", "\r\n"))


@settings(max_examples=300, derandomize=True, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join))
def test_whatever_the_markup_spans_are_in_order_and_inside(text: str) -> None:
    last = 0
    for block in find_blocks(text):
        assert last <= block.start <= block.body < block.end <= len(text)
        last = block.end
    for chunk in cut_into_chunks(text):
        assert text[chunk.start : chunk.end].strip()
        for unit in chunk.units:
            assert chunk.start <= unit.start < unit.end <= chunk.end
            render_unit(text, unit)


@pytest.mark.parametrize(
    ("name", "text", "title", "question", "answer"),
    [
        ("setext", SETEXT, "Harebell", "What does paying abroad with Harebell cost?", "1.5 %"),
        ("html", HTML, "Campion", "What does a Campion card replacement cost?", "£11"),
        ("markup", MARKUP, "Teasel account", "What does the Teasel account cost a month?", "costs £4 a month"),
        ("faq", QUESTIONS, "Wet banknotes", "Can I pay in wet banknotes?", "Yes, at the counter"),
    ],
)
def test_the_answer_is_found_and_clean(
    tmp_path: Path, name: str, text: str, title: str, question: str, answer: str
) -> None:
    units = UnitReader.load(Path(".models"))
    embedder = units.embedder
    index = HybridIndex.open(tmp_path / "index", embedder)
    index.upsert([document(name, text, title=title)])
    reader = Reader(units, SHIPPED)
    passages = index.search(question, embedder.embed(question), 4, "en")
    found = reader.rank_spans(question, "en", passages, index).answer
    assert answer in found.text
    assert not {"==", "--", "**", "~~", "](", "<", "&", "Q:"} & {found.text[n : n + 2] for n in range(len(found.text))}
    assert "<" not in found.text
    assert all(check.passed for check in found.checks if check.name == "grounding")


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("### Harbour clinic\n\n# Before the operation\n\nEat nothing.", "Before the operation"),
        ("## Harbour clinic\n\nA word first.\n\n# Before the operation", "Harbour clinic"),
        ("# Harbour clinic\n\n## Before the operation", "Harbour clinic"),
        ("# Harbour clinic\n\n# Before the operation", "Harbour clinic"),
        ("Eat nothing.", ""),
    ],
)
def test_a_higher_heading_right_below_the_first_is_the_title(text: str, title: str) -> None:
    assert find_first_heading(text) == title
