"""Checks an audit log against its own entries, its signed heads, and the heads that others have seen.

Promises to name every fault that it finds with the entry, or the entries, that it concerns; what is signed is believed,
what is stored beside it is not. Next: merkle.py."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import msgspec

from tidegate.schemas.message import Millis, Name
from tidegate.schemas.trust import TrustedKey
from tidegate.services.evidence.checkpoints import BadCheckpointError, SignedNote, domain_of, find_signer, parse_note
from tidegate.services.evidence.log_reader import AuditReader, StoredEntry
from tidegate.services.evidence.merkle import EMPTY_ROOT, TreeBuilder, leaf_hash

FaultKind = Literal["edited", "deleted", "truncated", "reordered", "forked", "replaced", "unsigned"]
"""An entry was changed; taken out; the last ones were; the order was changed; a head that was signed or witnessed is
of another history; the log is another domain's; nobody who may signed a head."""
SHOWN_EVERY = 10_000
MOST_FAULTS = 100
"""So many are listed; a log that was replaced has one at every entry."""


class LogFault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that is wrong, with the first and the last entry that it may concern."""

    kind: FaultKind
    first: int
    last: int
    reason: str

    def __str__(self) -> str:
        where = f"entry {self.first}" if self.first == self.last else f"entries {self.first} to {self.last}"
        return f"{self.kind}: {where}: {self.reason}"


class LogReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a check found. `signed` entries are under a head that a key of the domain signed; `witnessed` ones under one
    that somebody else has seen; `root` is that of what is there, in hexadecimal digits."""

    domain: str
    size: int
    root: str
    signed: int = 0
    witnessed: int = 0
    faults: tuple[LogFault, ...] = ()
    trimmed: int = 0
    """Of the entries before this one there are only hashes, as an entry of the log says."""

    @property
    def is_good(self) -> bool:
        """Whether nothing is wrong."""
        return not self.faults


class _Trimming(msgspec.Struct, frozen=True, kw_only=True):
    """What an entry of that kind says: before which one only hashes are kept, and their root."""

    epoch: int = 0
    digest: str = ""


class _Frame(msgspec.Struct, frozen=True, kw_only=True):
    """What is looked at of each entry; its hash answers for the rest."""

    domain: Name
    counter: int
    logged_at_ms: Millis
    kind: str
    salt: str
    body: _Trimming


class Expectation(msgspec.Struct, frozen=True, kw_only=True):
    """What the log is held against: whose it should be, the keys that may sign its heads, and heads of it that others
    have kept, by who."""

    domain: str
    keys: Sequence[TrustedKey]
    witnessed: Mapping[str, SignedNote] = {}


_read_frame = msgspec.json.Decoder(_Frame).decode


def verify_log(reader: AuditReader, expected: Expectation, show: Callable[[int], None] = lambda _: None) -> LogReport:
    """Read the whole log and check it. `show` is called with how many entries were read, now and then.

    Raises `AuditDamagedError` where the file cannot be read at all.
    """
    check = _Check(expected)
    heads = list(check.own_heads(reader))
    witnessed = list(check.others_heads(reader))
    due = sorted({note.checkpoint.size for note in (*heads, *witnessed)})
    roots = check.read(reader, due, show)
    check.compare(heads, roots, "signed")
    check.compare(witnessed, roots, "witnessed")
    signed = [note.checkpoint.size for note in heads if roots.get(note.checkpoint.size) == note.checkpoint.root]
    seen = [note.checkpoint.size for note in witnessed if roots.get(note.checkpoint.size) == note.checkpoint.root]
    trimmed = check.check_trimming(roots, max((note.checkpoint.size for note in heads), default=0))
    return LogReport(
        domain=expected.domain,
        size=check.tree.size,
        root=check.tree.edge.root.hex(),
        signed=max(signed, default=0),
        witnessed=max(seen, default=0),
        faults=tuple(check.faults),
        trimmed=trimmed,
    )


class _Check:
    """One pass over a log."""

    def __init__(self, expected: Expectation) -> None:
        self.faults: list[LogFault] = []
        self.tree = TreeBuilder()
        self._expected = expected
        self._trimmings: list[tuple[int, _Trimming]] = []
        self._logged_at_ms = 0
        self._empty: list[tuple[int, int]] = []

    def own_heads(self, reader: AuditReader) -> Iterator[SignedNote]:
        """The heads that are kept with the log, where a key of the domain signed them."""
        for size, text in reader.checkpoints():
            try:
                note = parse_note(text)
                origin = note.checkpoint.origin
                if domain_of(origin) == self._expected.domain and origin == reader.state().origin:
                    find_signer(note, self._own_keys())
                    yield note
                else:
                    self._note("replaced", 0, size, f"a head of it is one of {origin}")
            except BadCheckpointError as error:
                self._note("unsigned", 0, size, f"the head at {size} entries: {error.reason}")

    def others_heads(self, reader: AuditReader) -> Iterator[SignedNote]:
        """The heads of it that others have kept."""
        for who, note in self._expected.witnessed.items():
            origin, size = note.checkpoint.origin, note.checkpoint.size
            if origin != reader.state().origin:
                self._note("replaced", 0, size, f"the head that {who} has kept is one of {origin}")
                continue
            try:
                find_signer(note, self._own_keys())
            except BadCheckpointError as error:
                self._note("unsigned", 0, size, f"the head that {who} has kept: {error.reason}")
                continue
            yield note

    def read(self, reader: AuditReader, due: Sequence[int], show: Callable[[int], None]) -> dict[int, bytes]:
        """The roots that the entries make at the sizes that are due, as far as there are entries."""
        roots, wanted, expected = {0: EMPTY_ROOT}, {*due, reader.state().trimmed}, 0
        size = reader.state().size
        for stored in reader.entries(is_whole=True):
            if stored.counter != expected:
                self._note("deleted", expected, stored.counter - 1, "the log goes on behind them")
            digest = self._digest_of(stored)
            expected = stored.counter + 1
            self.tree.append(digest)
            if self.tree.size in wanted:
                roots[self.tree.size] = self.tree.edge.root
            if self.tree.size % SHOWN_EVERY == 0:
                show(self.tree.size)
        show(self.tree.size)
        if expected < size:
            self._note("truncated", expected, size - 1, f"the log had {size} entries when it was last written")
        return roots

    def check_trimming(self, roots: Mapping[int, bytes], signed: int) -> int:
        """Entries without bytes are those that the log says to have trimmed, under a signed head, and are what it says.
        Before which entry that is."""
        known = [each for counter, each in self._trimmings if counter < signed]
        last = max(known, key=lambda each: each.epoch, default=_Trimming())
        for first, end in self._empty:
            if end >= last.epoch:
                self._note("deleted", max(first, last.epoch), end, "no signed entry says that their bytes were trimmed")
        root = roots.get(last.epoch)
        if last.epoch and root is not None and root.hex() != last.digest and not self._is_known(0, last.epoch):
            self._note("edited", 0, last.epoch - 1, "what is left of them is not what was trimmed")
        return last.epoch

    def _digest_of(self, stored: StoredEntry) -> bytes:
        """The hash of an entry's bytes; where there are none, the hash that is kept, which the heads answer for."""
        if not stored.leaf:
            goes_on = bool(self._empty) and self._empty[-1][1] == stored.counter - 1
            first = self._empty.pop()[0] if goes_on else stored.counter
            self._empty.append((first, stored.counter))
            return stored.hash
        digest = leaf_hash(stored.leaf)
        if digest != stored.hash:
            self._note("edited", stored.counter, stored.counter, "its bytes are not those of its hash")
        self._read_entry(stored.counter, stored.leaf)
        return digest

    def compare(self, heads: Sequence[SignedNote], roots: Mapping[int, bytes], how: str) -> None:
        """Hold heads against what the entries make."""
        good = 0
        for note in sorted(heads, key=lambda note: note.checkpoint.size):
            size, root = note.checkpoint.size, note.checkpoint.root
            if roots.get(size) == root:
                good = size
            elif size > self.tree.size:
                if not self._is_known(self.tree.size, size):
                    self._note("truncated", self.tree.size, size - 1, f"a head of {size} entries was {how}")
                return
            else:
                if not self._is_known(good, size):
                    kind: FaultKind = "edited" if how == "signed" else "forked"
                    self._note(kind, good, size - 1, f"they are not those of the head that was {how} at {size} entries")
                return

    def _read_entry(self, counter: int, leaf: bytes) -> None:
        try:
            frame = _read_frame(leaf)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            self._note("edited", counter, counter, f"it cannot be read: {error}")
            return
        if frame.domain != self._expected.domain:
            self._note("replaced", counter, counter, f"it is an entry of {frame.domain}")
        if frame.counter != counter:
            self._note("reordered", counter, counter, f"it was written as entry {frame.counter}")
        elif frame.logged_at_ms < self._logged_at_ms:
            # Which of the two says another time than it did cannot be told.
            self._note("reordered", counter - 1, counter, f"entry {counter} is older than the one before")
        self._logged_at_ms = frame.logged_at_ms
        if frame.kind == "trimmed":
            self._trimmings.append((counter, frame.body))

    def _own_keys(self) -> list[TrustedKey]:
        return [key for key in self._expected.keys if (key.role, key.owner) == ("author", self._expected.domain)]

    def _is_known(self, first: int, end: int) -> bool:
        """Whether a fault was named already that accounts for a wrong root over these entries."""
        return any(fault.kind != "unsigned" and first <= fault.last and fault.first < end for fault in self.faults)

    def _note(self, kind: FaultKind, first: int, last: int, reason: str) -> None:
        if len(self.faults) < MOST_FAULTS:
            self.faults.append(LogFault(kind=kind, first=first, last=last, reason=reason))
