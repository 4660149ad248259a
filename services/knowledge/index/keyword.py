"""Finding by words: BM25 by tantivy, one analyzer and one field per language. The only room that imports tantivy."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import log
from pathlib import Path

import tantivy

ANALYZERS = "3"
"""Version of all that turns text into pieces, terms and vectors, but for the model; a change rebuilds indices."""

STEMMED = {"en": "english", "de": "german", "fr": "french", "es": "spanish"}
PLAIN = "xx"
"""Any other language: words in lower case, folded, neither stemmed nor stopped."""

HEAD_BOOST = 0.7
_WRITER_BYTES = 16_000_000
_LANGUAGES = (*STEMMED, PLAIN)

# What a question is made of and a document is not; tantivy's own list for English stops at 33 words.
_ASKING = {
    "en": "how what when where which who whom whose why do does did can could would should may might must shall "
    "i me my we us our you your he him his she her it its am been being has have had having get got there "
    "here from about any some than too very just also so tell please want need like know s t m re ve d ll",
    "de": "wie was wann wo welche welcher welches wer wem wen warum wieso kann können könnte muss müssen soll "
    "darf gibt bitte ich mir mich mein meine meinem meinen meiner sie ihr ihre ihren möchte will",
    "fr": "comment que quoi quand où quel quelle quels quelles qui pourquoi combien est-ce puis peux peut dois "
    "doit faut je me moi mon ma mes vous votre vos cela ça veux voudrais",
    "es": "cómo como qué que cuándo cuando dónde donde cuál cual cuáles quién quien por puedo puede debo debe "
    "hay yo me mi mis usted su sus quiero quisiera",
}  # fmt: skip


def field_language(language: str) -> str:
    """The language whose analyzer a text in `language` gets."""
    return language if language in STEMMED else PLAIN


@lru_cache(maxsize=8192)
def terms(text: str, language: str) -> tuple[str, ...]:
    """The terms of a text, as the index holds them: lower case, without stop words, stemmed, folded to ASCII."""
    return tuple(_analyzer(field_language(language)).analyze(text))


class KeywordLeg:
    """A tantivy index of passages known by number. One process writes at a time; readers see the last commit.

    Raises `ValueError` when the directory holds something else.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self._schema = _schema()
        self._index = tantivy.Index(self._schema, path=str(path))
        for language in _LANGUAGES:
            self._index.register_tokenizer(f"tidegate_{language}", _analyzer(language))
        self._index.config_reader("manual")
        self.reload()

    def reload(self) -> None:
        """See what was committed since."""
        self._index.reload()
        self._searcher = self._index.searcher()

    def write(self, add: Iterable[tuple[int, str, str, str]], remove: Sequence[int]) -> None:
        """Remove numbers, add (number, language, head, body), in one commit; back when merges have ended."""
        writer = self._index.writer(_WRITER_BYTES, 1)
        for number in remove:
            writer.delete_documents_by_term("number", number)
        for number, language, head, body in add:
            kind = field_language(language)
            document = tantivy.Document()
            document.add_unsigned("number", number)
            document.add_text(f"head_{kind}", head)
            document.add_text(f"body_{kind}", body)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self.reload()

    def numbers(self) -> set[int]:
        """Every number that the last commit holds."""
        searcher = self._searcher
        if not searcher.num_docs:
            return set()
        hits = searcher.search(tantivy.Query.all_query(), searcher.num_docs, count=False).hits
        return set(self._numbers([address for _, address in hits]))

    def search(self, text: str, language: str, limit: int) -> list[tuple[int, float]]:
        """Numbers with their BM25 score, best first, among passages of the language's field."""
        searcher, kind = self._searcher, field_language(language)
        wanted = dict.fromkeys(terms(text, language))
        if not wanted or not searcher.num_docs:
            return []
        legs = []
        for term in wanted:
            body = tantivy.Query.term_query(self._schema, f"body_{kind}", term, "freq")
            head = tantivy.Query.term_query(self._schema, f"head_{kind}", term, "freq")
            legs.append((tantivy.Occur.Should, body))
            legs.append((tantivy.Occur.Should, tantivy.Query.boost_query(head, HEAD_BOOST)))
        hits = searcher.search(tantivy.Query.boolean_query(legs), limit, count=False).hits
        numbers = self._numbers([address for _, address in hits])
        return [(number, float(score)) for number, (score, _) in zip(numbers, hits, strict=True)]

    def holds(self, term: str, language: str) -> bool:
        """Whether any passage in `language` states the term."""
        kind = field_language(language)
        return any(self._searcher.doc_freq(f"{part}_{kind}", term) for part in ("body", "head"))

    def rarity(self, term: str, language: str) -> float:
        """BM25's inverse document frequency of a term, 0.0 for an empty index (Robertson & Zaragoza 2009, eq. 3.3)."""
        total = self._searcher.num_docs
        count = self._searcher.doc_freq(f"body_{field_language(language)}", term)
        return log(1.0 + (total - count + 0.5) / (count + 0.5)) if total else 0.0

    def _numbers(self, addresses: list[tantivy.DocAddress]) -> list[int]:
        return [int(number or 0) for number in self._searcher.fast_field_values("number", addresses)]


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder().add_unsigned_field("number", stored=False, indexed=True, fast=True)
    for language in _LANGUAGES:
        for part in ("head", "body"):
            builder.add_text_field(f"{part}_{language}", tokenizer_name=f"tidegate_{language}", index_option="freq")
    return builder.build()


@lru_cache(maxsize=8)
def _analyzer(language: str) -> tantivy.TextAnalyzer:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
    if language in STEMMED:
        name = STEMMED[language]
        builder = builder.filter(tantivy.Filter.stopword(name))
        builder = builder.filter(tantivy.Filter.custom_stopword(_ASKING[language].split()))
        builder = builder.filter(tantivy.Filter.stemmer(name))
    return builder.filter(tantivy.Filter.ascii_fold()).build()
