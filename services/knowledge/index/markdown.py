"""Markdown as spans of its text: headings, paragraphs, list items and tables, parsed by markdown-it-py.

Promises that every span is verbatim in the document, and that nothing raises. Next: html_blocks.py, chunking.py.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from tidegate.services.knowledge.index.blocks import BULLET, Block, BlockKind, BlockList
from tidegate.services.knowledge.index.html_blocks import read_html, split_html_cells

_MARKDOWN = MarkdownIt("commonmark", {"maxNesting": 100}).enable(["table", "strikethrough"])
_MARKUP = re.compile(r"[*_`\[\]<>&\\~]")
_LINE = re.compile(r"([^\r\n]*)(?:\r\n|\r|\n|$)")
_QUOTE_MARK = re.compile(r"[\r\n][ \t]*>[ \t]?")
_FOOTNOTE = re.compile(r"\[\^[^\]\s]+\]:?")
_REFERENCE = re.compile(r"\[([^\[\]]+)\]\[[^\[\]]*\]")
_BULLET = re.compile(r"[ \t]*(?:[•‣▪▫◦●○■□–—·➢✓✔]|(?P<number>\(?(?:\d{1,2}|[a-z])\)|[a-z]\.))[ \t\u00a0]+(?=\S)")
"""A list item of people who do not write Markdown; two of them in a paragraph make a list."""
_FEWEST_BULLETS = 2
_LISTS = ("bullet_list_", "ordered_list_", "table_", "list_item_")
_TASK = re.compile(r"\[[ xX]\][ \t]+")
_QUESTION = re.compile(r"(?P<label>\*{0,2}\w{1,10}[ \u00a0]?[:.]\*{0,2}\s+)?\S.*\?\W{0,3}")
_LABEL = re.compile(r"\*{0,2}\w{1,10}[ \u00a0]?[:.]\*{0,2}\s+")
_TAG = re.compile(r"<(?:[a-zA-Z/][^<>]*|!--.*?--)>", re.DOTALL)
_LONGEST_QUESTION = 30
_QUESTION_LEVEL = 7
"""Below all headings: a question that stands alone, as in a list of questions and answers, is the heading of its
answer."""


def find_blocks(text: str) -> Iterator[Block]:
    """The blocks of a text in order; headings, table rules and link definitions are not blocks."""
    yield from _Reader(text).read()


def find_first_heading(text: str) -> str:
    """The words of the first heading, or of a higher one right below it: a page's running head may stand above its
    title. Empty where there is none."""
    tokens = _MARKDOWN.parse(text)
    at = next((number for number, token in enumerate(tokens) if token.type == "heading_open"), -1)
    while 0 <= at < len(tokens) - 3 and tokens[at + 3].type == "heading_open" and tokens[at + 3].tag < tokens[at].tag:
        at += 3
    return _words(tokens[at + 1]) if at >= 0 else ""


def split_cells(line: str) -> list[str]:
    """The cells of a table row, Markdown or HTML, as plain words."""
    found = split_html_cells(line) or re.split(r"(?<!\\)\|", line.strip().strip("|"))
    return [strip_markup(cell.replace("\\|", "|")) for cell in found]


def strip_markup(text: str) -> str:
    """A piece of a document as it is read aloud: without markup, in one line. What is struck out is left out."""
    return _plain(text) if _MARKUP.search(text) else " ".join(text.split())


def strip_tags(text: str) -> str:
    """A text to find by: as it is, but for HTML's tags and entities."""
    return html.unescape(_TAG.sub(" ", text)) if _TAG.search(text) else text


@lru_cache(maxsize=8192)
def _plain(text: str) -> str:
    text = _REFERENCE.sub(r"\1", _FOOTNOTE.sub("", _QUOTE_MARK.sub("\n", text)))
    return _words(_MARKDOWN.parseInline(text)[0])


def _words(inline: Token) -> str:
    words: list[str] = []
    hidden = 0
    for token in inline.children or ():
        if token.type in ("s_open", "s_close"):
            hidden += token.nesting
        elif token.type == "html_inline":
            tag = token.content.lower()
            hidden += tag.startswith(("<script", "<style")) - tag.startswith(("</script", "</style"))
            words.append(" " if tag.startswith(("<br", "<p", "</p", "<li", "</li", "<td", "</td")) else "")
        elif not hidden:
            words.append(token.content if token.content else " " * token.type.endswith("break"))
    return " ".join("".join(words).replace("**", "").split())


class _Reader:
    """Goes through the tokens of one document, and turns lines into spans of its text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._lines = [match.span(1) for match in _LINE.finditer(text)]
        self._blocks = BlockList()
        self._item_markers: dict[int, str] = {}
        self._in_head = False
        self._is_labelled = False

    def read(self) -> list[Block]:
        tokens = _MARKDOWN.parse(self._text)
        for position, token in enumerate(tokens):
            match token.type:
                case "heading_open":
                    self._blocks.add_heading(int(token.tag[1]), _words(tokens[position + 1]))
                case name if name.startswith(_LISTS):
                    self._follow_list(token)
                case "thead_open" | "thead_close":
                    self._in_head = token.nesting == 1
                case "tr_open":
                    self._add_lines("header" if self._in_head else "row", *self._map(token))
                case "fence" | "code_block":
                    self._add_code(token)
                case "html_block":
                    first, end = self._map(token)
                    read_html(self._text, self._lines[first][0], self._lines[end - 1][1], self._blocks, strip_markup)
                case "paragraph_open":
                    after = tokens[position + 3] if position + 3 < len(tokens) else None
                    self._add_paragraph(token, tokens[position + 1], after)
        return self._blocks.found

    def _follow_list(self, token: Token) -> None:
        if token.type == "list_item_open":
            self._item_markers[self._map(token)[0]] = self._blocks.next_marker(token.markup)
        elif token.type != "list_item_close" and token.nesting == 1:
            is_numbered = token.type == "ordered_list_open"
            self._blocks.open_list(int(token.attrs.get("start", 1)) if is_numbered else None)
        elif token.type != "list_item_close":
            self._blocks.close_list()

    def _add_paragraph(self, opening: Token, inline: Token, after: Token | None) -> None:
        first, end = self._map(opening)
        own = inline.content.split("\n")
        body = max(self._first_character(first), self._last_character(first) - len(own[0].rstrip()))
        question = _QUESTION.fullmatch(own[0].strip()) if opening.level == 0 else None
        is_alone = len(own) == 1 and after is not None and after.type == "paragraph_open"
        if question and len(own[0].split()) <= _LONGEST_QUESTION and (is_alone or (question["label"] and len(own) > 1)):
            self._blocks.add_heading(_QUESTION_LEVEL, strip_markup(own[0][len(question["label"] or "") :]))
            self._is_labelled = bool(question["label"])
            if is_alone:
                return
            first += 1
            body = self._first_character(first)
        label = _LABEL.match(self._text, body) if self._is_labelled else None
        self._is_labelled = False
        if label:
            body = label.end()
        self._add_text(first, end, body, self._item_markers.get(first))

    def _add_text(self, first: int, end: int, body: int, marker: str | None) -> None:
        """An item, a paragraph, or the items of a list whose bullets are none of Markdown's."""
        if marker is not None:
            task = _TASK.match(self._text, body)
            start = self._first_character(first)
            self._blocks.add("item", start, self._last_character(end - 1), task.end() if task else body, marker)
            return
        bullets = [(line, found) for line in range(first, end) if (found := _BULLET.match(self._line(line)))]
        if len(bullets) < _FEWEST_BULLETS:
            self._blocks.add("paragraph", body, self._last_character(end - 1), body)
            return
        if first < bullets[0][0]:
            self._blocks.add("paragraph", body, self._last_character(bullets[0][0] - 1), body)
        self._blocks.open_list()
        for (line, found), after in zip(bullets, [*(line for line, _ in bullets[1:]), end], strict=True):
            own = found["number"] or BULLET
            start = self._first_character(line)
            self._blocks.add("item", start, self._last_character(after - 1), self._lines[line][0] + found.end(), own)
        self._blocks.close_list()

    def _add_code(self, token: Token) -> None:
        first, end = self._map(token)
        is_fenced = token.type == "fence"
        closes = is_fenced and self._text[slice(*self._lines[end - 1])].strip(" \t>").startswith(token.markup)
        self._add_lines("paragraph", first + is_fenced, end - (closes and end - 1 > first))

    def _add_lines(self, kind: BlockKind, first: int, end: int) -> None:
        while first < end and self._is_blank(first):
            first += 1
        while first < end and self._is_blank(end - 1):
            end -= 1
        if first < end:
            start = self._first_character(first)
            self._blocks.add(kind, start, self._last_character(end - 1), start)

    def _line(self, line: int) -> str:
        return self._text[slice(*self._lines[line])]

    def _is_blank(self, line: int) -> bool:
        return self._first_character(line) == self._lines[line][1]

    def _first_character(self, line: int) -> int:
        start, end = self._lines[line]
        return end - len(self._text[start:end].lstrip())

    def _last_character(self, line: int) -> int:
        start, end = self._lines[line]
        return start + len(self._text[start:end].rstrip())

    @staticmethod
    def _map(token: Token) -> tuple[int, int]:
        first, end = token.map or (0, 0)
        return first, end
