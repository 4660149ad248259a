"""Lists of questions and answers: which of the questions that a document asks itself is the one that was asked.

Promises that only units under such a question change places. Next: candidates.py.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from tidegate.services.knowledge.index.keyword import find_terms
from tidegate.services.knowledge.reader.answer_type import expected_kind
from tidegate.services.knowledge.reader.candidates import Candidate
from tidegate.services.knowledge.text_embedder import TextEmbedder, Vector

MOST_COMPARED = 4
"""Questions of a document that are compared with the one that was asked; each takes as long as embedding it."""
LEAST_CLOSER = 0.02
"""How much closer by cosine another question must be to the one that was asked, to take the place of the best."""
FEWEST_TERMS = 2
"""Words of a heading, small ones apart, from which it names one thing."""
_WORD = re.compile(r"\w+")
_IN_FRONT = 1e-3


def find_repeated(ranked: Sequence[Candidate], question: str) -> list[Candidate]:
    """Where a document asks the question itself, word for word, or has a list of what is asked under a heading of the
    same words ("Registering for online banking"): the units there, then the others of that document.

    Empty where none does.
    """
    asked = _words(question)
    repeated = [each for each in ranked if asked and _words(own_question(each)) == asked]
    if not repeated and expected_kind(question) is None:
        listed = [each for each in ranked if each.unit.kind == "item" and _heads(each, question)]
        sections = {(each.passage.document_id, each.unit.heading) for each in listed}
        repeated = [each for each in ranked if (each.passage.document_id, each.unit.heading) in sections]
    documents = {each.passage.document_id for each in repeated}
    others = [each for each in ranked if each.passage.document_id in documents and each not in repeated]
    return _moved(repeated, others) if repeated else []


def prefer_closest(ranked: Sequence[Candidate], vector: Vector, embedder: TextEmbedder) -> list[Candidate]:
    """The units, best first; where the best answers a question of its document's own, those first that answer the one
    which means most nearly what was asked.

    A short answer takes its score from the question above it, and an answer of more words loses by its own: the
    questions are compared without them. `vector` is that of the question that was asked.
    """
    if not ranked or not own_question(ranked[0]):
        return list(ranked)
    document = ranked[0].passage.document_id
    own = [each for each in ranked if each.passage.document_id == document]
    headings = list(dict.fromkeys(each.unit.heading for each in own if own_question(each)))[:MOST_COMPARED]
    if len(headings) < 2:
        return list(ranked)
    close = {heading: float(embedder.embed(heading.rpartition("›")[2].strip()) @ vector) for heading in headings}
    chosen = max(headings, key=lambda heading: close[heading])
    if close[chosen] < close[headings[0]] + LEAST_CLOSER:
        return list(ranked)
    first = [each for each in own if each.unit.heading == chosen]
    return _moved(first, [each for each in ranked if each not in first])


def own_question(each: Candidate) -> str:
    """The question that a unit stands under; empty where its heading is none."""
    heading = each.unit.heading.rpartition("›")[2].strip()
    return heading if heading.rstrip("\"'»”’) ").endswith("?") else ""


def _heads(each: Candidate, question: str) -> bool:
    """Whether the headings of a unit have the words of the question, all of them and no others."""
    language = each.passage.language
    asked = frozenset(find_terms(question, language))
    return len(asked) >= FEWEST_TERMS and asked == frozenset(find_terms(each.unit.heading, language))


def _moved(first: Sequence[Candidate], others: Sequence[Candidate]) -> list[Candidate]:
    """Both in order, with the scores of `first` raised above those of the others."""
    gain = max((each.score for each in others), default=0.0) - first[0].score + _IN_FRONT
    unread = max((each.retrieval_score for each in others), default=0.0) - first[0].retrieval_score + _IN_FRONT
    raised = [
        msgspec.structs.replace(
            each, score=each.score + max(0.0, gain), retrieval_score=each.retrieval_score + max(0.0, unread)
        )
        for each in first
    ]
    return [*raised, *others]


def _words(text: str) -> list[str]:
    return _WORD.findall(text.casefold())
