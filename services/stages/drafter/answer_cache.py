"""What the cloud has answered before, for when the same question is asked again; a guess then, never an answer."""

from __future__ import annotations

import unicodedata
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from hashlib import sha256
from typing import TypeAlias

import msgspec

from tidegate.schemas import Answer, Artefact, Draft, Question
from tidegate.services.privacy.vault import TOKEN

MOST_CHARS = 4000
"""An answer longer than this is not remembered, so that a number of answers is a bound on bytes as well."""
_RESTS_ON = frozenset({"index", "policy", "pack"})
_AROUND = " .,;:!?¿¡…\"'`´“”„‘’«»()[]{}–—"

Versions: TypeAlias = Mapping[tuple[str, str], str]
"""The version of each index, policy and pack, by kind and id."""


class Past(msgspec.Struct, frozen=True):
    """An answer that the cloud has given, and the tokens in which it may be expected to give it again."""

    answer: Answer
    draft: Draft


class _Kept(msgspec.Struct, frozen=True):
    past: Past
    rests_on: Versions
    until_s: float


class _Shelf:
    """One tenant's answers, the longest unused first, and the newest versions that were seen."""

    def __init__(self) -> None:
        self.kept: OrderedDict[bytes, _Kept] = OrderedDict()
        self.versions: dict[tuple[str, str], str] = {}


class Memory:
    """At most `most` answers for each of `tenants`, each for at most `age_s` after it was last given; in memory only.

    Held by a digest of the question, so that no question is kept. An answer is dropped as soon as an index, a policy or
    a pack that it rests on is seen in another version. Not safe to use from several threads.
    """

    def __init__(self, tenants: Iterable[str], most: int, age_s: float, clock: Callable[[], float]) -> None:
        """`clock` gives seconds and never goes back. A tenant that is not on the list has no memory."""
        self._most = most
        self._age_s = age_s
        self._clock = clock
        self._shelves = {tenant: _Shelf() for tenant in tenants}

    def serves(self, tenant: str) -> bool:
        """Whether this tenant has a memory."""
        return tenant in self._shelves

    def notice(self, tenant: str, lineage: Iterable[Artefact]) -> None:
        """Take in what versions are in force, and drop what rests on others."""
        shelf = self._shelves.get(tenant)
        if shelf is None:
            return
        seen = versions_in(lineage)
        if all(shelf.versions.get(part, version) == version for part, version in seen.items()):
            shelf.versions.update(seen)
            return
        shelf.versions.update(seen)
        for key in [key for key, kept in shelf.kept.items() if contradict(kept.rests_on, shelf.versions)]:
            del shelf.kept[key]

    def remember(self, tenant: str, question: Question, past: Past, lineage: Iterable[Artefact]) -> None:
        """Keep the answer, in the place of an older one to the same question. `lineage` says what it rests on."""
        shelf, key = self._shelves.get(tenant), key_of(question)
        if shelf is None or not key or len(past.answer.text) > MOST_CHARS:
            return
        shelf.kept.pop(key, None)
        shelf.kept[key] = _Kept(past, versions_in(lineage), self._clock() + self._age_s)
        while len(shelf.kept) > self._most:
            shelf.kept.popitem(last=False)

    def forget(self, tenant: str, question: Question) -> None:
        """Drop the answer to this question, if there is one."""
        shelf = self._shelves.get(tenant)
        if shelf is not None:
            shelf.kept.pop(key_of(question), None)

    def recall(self, tenant: str, question: Question) -> Past | None:
        """What the cloud said to the same question, but for case, white space, outer punctuation and whose data it
        holds; None where it was not asked, or too long ago."""
        shelf, key = self._shelves.get(tenant), key_of(question)
        kept = shelf.kept.get(key) if shelf is not None else None
        if shelf is None or kept is None:
            return None
        if kept.until_s <= self._clock():
            del shelf.kept[key]
            return None
        shelf.kept.move_to_end(key)
        return kept.past

    def __len__(self) -> int:
        return sum(len(shelf.kept) for shelf in self._shelves.values())


def versions_in(lineage: Iterable[Artefact]) -> Versions:
    """The parts that an answer rests on and that may change under it."""
    return {(part.kind, part.id): part.version for part in lineage if part.kind in _RESTS_ON}


def contradict(some: Versions, others: Versions) -> bool:
    """Whether both name a part in different versions."""
    return any(others.get(part, version) != version for part, version in some.items())


def key_of(question: Question) -> bytes:
    """The same for questions that differ in nothing that could change their answer; empty where no word is left.

    A vault token counts as its kind: the cloud, which sees no more of it, cannot answer by what it stands for.
    """
    bare = TOKEN.sub(lambda token: f" <{token[1]}> ", unicodedata.normalize("NFKC", question.text))
    words = " ".join(filter(None, (word.strip(_AROUND) for word in bare.casefold().split())))
    return sha256(f"{question.language} {words}".encode("utf-8", "surrogatepass")).digest() if words else b""
