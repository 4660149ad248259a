"""What a chaos driver of real domains asked to be written, and whether all of them hold what follows from it.

What is in the hub's log is compared with what was asked for, edit by edit; what each domain holds is compared with a
reference that is made from that log by brute force, and again by the rules in a random order."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from tidegate.schemas import Collection, CollectionDelta, Dot, LogPosition
from tidegate.sync.changes import read_changes
from tidegate.sync.reader import StoreReader
from tidegate.sync.records import held_of
from tidegate.sync.rules.clock import covers
from tidegate.sync.rules.merge import NO_VERSIONS, Siblings, Version, join, version_of
from tidegate.sync.rules.merkle import build, checksum_of
from tidegate.sync.rules.resolve import resolve


class Attempt(msgspec.Struct, kw_only=True):
    """One edit that a worker was asked for: `dot` where it said that it was done, `seen` what could be read before.

    `number` and `answered` order attempts and answers: what was asked later than an answer cannot be seen in it.
    """

    number: int
    domain: str
    collection: str
    document_id: str
    token: str
    is_deletion: bool
    seen: frozenset[Dot] = frozenset()
    answered: int = 0
    is_refused: bool = False
    """The worker said that it was not done, or that there was nothing to delete."""
    dot: Dot | None = None


class Written:
    """All attempts of a run."""

    def __init__(self) -> None:
        self.attempts: list[Attempt] = []
        self._numbers = 0

    def next_number(self) -> int:
        self._numbers += 1
        return self._numbers

    def of(self, collection: str, domain: str = "") -> list[Attempt]:
        """The attempts on a collection, in the order in which they were made."""
        return [each for each in self.attempts if each.collection == collection and domain in ("", each.domain)]


class LogCheck:
    """A shared collection's log, against what was written; `faults` says what does not fit."""

    def __init__(self, collection: Collection, deltas: Sequence[CollectionDelta], written: Written) -> None:
        self.collection = collection
        self.versions = [version_of(delta.operation) for delta in deltas]
        self.faults: list[str] = []
        self._attempts = written.of(collection.name)
        self._check_positions(deltas)
        self._check_edits()

    def _check_positions(self, deltas: Sequence[CollectionDelta]) -> None:
        wanted = [LogPosition(1, index) for index in range(1, len(deltas) + 1)]
        if [delta.position for delta in deltas] != wanted:
            self.faults.append(f"the log of {self.collection.name} has holes, or other epochs: {len(deltas)} entries")
        dots = [version.operation.dot for version in self.versions]
        if len(set(dots)) != len(dots):
            self.faults.append(f"the log of {self.collection.name} has an edit twice")

    def _check_edits(self) -> None:
        logged = {version.operation.dot: version for version in self.versions}
        asked = {each.dot: each for each in self._attempts if each.dot is not None}
        for dot, attempt in asked.items():
            if dot not in logged:
                self.faults.append(f"lost: {attempt}")
            elif not _is_of(logged[dot], attempt):
                self.faults.append(f"{dot} is something else than {attempt}")
            else:
                self._check_context(logged[dot], attempt, asked)
        unanswered = [each for each in self._attempts if each.dot is None and not each.is_refused]
        for dot, version in logged.items():
            if dot not in asked:
                found = next((each for each in unanswered if _is_of(version, each)), None)
                if found is None:
                    self.faults.append(f"nobody asked for {dot} on {version.operation.document_id}")
                else:
                    unanswered.remove(found)

    def _check_context(self, version: Version, attempt: Attempt, asked: Mapping[Dot, Attempt]) -> None:
        """An edit replaces what could be read when it was asked for, and nothing that was asked for after it."""
        operation = version.operation
        if unseen := [dot for dot in attempt.seen if not covers(operation.context, dot)]:
            self.faults.append(f"{operation.dot} did not see {unseen}, which its site held")
        for dot, other in asked.items():
            if covers(operation.context, dot) and attempt.answered and other.number > attempt.answered:
                self.faults.append(f"{operation.dot} claims to have seen {dot}, which was written later")

    def alive(self) -> dict[str, frozenset[Dot]]:
        """By document the versions that no other has replaced: by brute force."""
        found: dict[str, set[Dot]] = {}
        for version in self.versions:
            operation = version.operation
            same = [each.operation for each in self.versions if each.operation.document_id == operation.document_id]
            if not any(covers(each.context, operation.dot) for each in same):
                found.setdefault(operation.document_id, set()).add(operation.dot)
        return {document_id: frozenset(dots) for document_id, dots in found.items()}

    def joined(self, dice: random.Random) -> dict[str, Siblings]:
        """The same by the rules, in another order than the log's."""
        shuffled = list(self.versions)
        dice.shuffle(shuffled)
        held: dict[str, Siblings] = {}
        for version in shuffled:
            document_id = version.operation.document_id
            held[document_id] = join(held.get(document_id, NO_VERSIONS), version)
        return held


class Reference:
    """What every domain that holds a shared collection must hold."""

    def __init__(self, log: LogCheck, dice: random.Random) -> None:
        self.collection = log.collection
        self._alive = log.alive()
        joined = log.joined(dice)
        self.checksum = checksum_of({name: each.digest for name, each in joined.items()}).digest
        resolved = {name: resolve(each, log.collection.merge).content for name, each in joined.items()}
        self.documents = {name: content for name, content in resolved.items() if content is not None}

    def faults(self, domain: str, reader: StoreReader) -> Iterator[str]:
        """What a domain holds otherwise."""
        name = self.collection.name
        record = reader.record(name)
        about = f"{name} at {domain}"
        if record.checksum.digest != self.checksum:
            yield f"{about} has another checksum than the reference"
        if record.replica.state != "following" and self._alive:  # the hub's is empty before the first edit
            yield f"{about} is {record.replica.state}"
        held = {each.document_id: held_of(each).siblings for each in reader.documents(name)}
        dots = {document_id: _dots(each) for document_id, each in held.items()}
        for document_id in sorted(self._alive.keys() | dots.keys()):
            if self._alive.get(document_id) != dots.get(document_id):
                yield f"{about}: {document_id} is {dots.get(document_id)}, not {self._alive.get(document_id)}"
        if reader.tree(name).digest != build(reader.digests(name)).digest:
            yield f"the tree of {about} is not that of its documents"
        served = {each.document_id: each.resolved.content for each in read_changes(reader, name, 0).documents}
        shown = {document_id: content for document_id, content in served.items() if content is not None}
        if resurrected := shown.keys() - self.documents.keys():
            yield f"{about} shows what was deleted: {sorted(resurrected)}"
        if shown != self.documents:
            yield f"{about} shows other documents than the reference"


def faults_of_own(written: Written, collection: str, domain: str, reader: StoreReader) -> Iterator[str]:
    """What a domain holds of its own collection otherwise than it wrote it, one after the other."""
    changes = read_changes(reader, collection, 0).documents
    texts = {each.document_id: each.resolved.content.text.split()[0] for each in changes if each.resolved.content}
    last: dict[str, list[Attempt]] = {}
    for attempt in written.of(collection, domain):
        possible = last.setdefault(attempt.document_id, [_nothing(attempt)])
        if attempt.dot is not None:  # what was not answered may be done later, when the connection is back
            possible[:] = [attempt, *(each for each in possible if each.dot is None and each.token)]
        elif not attempt.is_refused:
            possible.append(attempt)
    for document_id, possible in last.items():
        expected = {None if each.is_deletion else each.token for each in possible}
        if texts.get(document_id) not in expected:
            yield f"{document_id} of {collection} at {domain} is {texts.get(document_id)!r}, not one of {expected}"
    if invented := texts.keys() - last.keys():
        yield f"{collection} at {domain} holds {sorted(invented)}, which nobody wrote"


def files_with(directory: Path, marker: bytes) -> list[str]:
    """The files below a directory that hold these bytes anywhere."""
    return [str(path) for path in directory.rglob("*") if path.is_file() and marker in path.read_bytes()]


def dots_of(reader: StoreReader, collection: str, document_id: str) -> frozenset[Dot]:
    """The versions of a document that are held."""
    return _dots(reader.held(collection, document_id).siblings)


def _dots(siblings: Siblings) -> frozenset[Dot]:
    return frozenset(version.operation.dot for version in siblings.versions)


def _is_of(version: Version, attempt: Attempt) -> bool:
    operation = version.operation
    if (operation.document_id, operation.author) != (attempt.document_id, attempt.domain):
        return False
    if operation.content is None:
        return attempt.is_deletion
    return not attempt.is_deletion and operation.content.text.split()[0] == attempt.token


def _nothing(attempt: Attempt) -> Attempt:
    """Before the first edit that was not answered: the document was not there."""
    return msgspec.structs.replace(attempt, is_deletion=True, dot=None, token="")


def first_of(faults: Iterable[str], most: int = 12) -> str:
    """The faults as text, not more than a page of them."""
    found = list(faults)
    return "\n".join([*found[:most], *([f"... {len(found) - most} more"] if len(found) > most else [])])
