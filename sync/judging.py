"""Judges operations that came to the hub: which are the next ones of their author's chain, and why the first that is
neither that nor known is not to be relayed.

Whatever way an operation came, its signature is asked for first. Next: relay.py, which appends what is judged so."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import msgspec

from tidegate.schemas.replication import RelayOutcome
from tidegate.schemas.sync import AuthorMark, SignedOperation
from tidegate.sync.apply import CHAIN
from tidegate.sync.reader import CollectionUnknownError, StoreReader
from tidegate.sync.records import ReplicaRecord
from tidegate.sync.rules.clock import is_ahead
from tidegate.sync.rules.counters import judge, observe
from tidegate.sync.rules.merge import Version
from tidegate.sync.rules.ownership import NotOwnedError, check_relay
from tidegate.sync.signing import SignatureVerifier, UntrustedOperationError, check_signature

Sent = tuple[Version, SignedOperation]


class JudgedBatch(msgspec.Struct):
    """The operations of a batch that are the next ones, by the log that each goes into, and why one is not."""

    runs: list[tuple[str, list[SignedOperation]]]
    taken: int = 0
    outcome: RelayOutcome = "known"
    reason: str = ""

    def add(self, collection: str, signed: SignedOperation) -> None:
        """One more; a run is what goes into one log before the next operation of the chain goes into another."""
        if not self.runs or self.runs[-1][0] != collection:
            self.runs.append((collection, []))
        self.runs[-1][1].append(signed)


class ChainJudge:
    """Judges by one verifier; an operation from more than `ahead_ms` ahead of the hub's time has to wait."""

    def __init__(self, verifier: SignatureVerifier, ahead_ms: int) -> None:
        self._verifier = verifier
        self._ahead_ms = ahead_ms

    def judge(self, reader: StoreReader, site: str, batch: Sequence[Sent], now_ms: int) -> JudgedBatch:
        """The first operations of a batch, which is not empty: those of its first actor, as far as they are known or
        the next ones."""
        judged = JudgedBatch([])
        actor = batch[0][0].operation.dot.actor
        if reason := reader.fence(actor):
            judged.outcome, judged.reason = "fenced", reason
            return judged
        mark, record = reader.mark(CHAIN, actor), functools.cache(reader.record)
        for version, signed in batch:
            if version.operation.dot.actor != actor:
                break
            outcome, reason = self._refuse(record, site, (version, signed), now_ms)
            if outcome == "known":
                outcome, reason = self._place(version, mark, now_ms)
            if outcome == "relayed":
                mark = observe(mark, version)
                judged.add(version.operation.collection, signed)
            elif outcome != "known":
                judged.outcome, judged.reason = outcome, reason
                break
            judged.taken += 1
        return judged

    def _refuse(
        self, record: Callable[[str], ReplicaRecord], site: str, sent: Sent, now_ms: int
    ) -> tuple[RelayOutcome, str]:
        """Whether, and why, an operation may never be relayed; `known`: it may."""
        operation = sent[0].operation
        try:
            check_signature(self._verifier, operation, sent[1], now_ms)
            check_relay(record(operation.collection).collection, operation, site)
        except (UntrustedOperationError, NotOwnedError, CollectionUnknownError) as error:
            return "refused", error.reason
        return "known", ""

    def _place(self, version: Version, mark: AuthorMark | None, now_ms: int) -> tuple[RelayOutcome, str]:
        """What an operation is in its author's chain, of which the hub has what `mark` says."""
        operation, judgement = version.operation, judge(mark, version)
        if judgement == "hole":
            return "hole", f"operations of {operation.dot.actor} before {operation.dot.counter} are missing"
        if judgement in ("went-back", "forked"):
            return "fenced", f"{operation.dot} of boot {operation.boot_id} {judgement}: a backup or a clone wrote it"
        if judgement == "next" and is_ahead(operation.time, now_ms, self._ahead_ms):
            return "ahead", f"{operation.dot} is of {operation.time.ms}, at the hub it is {now_ms} ms"
        return ("known" if judgement == "duplicate" else "relayed"), ""
