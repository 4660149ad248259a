"""Markdown without what nobody sees who opens it: comments, and HTML that hides what it holds.

Promises the same lines, so that a finding names the line that is meant, and that code stays as it is written. Next:
unseen.py; services/packs/documents.py, which reads so."""

from __future__ import annotations

import html
import re

from tidegate.services.knowledge.ingest.unseen import is_hiding

_START = re.compile(r"^ {0,3}(?:`{3,}|~{3,})|`+|<!--|<(?=[a-zA-Z])", re.MULTILINE)
_VALUE = r"(?:\"[^\"]{0,2000}\"|'[^']{0,2000}'|[^\s\"'=<>`]{1,500})"
_TAG = re.compile(rf"<([a-zA-Z][\w-]{{0,40}})((?:\s+[^\s\"'<>/=]{{1,100}}(?:\s*=\s*{_VALUE})?){{0,50}})\s*/?>")
_STYLE = re.compile(r"(?:^|\s)style\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|(\S+))", re.IGNORECASE)
_HIDDEN = re.compile(r"(?:^|\s)hidden(?=[\s=]|$)", re.IGNORECASE)
_VOID = frozenset(
    ("area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr")
)


def without_unseen_markup(text: str) -> str:
    """The text without it."""
    return _Markdown(text).read() if "<" in text else text


class _Markdown:
    """Goes through a text once; where something does not end, it is not looked for again."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._endless: set[str] = set()

    def read(self) -> str:
        kept: list[str] = []
        begin = at = 0
        while (start := _START.search(self._text, at)) is not None:
            mark = start[0]
            at, is_unseen = self._pass_over(start.start(), start.end(), mark.strip())
            if is_unseen:
                gone = self._text[start.start() : at]
                kept += [self._text[begin : start.start()], "\n" * gone.count("\n")]
                begin = at
        return "".join((*kept, self._text[begin:]))

    def _pass_over(self, start: int, end: int, mark: str) -> tuple[int, bool]:
        """Where what begins here ends, and whether nobody sees it."""
        if mark == "<!--":
            closes = self._find("-->", end)
            is_line = not self._text[self._text.rfind("\n", 0, start) + 1 : start].strip()
            return (closes + 3, True) if closes >= 0 else (len(self._text), True) if is_line else (end, False)
        if mark == "<":
            return self._pass_element(start, end)
        is_fence = len(mark) >= 3 and not self._text[self._text.rfind("\n", 0, start) + 1 : start].strip()
        return (self._pass_fence(end, mark) if is_fence else self._pass_code(end, mark)), False

    def _pass_element(self, start: int, end: int) -> tuple[int, bool]:
        tag = _TAG.match(self._text, start)
        if tag is None:
            return end, False
        style = _STYLE.search(tag[2])
        says = html.unescape(next(filter(None, style.groups()), "")) if style else ""
        if tag[1].lower() in _VOID or not (_HIDDEN.search(tag[2]) or is_hiding(says)):
            return tag.end(), False
        depth = 1
        for each in re.compile(rf"<(/?){tag[1]}(?![\w-])[^<>]*>", re.IGNORECASE).finditer(self._text, tag.end()):
            depth += -1 if each[1] else 1
            if not depth:
                return each.end(), True
        return len(self._text), True

    def _pass_fence(self, end: int, mark: str) -> int:
        closing = re.compile(rf"^ {{0,3}}{re.escape(mark)}{re.escape(mark[0])}*\s*$", re.MULTILINE)
        found = closing.search(self._text, end)
        return found.end() if found else len(self._text)

    def _pass_code(self, end: int, mark: str) -> int:
        if mark in self._endless:
            return end
        found = re.compile(rf"(?<!`){mark}(?!`)").search(self._text, end)
        if found is None:
            self._endless.add(mark)
            return end
        return end if "\n\n" in self._text[end : found.start()] else found.end()

    def _find(self, mark: str, at: int) -> int:
        if mark in self._endless:
            return -1
        found = self._text.find(mark, at)
        if found < 0:
            self._endless.add(mark)
        return found
