"""HTML: its content and nothing around it, its tables whole, nothing of a script."""

from __future__ import annotations

import pytest

from tidegate.services.knowledge.ingest.html import convert_html, read_html

AROUND = """<!doctype html><html><head><meta charset="utf-8"><title>Fees | Harbour Bank</title>
<meta property="article:modified_time" content="2025-03-04T10:00:00Z"><script>evil()</script><style>p{}</style></head>
<body><div class="cookieConsent"><p>We use cookies.</p><button>Accept</button></div>
<header><a href="/">Harbour</a></header><nav><a href="/a">Accounts</a></nav>
<div id="x1"><ul><li><a href="/1">Loans</a></li><li><a href="/2">Cards</a></li><li><a href="/3">Help</a></li></ul></div>
%s
<aside>Best savings of the year</aside><footer><p>© Harbour Bank</p></footer><script>more()</script></body></html>"""


def markdown(body: str) -> str:
    return read_html((AROUND % body).encode()).text


def test_what_surrounds_the_content_is_left_out() -> None:
    assert markdown("<h1>Notice</h1><p>Closed on <b>3 June</b>, 5&nbsp;%.</p>") == "# Notice\n\nClosed on 3 June, 5 %."


def test_the_title_and_the_date_of_the_page_are_kept() -> None:
    read = read_html((AROUND % "<p>Words.</p>").encode())
    assert (read.title, read.date) == ("Fees", "2025-03-04")


@pytest.mark.parametrize(
    "hidden",
    [
        "<p hidden>{}</p>",
        "<p style='display: none'>{}</p>",
        "<p aria-hidden=true>{}</p>",
        "<p aria-hidden=TRUE>{}</p>",
        "<p style='DISPLAY:\tNone !important'>{}</p>",
        "<p style='color:red;/*x*/display:none'>{}</p>",
        "<div style='visibility:collapse'><p style='opacity:0'>{}</p></div>",
        "<p style='opacity:0.01'>{}</p>",
        "<span style='font-size:0'>{}</span>",
        "<span style='font-size:1px'>{}</span>",
        "<p style='position:absolute; left:-9999px'>{}</p>",
        "<p style='text-indent:-999em'>{}</p>",
        "<p style='clip: rect(0,0,0,0)'>{}</p>",
        "<p style='clip-path:inset(100%)'>{}</p>",
        "<p style='color:transparent'>{}</p>",
        "<p style='color:rgba(0, 0, 0, 0)'>{}</p>",
        "<div style='height:0;overflow:hidden'>{}</div>",
        "<noscript>{}</noscript>",
        "<template>{}</template>",
        "<script type=text/template>{}</script>",
        "<div class='site-footer'>{}</div>",
        "<div role=dialog>{}</div>",
        "<del>{}</del>",
        "<!-- {} -->",
    ],
)
def test_what_a_visitor_does_not_read_is_not_read(hidden: str) -> None:
    assert markdown(f"<h1>A</h1><p>Words.</p>{hidden.format('zzz')}") == "# A\n\nWords."


@pytest.mark.parametrize(
    "style",
    [
        "display:block", "opacity:1", "opacity:0.9", "font-size:12px", "font-size:0.9em", "font-size:100%",
        "left:-10px", "color:#000000", "color:rgba(0,0,0,0.8)", "height:0", "overflow:hidden;height:40px",
        "text-indent:-2em", "margin-left:-15px", "overflow:hidden", "clip:rect(0,100px,50px,0)",
        "background:transparent", "width:100%",
    ],
)  # fmt: skip
def test_what_a_visitor_reads_is_read_however_it_is_styled(style: str) -> None:
    assert markdown(f"<h1>A</h1><p>Words.</p><p style='{style}'>zzz</p>") == "# A\n\nWords.\n\nzzz"


def test_what_is_hidden_in_an_odd_way_is_named() -> None:
    page = "<p>Words.</p><p style='display:none'>menu</p><p style='opacity:0'>zzz</p><p style='opacity:0'> </p>"
    assert [note.reason for note in read_html((AROUND % page).encode()).notes] == [
        "text that the page hides by its style is not read, in 1 places"
    ]


def test_characters_that_nobody_sees_are_left_out() -> None:
    tags = "".join(chr(0xE0000 + ord(letter)) for letter in "free")
    assert markdown(f"<p>The fee is \u202e5\u202c euros\u2060.{tags}</p>") == "The fee is 5 euros."


def test_a_table_keeps_its_rows_and_a_cell_of_several_rows_is_in_each() -> None:
    table = (
        "<table><caption>Loans</caption><tr><th>Kind</th><th>Years</th><th>Rate</th></tr>"
        "<tr><td rowspan=2>Boat</td><td>5<td>6.1 %<tr><td>10<td>6.<b>9</b> %</table>"
    )
    assert markdown(table) == (
        "Loans\n\n| Kind | Years | Rate |\n|---|---|---|\n| Boat | 5 | 6.1 % |\n| Boat | 10 | 6.9 % |"
    )


def test_a_table_that_only_lays_out_the_page_is_text() -> None:
    layout = "<table><tr><td><h2>Left</h2><p>Words.</p></td></tr></table>"
    assert markdown(layout) == "## Left\n\nWords."


def test_a_heading_of_two_columns_names_both() -> None:
    rows = "<tr><th>Kind</th><th colspan=2>Fee</th></tr><tr><td>a</td><td>1</td><td>2</td></tr>"
    assert markdown(f"<table>{rows}</table>").startswith("| Kind | Fee | Fee |")


def test_lists_questions_and_definitions_keep_their_form() -> None:
    body = (
        "<ul><li>Bring a <i>pass</i>port.</li><li>Fill in:<ol start=3><li>form A</li><li>form B</li></ol></li></ul>"
        "<details><summary>Is it free?</summary><p>Yes.</p></details><dl><dt>APR</dt><dd>5.1 %</dd></dl>"
    )
    assert markdown(body) == (
        "- Bring a passport.\n- Fill in:\n   3. form A\n   4. form B\n\n"
        "###### Is it free?\n\nYes.\n\n###### APR\n\n5.1 %"
    )


def test_the_content_that_a_page_names_is_taken() -> None:
    assert (
        markdown(f"<div>Chat with us</div><main><p>{'Long words. ' * 9}</p></main>")
        == "Long words. " * 8 + "Long words."
    )


@pytest.mark.parametrize("charset", ["iso-8859-1", "windows-1252", "utf-8"])
def test_a_page_is_read_in_the_character_set_that_it_declares(charset: str) -> None:
    page = f'<html><head><meta http-equiv="content-type" content="text/html; charset={charset}"></head><p>Gebühr</p>'
    assert read_html(page.encode(charset)).text == "Gebühr"


def test_elements_nested_too_deep_are_read_as_text() -> None:
    assert "deep" in convert_html("<span>" * 5000 + "deep").text
