"""HTML inside Markdown, as spans of the text. Promises never to quote a script or a style. Next: markdown.py."""

from __future__ import annotations

import re
from collections.abc import Callable
from html.parser import HTMLParser

from tidegate.services.knowledge.index.blocks import BlockKind, BlockList

_CELL = re.compile(r"<t[dh]\b[^>]*>(.*?)(?=</?t[dhr]\b|$)", re.IGNORECASE | re.DOTALL)
_INLINE = frozenset(
    "a abbr b bdi br cite code em i kbd mark q s small span strong sub sup time u var wbr".split()  # noqa: SIM905
)
_HEADINGS = {f"h{level}": level for level in range(1, 7)}
_LISTS = ("ol", "ul", "table")
_UNREAD = ("script", "style", "template", "title", "noscript")


def read_html(text: str, start: int, end: int, blocks: BlockList, plain: Callable[[str], str]) -> None:
    """Add the blocks of the HTML in `text[start:end]`; `plain` gives the words of a heading."""
    parser = _HtmlReader(text, start, blocks, plain)
    parser.feed(text[start:end])
    parser.close()
    parser.flush()


def split_html_cells(row: str) -> list[str]:
    """The cells of an HTML table row, as HTML; none for any other text."""
    return _CELL.findall(row)


def _first_number(attrs: list[tuple[str, str | None]]) -> int:
    start = dict(attrs).get("start") or ""
    return int(start) if start.isascii() and start.isdigit() and len(start) < 6 else 1


class _HtmlReader(HTMLParser):
    def __init__(self, text: str, start: int, blocks: BlockList, plain: Callable[[str], str]) -> None:
        super().__init__(convert_charrefs=False)
        self._text = text
        self._line_starts = [start, *(match.end() for match in re.compile("\n").finditer(text, start))]
        self._blocks = blocks
        self._plain = plain
        self._open = ""
        self._marker = ""
        self._row: int | None = None
        self._has_data_cell = False
        self._span: tuple[int, int] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _INLINE:
            return
        if tag in _LISTS:
            self.flush()
            self._blocks.open_list(_first_number(attrs) if tag == "ol" else None)
        elif tag == "li":
            self._marker = self._blocks.next_marker()
        if tag == "tr":
            self._row, self._has_data_cell = self._offset(), False
        elif tag == "td":
            self._has_data_cell = True
        if self._row is None:
            self.flush()
            self._open = tag

    def handle_endtag(self, tag: str) -> None:
        if tag == "tr" and self._row is not None:
            end = self._text.index(">", self._offset()) + 1
            self._blocks.add("row" if self._has_data_cell else "header", self._row, end, self._row)
            self._row = self._span = None
        elif tag not in _INLINE and self._row is None:
            self.flush()
            self._open = ""
        if tag in _LISTS:
            self._blocks.close_list()

    def handle_data(self, data: str) -> None:
        begin = self._offset() + len(data) - len(data.lstrip())
        end = self._offset() + len(data.rstrip())
        if begin < end and self._row is None and self._open not in _UNREAD:
            self._span = (self._span[0] if self._span else begin, end)

    def handle_entityref(self, name: str) -> None:
        self.handle_data(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.handle_data(f"&#{name};")

    def flush(self) -> None:
        """End the text that was begun: it is a heading, an item or a paragraph."""
        if self._span is None:
            return
        start, end = self._span
        self._span = None
        if self._open in _HEADINGS:
            self._blocks.add_heading(_HEADINGS[self._open], self._plain(self._text[start:end]))
        else:
            kind: BlockKind = "item" if self._open == "li" else "paragraph"
            self._blocks.add(kind, start, end, start, self._marker if kind == "item" else "")
            self._marker = ""

    def _offset(self) -> int:
        line, column = self.getpos()
        return self._line_starts[line - 1] + column
