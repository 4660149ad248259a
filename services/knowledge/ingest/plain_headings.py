"""Headings and lines of a table in plain text, written as Markdown's. Pure. Next: text.py.

Nothing marks them there but where their line ends: before the next word would have had to go to another line.
"""

from __future__ import annotations

import re
from itertools import pairwise

_MOST_HEADING_WORDS = 8
_MOST_TITLE_WORDS = 12
_MOST_LABEL = 40
_FEWEST_LABELLED = 2
_LEAST_SENTENCE_WORDS = 6
_NUMBER = re.compile(r"(?:§ ?)?\d{1,2}(?:\.\d{1,2})*[.)]? +")
_ITEM = re.compile(r"\s*(?:[-*+•–]|\\?\*|\(?\w{1,2}[.)])\s")
_MARKED = re.compile(r"\s*[#>|]|\s*[-=_*\\]{3,}\s*$")
_NO_HEADING = re.compile(r"[.,;:!?…]\W*$|[:@|\d]|https?")
_NO_TITLE = re.compile(r"[.,;:!?…]\W*$|[@|]|https?")
_LABELLED = re.compile(rf"(?=\S)[^:.!?]{{1,{_MOST_LABEL}}}(?::[ \t]+|[ \t]{{3,}}|\t+)\S")
_SENTENCE_END = re.compile(r"[.!?:;]\W*$")


def mark_headings(page: str, *, has_title: bool) -> str:
    """The text of a page with the lines that are headings, and lines of labels and values, marked as such.

    `has_title`: whether its first line may be the title of it all. A heading is a short line that ends before it had
    to, without a mark of punctuation, above sentences, a list or lines with labels.
    """
    lines = page.split("\n")
    width = _wrap_width(lines)
    paragraphs = _paragraphs(lines)
    made: list[str] = []
    done = 0
    for number, (start, end) in enumerate(paragraphs):
        made += lines[done:start]
        paragraph = lines[start:end]
        is_title = has_title and number == 0 and len(paragraphs) > 1 and _is_title(paragraph)
        made += [f"# {paragraph[0].strip()}"] if is_title else _mark_paragraph(paragraph, width)
        done = end
    return "\n".join(made + lines[done:])


def _wrap_width(lines: list[str]) -> float:
    """How long the lines may be: the longest that goes on in the middle of a sentence; without end where none does."""
    pairs = pairwise(lines)
    return max((len(line) for line, after in pairs if line.strip() and after[:1].islower()), default=float("inf"))


def _paragraphs(lines: list[str]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for number, line in enumerate(lines):
        if line.strip():
            goes_on = bool(found) and found[-1][1] == number
            found[-1:] = [(found[-1][0], number + 1)] if goes_on else [*found[-1:], (number, number + 1)]
    return found


def _is_title(paragraph: list[str]) -> bool:
    line = paragraph[0].strip()
    is_plain = not (_ITEM.match(line) or _MARKED.match(line) or _NO_TITLE.search(line))
    return len(paragraph) == 1 and is_plain and len(line.split()) <= _MOST_TITLE_WORDS and any(map(str.isalpha, line))


def _mark_paragraph(lines: list[str], width: float) -> list[str]:
    if not _is_heading(lines, width):
        return _mark_labelled(lines, width)
    return [f"## {lines[0].strip()}", "", *_mark_labelled(lines[1:], width)]


def _is_heading(lines: list[str], width: float) -> bool:
    """Whether the first line of a paragraph is a heading of the others."""
    if len(lines) < 2 or lines[0][:1].isspace() or not _ends_early(lines[0], lines[1], width):
        return False
    numbered, after = _NUMBER.match(lines[0]), lines[1]
    words = lines[0][numbered.end() if numbered else 0 :].strip()
    if not words[:1].isupper() or len(words.split()) > _MOST_HEADING_WORDS or _NO_HEADING.search(words):
        return False
    if _MARKED.match(words) or _MARKED.match(after) or (not numbered and _ITEM.match(lines[0])):
        return False
    if numbered and _NUMBER.match(after):
        return False
    if not (after[:1].isupper() or after[:1].isdigit() or after[:1] in "\"'«“„‘¿¡(€£$" or _ITEM.match(after)):
        return False
    return any(_says_something(line) for line in lines[1:])


def _says_something(line: str) -> bool:
    """Whether a line is one of a text, a list or labels, and not one of an address."""
    is_text = _SENTENCE_END.search(line) or len(line.split()) >= _LEAST_SENTENCE_WORDS
    return bool(is_text or _ITEM.match(line) or _LABELLED.match(line))


def _mark_labelled(lines: list[str], width: float) -> list[str]:
    """Lines that follow one another and have a label and a value each, as `Saturday: 9 to 12`, become a list."""
    made: list[str] = []
    run: list[str] = []
    for number, line in enumerate([*lines, ""]):
        after = lines[number + 1] if number + 1 < len(lines) else ""
        is_entry = bool(_LABELLED.match(line)) and not _ITEM.match(line) and not _MARKED.match(line)
        if is_entry and (not after or (_ends_early(line, after, width) and not after[:1].islower())):
            run.append(line)
            continue
        is_list = len(run) >= _FEWEST_LABELLED
        made += [f"- {each}" for each in run] if is_list else run
        if is_list and line:
            made.append("")
        run = []
        made.append(line)
    return made[:-1]


def _ends_early(line: str, after: str, width: float) -> bool:
    """Whether a line ends although the next word had found room in it."""
    first = after.split(maxsplit=1)[:1]
    return len(line.rstrip()) + 1 + len("".join(first)) <= width
