"""Finds by words: BM25 by tantivy, one analyzer and one field per language. The only module that imports tantivy.

Promises the ranking of an index made anew while it holds no removed rows. Next: hybrid.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from math import log
from pathlib import Path

import msgspec
import tantivy

from tidegate.services.languages.words import load_words

ANALYZERS = "7"
"""Version of all that turns text into pieces, terms and vectors, but for the model; a change rebuilds indices."""

STEMMED = {"en": "english", "de": "german", "fr": "french", "es": "spanish"}
PLAIN = "xx"
"""Any other language: words in lower case, folded, neither stemmed nor stopped."""

HEAD_BOOST = 0.7
_WRITER_BYTES = 16_000_000
Places = Callable[[list[int]], Mapping[int, tuple[str, int]]]
"""From numbers to where their passages stand, of those that are live and of the language that is asked for."""
_LANGUAGES = (*STEMMED, PLAIN)


def field_language(language: str) -> str:
    """The language whose analyzer a text in `language` gets."""
    return language if language in STEMMED else PLAIN


@lru_cache(maxsize=8192)
def find_terms(text: str, language: str) -> tuple[str, ...]:
    """The terms of a text, as the index holds them: lower case, without stop words, stemmed, folded to ASCII."""
    return tuple(_analyzer(field_language(language)).analyze(text))


class KeywordRow(msgspec.Struct, frozen=True, gc=False):
    """A passage as the keyword leg gets it. `mark` tells which version of which document it belongs to."""

    number: int
    mark: int
    language: str
    head: str
    body: str


class _DeletedRows(msgspec.Struct):
    num_deleted_docs: int


class _Segment(msgspec.Struct):
    deletes: _DeletedRows | None = None


class _LegMeta(msgspec.Struct):
    """What tantivy's own `meta.json` says of segments."""

    segments: tuple[_Segment, ...]


class KeywordLeg:
    """A tantivy index of passages known by number. One process writes at a time; readers see the last commit.

    Raises `ValueError` when the directory holds something else.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._schema = _schema()
        self._index = _open_index(self._schema, path)
        for language in _LANGUAGES:
            self._index.register_tokenizer(f"tidegate_{language}", _analyzer(language))
        self._index.config_reader("manual")
        self._meta = path / "meta.json"
        self._reload()

    def is_there(self) -> bool:
        """Whether its files are where they were."""
        return self._meta.exists()

    def refresh(self) -> KeywordView:
        """What any process committed last. Costs one `stat` when it is known already."""
        if self._stamp() != self._view.stamp:
            self._reload()
        return self._view

    def is_current(self, view: KeywordView) -> bool:
        """Whether nothing was committed since."""
        return self._stamp() == view.stamp

    def change(self, *, removed: Iterable[int] = (), added: Iterable[KeywordRow] = ()) -> None:
        """Remove the rows of these numbers, then add rows, in one commit; costs what it changes."""
        self._write(removed, added, emptied=False)

    def replace(self, rows: Iterable[KeywordRow]) -> None:
        """Hold exactly these rows, in one commit.

        All is written anew, because BM25 counts deleted rows for as long as their segment lives: after this, scores are
        those of a fresh index. Takes about 0.1 s for 1 000 rows.
        """
        self._write((), rows, emptied=True)

    def count_dead(self) -> int:
        """How many removed rows still lie in segments, where BM25 counts them."""
        segments = msgspec.json.decode(self._meta.read_bytes(), type=_LegMeta).segments
        return sum(segment.deletes.num_deleted_docs for segment in segments if segment.deletes is not None)

    def _write(self, removed: Iterable[int], rows: Iterable[KeywordRow], *, emptied: bool) -> None:
        writer = self._index.writer(_WRITER_BYTES, 1)
        if emptied:
            writer.delete_all_documents()
        for number in removed:
            writer.delete_documents_by_query(tantivy.Query.term_query(self._schema, "number", number))
        for row in rows:
            kind = field_language(row.language)
            document = tantivy.Document()
            document.add_unsigned("number", row.number)
            document.add_unsigned("mark", row.mark)
            document.add_text(f"head_{kind}", row.head)
            document.add_text(f"body_{kind}", row.body)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()
        self._reload()

    def _reload(self) -> None:
        stamp = self._stamp()  # before the reading, so that what is committed meanwhile is seen next time
        self._index.reload()
        self._view = KeywordView(self._schema, self._index.searcher(), stamp)

    def _stamp(self) -> tuple[int, int]:
        found = self._meta.stat()
        return found.st_mtime_ns, found.st_ino


class KeywordView:
    """What one commit holds; never changes."""

    def __init__(self, schema: tantivy.Schema, searcher: tantivy.Searcher, stamp: tuple[int, int]) -> None:
        self._schema = schema
        self._searcher = searcher
        self.stamp = stamp

    @property
    def count(self) -> int:
        """How many rows it holds, without removed ones."""
        return int(self._searcher.num_docs)

    def entries(self) -> list[tuple[int, int]]:
        """The number and the mark of every row, sorted; a row that is there twice is listed twice."""
        searcher = self._searcher
        if not searcher.num_docs:
            return []
        hits = searcher.search(tantivy.Query.all_query(), searcher.num_docs, count=False).hits
        addresses = [address for _, address in hits]
        return sorted(zip(_values(searcher, "number", addresses), _values(searcher, "mark", addresses), strict=True))

    def search(self, text: str, language: str, limit: int, places: Places) -> list[tuple[int, float]]:
        """The `limit` best numbers with their BM25 score, best first, among those that have a place.

        Rows of equal score come in the order of their places, so that the history of the index does not show; a row
        that has none does not count towards `limit`.
        """
        searcher, kind = self._searcher, field_language(language)
        wanted = dict.fromkeys(find_terms(text, language))
        if not wanted or not searcher.num_docs:
            return []
        legs = []
        for term in wanted:
            body = tantivy.Query.term_query(self._schema, f"body_{kind}", term, "freq")
            head = tantivy.Query.term_query(self._schema, f"head_{kind}", term, "freq")
            legs.append((tantivy.Occur.Should, body))
            legs.append((tantivy.Occur.Should, tantivy.Query.boost_query(head, HEAD_BOOST)))
        query, reach = tantivy.Query.boolean_query(legs), 2 * limit
        while True:
            hits = searcher.search(query, reach, count=False).hits
            numbers = _values(searcher, "number", [address for _, address in hits])
            stands = places(numbers)
            found = [(n, float(score)) for n, (score, _) in zip(numbers, hits, strict=True) if n in stands]
            if len(hits) < reach or (len(found) > limit and found[-1][1] < found[limit - 1][1]):
                return sorted(found, key=lambda pair: (-pair[1], stands[pair[0]]))[:limit]
            reach *= 4

    def has_term(self, term: str, language: str) -> bool:
        """Whether any passage in `language` states the term."""
        kind = field_language(language)
        return any(self._searcher.doc_freq(f"{part}_{kind}", term) for part in ("body", "head"))

    def rarity(self, term: str, language: str) -> float:
        """BM25's inverse document frequency of a term, 0.0 for an empty index (Robertson & Zaragoza 2009, eq. 3.3)."""
        total = self._searcher.num_docs
        count = self._searcher.doc_freq(f"body_{field_language(language)}", term)
        return log(1.0 + max(0.0, total - count + 0.5) / (count + 0.5)) if total else 0.0


def _open_index(schema: tantivy.Schema, path: Path) -> tantivy.Index:
    try:
        index = tantivy.Index(schema, path=str(path))
    except BaseException as error:  # of a torn file it is a Rust panic, which is no `Exception`
        if type(error).__name__ != "PanicException":
            raise
        raise ValueError(str(error)) from error
    return index


def _values(searcher: tantivy.Searcher, field: str, addresses: list[tantivy.DocAddress]) -> list[int]:
    return [int(value or 0) for value in searcher.fast_field_values(field, addresses)]


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder = builder.add_unsigned_field("number", stored=False, indexed=True, fast=True)
    builder = builder.add_unsigned_field("mark", stored=False, indexed=False, fast=True)
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
        builder = builder.filter(tantivy.Filter.custom_stopword(load_words(language).stop_words.split()))
        builder = builder.filter(tantivy.Filter.stemmer(name))
    return builder.filter(tantivy.Filter.ascii_fold()).build()
