"""Brings an index to what a replica's store holds, collection by collection, at a cost of what changed.

Promises that documents and the generation that they are of are in force together, so that a crash loses and doubles
nothing; and that what is deleted in the store is found in neither leg. Next: planned_change.py, index_verifier.py."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

import msgspec
import structlog

from tidegate.services.knowledge.index.errors import IndexDamagedError, OtherModelError
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.index.index_writer import IndexChange
from tidegate.services.knowledge.replica.content import name_model
from tidegate.services.knowledge.replica.opening import restore_index
from tidegate.services.knowledge.replica.planned_change import ChangePlanner, PlannedChange
from tidegate.sync.changes import ChangedDigests, list_changes
from tidegate.sync.rules.merkle import build
from tidegate.sync.store import ReplicaStore

BATCH = 512
"""Documents of one change of the index: each change costs two commits of the keyword leg, and holds its vectors in
memory. With 128 a document took 1.4 times the processor time."""
BATCH_TO_EMBED = 128
"""The same where vectors have to be made: for so long nothing else is written, and the worker does not end."""
_log = structlog.get_logger()


class FollowedState(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far the index has followed a collection: to `generation`, by the rule `merge`, with vectors of `model`.

    `made_by` is the oldest version of the code that any of it was made by, as far as nobody has verified it since.
    """

    generation: int = 0
    merge: str = ""
    model: str = ""
    made_by: str = ""


class FollowOutcome(msgspec.Struct, frozen=True, kw_only=True):
    """What following changed: documents that came or were replaced, and those that went.

    `damaged` are documents that the store could not give: they are as they were in the index, until it is repaired.
    """

    collection: str
    generation: int
    put: int = 0
    removed: int = 0
    damaged: tuple[str, ...] = ()


class IndexFollower:
    """The one writer of an index that a store feeds. Its methods may be called from several threads; each waits for the
    one before it.

    Raises `IndexLockedError` where another process writes the index, `IndexUnusableError`, `OtherModelError`, and what
    the store raises; nothing is lost then: the next call goes on where this one was. `stand_back` is called before each
    batch of documents, and returns when there is time for it.
    """

    def __init__(
        self,
        store: ReplicaStore,
        index: HybridIndex,
        code_version: str = "",
        stand_back: Callable[[], None] = lambda: None,
    ) -> None:
        self.store = store
        self.index = index
        self.code_version = code_version
        self._stand_back = stand_back
        self._model = name_model(index.embedder_version)
        self._writing = threading.RLock()

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Nobody else of this process writes the index by this, until left."""
        with self._writing:
            yield

    def start(self, collection: str) -> FollowOutcome:
        """Compare what the index holds with the store, and mend what differs: once, before `follow`.

        Costs a look at every digest; generations alone would not do, as they begin anew on a new disk. An index that
        cannot be read is begun anew. Raises `CollectionUnknownError`.
        """
        with self._writing:
            return self._restoring(self._start, collection)

    def follow(self, collection: str) -> FollowOutcome:
        """Take in what changed in the store since the last time; otherwise as `start`."""
        with self._writing:
            return self._restoring(self._follow, collection)

    def forget(self, collection: str) -> FollowOutcome:
        """Hold nothing of a collection any more, whatever the store does: it may not be served here."""
        with self._writing:
            return self._bring(collection, sorted(self.index.sources(collection)), 0, is_dropped=True)

    def faults(self, collection: str) -> dict[str, str]:
        """The documents of a collection that are held and are not in the index, with the reason of each."""
        return {name: row.fault for name, row in self.index.sources(collection).items() if row.fault}

    def state(self, collection: str) -> FollowedState:
        """How far the index is. A reader of it in another process sees the same."""
        found = self.index.state(state_key(collection))
        try:
            return msgspec.msgpack.decode(found, type=FollowedState) if found else FollowedState()
        except (msgspec.DecodeError, UnicodeDecodeError):  # a damaged disk: everything is compared
            return FollowedState()

    def put_state(self, collection: str, state: FollowedState) -> None:
        """Store how far the index is, alone."""
        with self._writing:
            self.index.apply(IndexChange(state={state_key(collection): msgspec.msgpack.encode(state)}))

    def rewrite(self, collection: str, document_ids: Sequence[str]) -> FollowOutcome:
        """Put these documents in again, also where the index has them: what it has of them is wrong."""
        with self._writing:
            return self._bring(collection, document_ids, self.state(collection).generation, is_anew=True)

    def _restoring(self, step: Callable[[str], FollowOutcome], collection: str) -> FollowOutcome:
        try:
            return step(collection)
        except OtherModelError:
            raise
        except IndexDamagedError as error:
            _log.warning("replica.index_unreadable", collection=collection, reason=str(error), instead="made anew")
            restore_index(self.index)
            with self.store.reading() as reader:
                others = [each for each in reader.collections() if each != collection]
            for each in others:
                self._start(each)
            return self._start(collection)

    def _start(self, collection: str) -> FollowOutcome:
        if self._is_outdated(collection):
            return self._follow(collection)
        with self.store.reading() as reader:
            listed = list_changes(reader, collection, 0)
        if not listed.is_complete:
            return FollowOutcome(collection=collection, generation=0)
        held = {name: row.digest for name, row in self.index.sources(collection).items()}
        differing = self.store.differing(collection, build(held))
        return self._bring(collection, differing, listed.generation)

    def _follow(self, collection: str) -> FollowOutcome:
        is_outdated = self._is_outdated(collection)
        known = 0 if is_outdated else self.state(collection).generation
        with self.store.reading() as reader:
            listed = list_changes(reader, collection, known)
        if not listed.generation and not listed.is_complete:
            return FollowOutcome(collection=collection, generation=0)
        changed = self._changed(collection, listed, is_outdated=is_outdated)
        return self._bring(collection, changed, listed.generation)

    def _is_outdated(self, collection: str) -> bool:
        """Whether what is there was made by another rule or for another model, so that all is to be looked at."""
        state = self.state(collection)
        rule = self.store.record(collection).collection.merge
        return bool(state.generation) and (state.merge, state.model) != (rule, self._model)

    def _changed(self, collection: str, listed: ChangedDigests, *, is_outdated: bool) -> list[str]:
        """The documents whose digests the index does not have, and those that are gone."""
        if not listed.is_complete:
            rows = self.index.find_sources(listed.digests)
            held = {row.document_id: row.digest for row in rows if row.collection == collection}
        else:
            held = {name: row.digest for name, row in self.index.sources(collection).items()}
        changed = [name for name, digest in listed.digests.items() if is_outdated or held.get(name) != digest]
        return changed + [name for name in held if listed.is_complete and name not in listed.digests]

    def _bring(
        self,
        collection: str,
        document_ids: Iterable[str],
        generation: int,
        *,
        is_anew: bool = False,
        is_dropped: bool = False,
    ) -> FollowOutcome:
        """Change the index batch by batch. The state comes with the last one: what was done before a crash is known by
        its digests. It stays where a document could not be read, so that this is looked at again."""
        before, after = self.state(collection), self._state_at(collection, generation, is_dropped=is_dropped)
        left, put, removed, damaged = list(document_ids), 0, 0, list[str]()
        while left or (before != after and not damaged):
            if left:
                self._stand_back()
            batch, planned = self._plan(collection, left, is_dropped=is_dropped)
            left = left[len(batch) :]
            damaged += planned.damaged
            state = {} if left or damaged else {state_key(collection): msgspec.msgpack.encode(after)}
            came, went = self.index.apply(planned.as_change(state, anew=set(batch) if is_anew else ()))
            put, removed = put + came, removed + went
            before = after if state else before
        if put or removed or damaged:
            _log.debug("replica.indexed", collection=collection, put=put, removed=removed, damaged=len(damaged))
        return FollowOutcome(
            collection=collection, generation=before.generation, put=put, removed=removed, damaged=tuple(damaged)
        )

    def _plan(self, collection: str, left: list[str], *, is_dropped: bool) -> tuple[list[str], PlannedChange]:
        """The documents of the next change, the first of those that are left, and what it is."""
        with self.store.reading() as reader:
            batch = left[:BATCH]
            planned = ChangePlanner(reader, self.index, collection, is_dropped=is_dropped).plan(batch)
            if len(batch) > BATCH_TO_EMBED and len(planned.vectors) < len(planned.documents):
                batch = left[:BATCH_TO_EMBED]
                planned = ChangePlanner(reader, self.index, collection, is_dropped=is_dropped).plan(batch)
        return batch, planned

    def _state_at(self, collection: str, generation: int, *, is_dropped: bool) -> FollowedState:
        if is_dropped:
            return FollowedState()
        before = self.state(collection)
        rule = self.store.record(collection).collection.merge
        made_by = before.made_by if before.generation else self.code_version
        return FollowedState(generation=generation, merge=rule, model=self._model, made_by=made_by)


def state_key(collection: str) -> str:
    """Under which an index keeps how far it has followed a collection."""
    return f"replica:{collection}"
