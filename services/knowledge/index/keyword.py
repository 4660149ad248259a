"""Finds by words: BM25 by tantivy, one analyzer and one field per language. The only module that imports tantivy.

Promises the ranking of an index made anew while it holds no removed rows. Next: hybrid.py."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from math import log
from pathlib import Path

import msgspec
import tantivy

from tidegate.services.knowledge.index.keyword_errors import CheckedSearcher, raising_value_errors
from tidegate.services.knowledge.index.segment_files import count_removed_rows, count_scattered_rows
from tidegate.services.languages.compounds import SPLIT, split_compounds
from tidegate.services.languages.stemming import STEMMED_HERE, stem_text
from tidegate.services.languages.stop_words import load_stop_words

ANALYZERS = "7"
"""Version of all that turns text into pieces and vectors, but for the model; a change rebuilds indices."""

TERMS = "3"
"""Version of the fields and of what turns text into their terms; a change makes keyword legs anew from the database."""

STEMMED = {
    "en": "english", "de": "german", "fr": "french", "es": "spanish",
    "it": "italian", "pt": "portuguese", "nl": "dutch",
}  # fmt: skip
PLAIN = "xx"
"""Any other language: words in lower case, folded, neither stemmed nor stopped."""

HEAD_BOOST = 0.7
PARTS_BOOST = 0.7
"""What a part of a compound weighs, beside the whole word: decision 0064."""
_WRITER_BYTES = 16_000_000
_WHOLE_LEG_BYTES = 1_000_000_000
"""What a writer of a whole leg may take before it begins another segment: 285 000 passages take less than 150 MB."""
Places = Callable[[list[int]], Mapping[int, tuple[str, int]]]
"""From numbers to where their passages stand, of those that are live and of the language that is asked for."""
LiveNumbers = Callable[[list[int]], set[int]]
"""From numbers to those of them whose passages are live."""
META = "meta.json"
"""The file of tantivy that says what was committed last."""
_LANGUAGES = (*STEMMED, *STEMMED_HERE, PLAIN)


def field_language(language: str) -> str:
    """The language whose analyzer a text in `language` gets."""
    return language if language in _LANGUAGES else PLAIN


@lru_cache(maxsize=8192)
def find_terms(text: str, language: str) -> tuple[str, ...]:
    """The terms of a text, as the index holds them: lower case, without stop words, stemmed, folded to ASCII."""
    kind = field_language(language)
    return tuple(_analyzer(kind).analyze(stem_text(text, kind)))


def find_parts(text: str, language: str) -> tuple[str, ...]:
    """The terms of a text in whose place those of their parts stand where they are compounds, as the index holds them
    beside those of `find_terms`; none in a language whose compounds are not split."""
    kind = field_language(language)
    return tuple(_analyzer(kind).analyze(split_compounds(text, kind))) if kind in SPLIT else ()


class KeywordRow(msgspec.Struct, frozen=True, gc=False):
    """A passage as the keyword leg gets it. `mark` tells which version of which document it belongs to."""

    number: int
    mark: int
    language: str
    head: str
    body: str


class KeywordLeg:
    """A tantivy index of passages known by number. One process writes at a time; readers see the last commit.

    Made where there is none. Raises `ValueError` when the directory holds something else, when it cannot be read any
    more, and when it cannot be written.
    """

    def __init__(self, path: Path) -> None:
        path.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._schema = _schema()
        with raising_value_errors():
            self._index = tantivy.Index(self._schema, path=str(path))
            for language in _LANGUAGES:
                self._index.register_tokenizer(f"tidegate_{language}", _analyzer(language))
            self._index.config_reader("manual")
        self._meta = path / META
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
        return count_removed_rows(self._meta)

    def count_scattered(self) -> int:
        """How many rows lie in other segments than the largest: each segment is searched on its own."""
        return count_scattered_rows(self._meta)

    def _write(self, removed: Iterable[int], rows: Iterable[KeywordRow], *, emptied: bool) -> None:
        with raising_value_errors():
            writer = self._index.writer(_WHOLE_LEG_BYTES if emptied else _WRITER_BYTES, 1)
            try:
                # A writer that was killed before its commit left the file of removed rows under the very name that this
                # one may take; tantivy does not write over it, and collects what nothing names only after a commit.
                writer.garbage_collect_files()
                if emptied:
                    writer.delete_all_documents()
                for number in removed:
                    writer.delete_documents_by_query(tantivy.Query.term_query(self._schema, "number", number))
                for row in rows:
                    writer.add_document(_document_of(row))
                writer.commit()
                writer.wait_merging_threads()
            finally:
                del writer  # it has the lock of the directory, and whoever keeps the error would keep it
        self._reload()

    def _reload(self) -> None:
        stamp = self._stamp()  # before the reading, so that what is committed meanwhile is seen next time
        with raising_value_errors():
            self._index.reload()
            searcher = self._index.searcher()
        self._view = KeywordView(self._schema, searcher, stamp, dead=self.count_dead())

    def _stamp(self) -> tuple[int, int]:
        try:
            found = self._meta.stat()
        except FileNotFoundError:  # a compaction has put another leg in force, and this one away
            return 0, 0
        return found.st_mtime_ns, found.st_ino


class KeywordView:
    """What one commit holds; never changes."""

    def __init__(
        self, schema: tantivy.Schema, searcher: tantivy.Searcher, stamp: tuple[int, int], *, dead: int
    ) -> None:
        self._schema = schema
        self._searcher = CheckedSearcher(searcher)
        self._dead = dead
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
        return self.search_beyond(text, language, limit, places)[:limit]

    def search_beyond(self, text: str, language: str, limit: int, places: Places) -> list[tuple[int, float]]:
        """What `search` finds, and what had to be looked at to find it: mostly as many again."""
        searcher, kind = self._searcher, field_language(language)
        wanted = dict.fromkeys(find_terms(text, language))
        if not wanted or not searcher.num_docs:
            return []
        legs = []
        for term in wanted:
            legs.append((tantivy.Occur.Should, self._weighed(f"body_{kind}", term, 1.0)))
            legs.append((tantivy.Occur.Should, self._weighed(f"head_{kind}", term, HEAD_BOOST)))
        parts = dict.fromkeys(find_parts(text, kind))
        legs += [(tantivy.Occur.Should, self._weighed(f"parts_{kind}", part, PARTS_BOOST)) for part in parts]
        query, reach = tantivy.Query.boolean_query(legs), 2 * limit
        while True:
            hits = searcher.search(query, reach, count=False).hits
            numbers = _values(searcher, "number", [address for _, address in hits])
            stands = places(numbers)
            found = [(n, float(score)) for n, (score, _) in zip(numbers, hits, strict=True) if n in stands]
            if len(hits) < reach or (len(found) > limit and found[-1][1] < found[limit - 1][1]):
                return sorted(found, key=lambda pair: (-pair[1], stands[pair[0]]))
            reach *= 4

    def has_term(self, term: str, language: str, find_live: LiveNumbers) -> bool:
        """Whether any live passage in `language` states the term."""
        return any(self._has_live(f"{part}_{field_language(language)}", term, find_live) for part in ("body", "head"))

    def rarity(self, term: str, language: str) -> float:
        """BM25's inverse document frequency of a term, 0.0 for an empty index (Robertson & Zaragoza 2009, eq. 3.3).

        Removed rows do not count.
        """
        total = self._searcher.num_docs
        return _idf(total, self._count_live(f"body_{field_language(language)}", term)) if total else 0.0

    def _weighed(self, field: str, term: str, boost: float) -> tantivy.Query:
        """A query for a term that weighs it as an index without removed rows would: tantivy counts them."""
        query = tantivy.Query.term_query(self._schema, field, term, "freq")
        if self._dead and (counted := self._searcher.doc_freq(field, term)):
            total = self._searcher.num_docs
            boost *= _idf(total, self._count_live(field, term)) / _idf(total + self._dead, counted)
        return query if boost == 1.0 else tantivy.Query.boost_query(query, boost)

    def _count_live(self, field: str, term: str) -> int:
        """In how many rows a term stands. Those that were removed lie in their segments and are passed over."""
        count = self._searcher.doc_freq(field, term)
        if count and self._dead:
            query = tantivy.Query.term_query(self._schema, field, term, "basic")
            count = int(self._searcher.search(query, 1, count=True).count or 0)
        return int(count)

    def _has_live(self, field: str, term: str, find_live: LiveNumbers) -> bool:
        """A removed row is counted for as long as its segment lives, and one may not have been removed yet."""
        if not self._searcher.doc_freq(field, term):
            return False
        query, reach = tantivy.Query.term_query(self._schema, field, term, "freq"), 8
        while True:
            hits = self._searcher.search(query, reach, count=False).hits
            if find_live(_values(self._searcher, "number", [address for _, address in hits])):
                return True
            if len(hits) < reach:
                return False
            reach *= 4


def _idf(total: int, count: int) -> float:
    return log(1.0 + max(0.0, total - count + 0.5) / (count + 0.5))


def _document_of(row: KeywordRow) -> tantivy.Document:
    kind = field_language(row.language)
    document = tantivy.Document()
    document.add_unsigned("number", row.number)
    document.add_unsigned("mark", row.mark)
    document.add_text(f"head_{kind}", stem_text(row.head, kind))
    document.add_text(f"body_{kind}", stem_text(row.body, kind))
    if kind in SPLIT:
        document.add_text(f"parts_{kind}", split_compounds(f"{row.head} {row.body}", kind))
    return document


def _values(searcher: CheckedSearcher, field: str, addresses: list[tantivy.DocAddress]) -> list[int]:
    return [int(value or 0) for value in searcher.fast_field_values(field, addresses)]


def _schema() -> tantivy.Schema:
    builder = tantivy.SchemaBuilder()
    builder = builder.add_unsigned_field("number", stored=False, indexed=True, fast=True)
    builder = builder.add_unsigned_field("mark", stored=False, indexed=False, fast=True)
    for language in _LANGUAGES:
        for part in ("head", "body", "parts") if language in SPLIT else ("head", "body"):
            builder.add_text_field(f"{part}_{language}", tokenizer_name=f"tidegate_{language}", index_option="freq")
    return builder.build()


@lru_cache(maxsize=len(_LANGUAGES))
def _analyzer(language: str) -> tantivy.TextAnalyzer:
    builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple()).filter(tantivy.Filter.lowercase())
    if language in STEMMED:
        name = STEMMED[language]
        builder = builder.filter(tantivy.Filter.stopword(name))
        builder = builder.filter(tantivy.Filter.custom_stopword(load_stop_words(language)))
        builder = builder.filter(tantivy.Filter.stemmer(name))
    return builder.filter(tantivy.Filter.ascii_fold()).build()
