"""A cache of the cloud's answers, for when the same question is asked again: it gives a guess then, never an answer.

Nothing that rests on an outdated index, policy or pack stays in it. Next: answer_cache_writer.py, which fills it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import NamedTuple, TypeAlias

import msgspec
from cachetools import TTLCache

from tidegate.schemas import Answer, Artefact, Draft, Question, Retrieved
from tidegate.schemas.vault_token import read_kinds

MOST_CHARS = 4000
"""An answer longer than this is not kept, so that a number of answers is a bound on bytes as well."""
_DEPENDENCIES = frozenset({"index", "policy", "pack"})
_OUTER_PUNCTUATION = " .,;:!?¿¡…\"'`´“”„‘’«»()[]{}–—"

Versions: TypeAlias = Mapping[tuple[str, str], str]
"""The version of each index, policy and pack, by kind and id."""


class CachedAnswer(NamedTuple):
    """An answer that the cloud has given, and the tokens in which it may be expected to give it again."""

    answer: Answer
    draft: Draft


class _Entry(msgspec.Struct, frozen=True):
    cached: CachedAnswer
    depends_on: Versions


class _TenantCache:
    """One tenant's answers, the longest unused go first; and the newest versions that were seen."""

    def __init__(self, most: int, age_s: float, clock: Callable[[], float]) -> None:
        self.entries: TTLCache[bytes, _Entry] = TTLCache(most, age_s, timer=clock)
        self.versions: dict[tuple[str, str], str] = {}


class AnswerCache:
    """At most `most` answers for each of `tenants`, each for at most `age_s` after it was last given; in memory only.

    Keyed by a digest of the question, so that no question is kept. An answer is dropped as soon as an index, a policy
    or a pack that it depends on is seen in another version. Not safe to use from several threads.
    """

    def __init__(self, tenants: Iterable[str], most: int, age_s: float, clock: Callable[[], float]) -> None:
        """`clock` gives seconds and never goes back. A tenant that is not on the list has no cache."""
        self._most = most
        self._caches = {tenant: _TenantCache(most, age_s, clock) for tenant in tenants}

    def has_tenant(self, tenant: str) -> bool:
        """Whether this tenant has a cache."""
        return tenant in self._caches

    def observe_versions(self, tenant: str, lineage: Iterable[Artefact]) -> None:
        """Take in what versions are in force, and drop what depends on others."""
        cache = self._caches.get(tenant)
        if cache is None:
            return
        seen = versions_in(lineage)
        is_outdated = contradict(seen, cache.versions)
        cache.versions.update(seen)
        if is_outdated:
            for key in [key for key, entry in cache.entries.items() if contradict(entry.depends_on, cache.versions)]:
                del cache.entries[key]

    def put(self, tenant: str, question: Question, cached: CachedAnswer, lineage: Iterable[Artefact]) -> None:
        """Keep the answer, instead of an older one to the same question. `lineage` says what it depends on."""
        cache, key = self._caches.get(tenant), key_of(question)
        if cache is not None and key and self._most and len(cached.answer.text) <= MOST_CHARS:
            cache.entries[key] = _Entry(cached, versions_in(lineage))

    def remove(self, tenant: str, question: Question) -> None:
        """Drop the answer to this question, if there is one."""
        if (cache := self._caches.get(tenant)) is not None:
            cache.entries.pop(key_of(question), None)

    def get(self, tenant: str, question: Question) -> CachedAnswer | None:
        """What the cloud answered to the same question, but for case, white space, outer punctuation and whose data it
        holds; None where it was not asked, or too long ago."""
        cache = self._caches.get(tenant)
        entry = cache.entries.get(key_of(question)) if cache is not None else None
        return None if entry is None else entry.cached

    def find(self, retrieved: Retrieved) -> CachedAnswer | None:
        """The answer to this question over the index as it is now; see `get`."""
        self.observe_versions(retrieved.tenant, retrieved.lineage)
        return self.get(retrieved.tenant, retrieved.question)

    def __len__(self) -> int:
        return sum(len(cache.entries) for cache in self._caches.values())


def versions_in(lineage: Iterable[Artefact]) -> Versions:
    """The parts that an answer depends on and that may change under it."""
    return {(part.kind, part.id): part.version for part in lineage if part.kind in _DEPENDENCIES}


def contradict(some: Versions, others: Versions) -> bool:
    """Whether both name a part in different versions."""
    return any(others.get(part, version) != version for part, version in some.items())


def key_of(question: Question) -> bytes:
    """The same for questions that differ in nothing that could change their answer; empty where no word is left.

    Instructions are part of it, to the letter: under others another answer is written. A vault token counts as its
    kind: the cloud, which sees no more of it, cannot answer by what it stands for.
    """
    bare = _by_kind(unicodedata.normalize("NFKC", question.text))
    words = " ".join(filter(None, (word.strip(_OUTER_PUNCTUATION) for word in bare.casefold().split())))
    key = f"{question.language} {words}\0{_by_kind(question.instructions)}"
    return sha256(key.encode("utf-8", "surrogatepass")).digest() if words else b""


def _by_kind(text: str) -> str:
    """The text with the kind of each vault token in its place."""
    return read_kinds(text, " <{}> ".format)
