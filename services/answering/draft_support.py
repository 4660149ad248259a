"""Whether a whole draft is borne out by what it cites: each of its lines is held against the quotations.

Words of the product itself (that a list goes on, in which language a document is) claim nothing and are left out. Pure.
Next: services/stages/drafter/verifying.py, which asks; `sentence_check`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from tidegate.schemas import Answer, Citation, Passage, Question
from tidegate.services.answering.sentence_check import SentenceCheck, SourceText, check_sentence
from tidegate.services.knowledge.index.chunking import Unit, render_unit
from tidegate.services.knowledge.index.markdown import strip_markup
from tidegate.services.languages.prose import introduce_quote, load_prose

_MARKER = re.compile(r"^\s*(?:[-*•]|\d{1,3}[.)]|[a-z][.)])\s+")
_RULE = re.compile(r"\s*\|?\s*:?-{2,}")
_LETTERS = re.compile(r"[^\W\d_]")


def check_draft(question: Question, answer: Answer, passages: Sequence[Passage]) -> SentenceCheck:
    """The worst of its lines; a line that is quoted word for word is borne out. 1.0 for a draft that states nothing,
    0.0 for one that states something and cites nothing."""
    evidence = _evidence_of(answer, passages)
    quoted = " ".join(_plain(each.text) for each in evidence)
    worst = SentenceCheck(1.0)
    for line in _lines_of(question, answer, evidence):
        lead, rest = _without_lead(line, question.language)
        if _plain(rest) in quoted and not lead:
            continue
        found = check_sentence(line, evidence, question.text)
        if found.score < worst.score:
            worst = found
    return worst


def _evidence_of(answer: Answer, passages: Sequence[Passage]) -> list[SourceText]:
    """The quotations as they are read, each with what stands over it in the passage that it is from; rows of a table
    with the words of its header, which is cited before them."""
    found, header = [], ""
    for cited in answer.citations:
        source = next((each for each in passages if each.document_id == cited.document_id), None)
        around = f"{source.title} {source.heading}" if source else ""
        language = source.language if source else ""
        if not cited.quote.lstrip().startswith("|"):
            header = ""
            found.append(SourceText(strip_markup(cited.quote), language, around))
        elif header and not _is_header(cited, source):
            found.append(SourceText(_render_row(header, cited.quote), language, around))
        else:
            header = cited.quote
            found.append(SourceText(render_unit(header, Unit(0, len(header), "row")), language, around))
    return found


def _is_header(cited: Citation, source: Passage | None) -> bool:
    """Whether a rule stands below a row, where the passage still has it."""
    return source is not None and _RULE.match(source.text, max(0, cited.end - source.start)) is not None


def _render_row(header: str, row: str) -> str:
    text = f"{header}\n{row}"
    return render_unit(text, Unit(len(header) + 1, len(text), "row", context=((0, len(header)),)))


def _lines_of(question: Question, answer: Answer, evidence: Sequence[SourceText]) -> Iterator[str]:
    """What the draft states, line by line."""
    text = answer.text
    for each in dict.fromkeys(each.language for each in evidence):
        text = text.removeprefix(introduce_quote(each, question.language)).lstrip()
    shown = re.escape(load_prose(question.language).part_shown)
    note = re.compile(re.sub(r"\\\{\w+\\\}", ".*", shown))
    for line in text.splitlines():
        bare = _MARKER.sub("", line).strip()
        if _LETTERS.search(bare) and not note.fullmatch(bare):
            yield bare


def _without_lead(line: str, language: str) -> tuple[str, str]:
    """A yes or a no before a line, and the line; none where it says nothing else."""
    words = load_prose(language)
    found = re.match(rf"({words.yes}|{words.no})[.,]\s+(?=\w)", line)
    return (found[1], line[found.end() :]) if found else ("", line)


def _plain(text: str) -> str:
    return " ".join(text.split())
