"""Signs the heads of a domain's log, has the hub witness them, and is the witness at the hub.

Promises that a head is signed by a key that is good now, and that what the hub refuses stands as a fault until it is
mended. Next: witness.py, the rules; worker.py, which calls it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from hashlib import sha256

from tidegate.brokers.base import CoreClient
from tidegate.schemas.audit import AuditedAct, HeadReply, HeadSubmission
from tidegate.schemas.errors import TidegateError, UnreadableError
from tidegate.schemas.message import decode, encode
from tidegate.schemas.subjects import HUB, heads_of
from tidegate.schemas.trust import TrustedKey
from tidegate.services.evidence.checkpoints import (
    BadCheckpointError,
    Checkpoint,
    Sign,
    SignedNote,
    cosign,
    domain_of,
    origin_of,
    parse_note,
    sign_checkpoint,
    source_of,
    witnessed_at_s,
)
from tidegate.services.evidence.log import AuditLog, EntryDraft
from tidegate.services.evidence.metrics import METRICS
from tidegate.services.evidence.witness import HeadRefusedError, author_keys, check_head, choose_newer, good_keys
from tidegate.sync.shells.faults import Faults
from tidegate.sync.trust.live_keys import LiveKeys

ASK_WITHIN_S = 5.0
MOST_HEADS = 64
"""So many heads of other sites are passed on at once, the newest first."""
PASSING = ("unproven", "unknown_site", "unavailable")
"""Refusals that say nothing against the log."""


class HeadKeys:
    """The author key of a domain, and the keys of all of them as this machine knows them."""

    def __init__(
        self, keys: LiveKeys, now_ms: Callable[[], int], known: Callable[[], Sequence[TrustedKey]] = tuple
    ) -> None:
        self._keys = keys
        self._now_ms = now_ms
        self._known = known

    def known(self) -> Sequence[TrustedKey]:
        """All author keys, also those that are no longer good. Raises `KeysMissingError`, `UnreadableError`."""
        return self._known()

    def good(self, domain: str) -> list[TrustedKey]:
        """The keys that may sign for a domain now. Raises as `known` does."""
        return good_keys(author_keys(self.known(), domain), self._now_ms())

    def sign(self, head: Checkpoint) -> SignedNote:
        """Sign a head of this domain's log. Raises what `LiveKeys.newest` raises."""
        public, sign = self._newest()
        return sign_checkpoint(head, public, sign)

    def cosign(self, note: SignedNote, witness: str) -> SignedNote:
        """Say that this domain has seen a head now. Raises as `sign` does."""
        public, sign = self._newest()
        return cosign(note, origin_of(witness), public, sign, int(time.time()))

    def _newest(self) -> tuple[bytes, Sign]:
        signer = self._keys.newest("author", self._now_ms())
        public = {key.key_id: key.public for key in self._keys.register().keys}[signer.public_key.keyid]
        return public, lambda data: bytes.fromhex(signer.sign(data).signature)


class HeadWitness:
    """The hub's part: one head after another of each site's log, each continuing the one before."""

    def __init__(self, log: AuditLog, keys: HeadKeys, faults: Faults, incarnation_of: Callable[[str], int]) -> None:
        """`incarnation_of` says how often a site was provisioned; 0: it is none of the hub's, or was revoked."""
        self._log = log
        self._keys = keys
        self._faults = faults
        self._incarnation_of = incarnation_of
        self.seen_size = 0
        """Entries of the hub's own log that all its sites that asked know the head of; since this process began."""
        self._seen: dict[str, int] = {}

    def answer(self, site: str, data: bytes, now_ms: int) -> HeadReply:
        """Witness the head that a site asks for, or say why not; what speaks against its log is logged here.

        Raises `AuditFullError`, `AuditDamagedError`, and what signing raises.
        """
        incarnation, size = self._incarnation_of(site), 0
        if not incarnation:
            return HeadReply(fault="unknown_site", reason=f"{site} is none of the hub's sites, or was revoked")
        try:
            asked = decode(data, HeadSubmission)
            note = parse_note(asked.checkpoint)
            if source_of(note.checkpoint.origin)[1] > incarnation:
                raise HeadRefusedError("foreign", f"{site} was provisioned {incarnation} times: it has no such log")
            known = self._log.reader.head_of(note.checkpoint.origin)
            before = known.checkpoint if known else None
            size = before.size if before else 0
            head = check_head(note, site, self._keys.good(site), before, asked.proof, asked.old_size)
        except (UnreadableError, BadCheckpointError) as error:
            return self._refuse(site, HeadRefusedError("unsigned", error.reason), data, now_ms, size)
        except HeadRefusedError as error:
            return self._refuse(site, error, asked.checkpoint.encode(), now_ms, size)
        self._note_seen(site, asked.hub_size)
        cosigned = self._keys.cosign(SignedNote(note.text, note.signatures[:1]), HUB)
        self._log.keep_head(cosigned, now_ms)
        self._faults.clear(site, "head")
        return self._with_news(HeadReply(size=head.size, cosigned=str(cosigned)), site, asked.hub_size)

    def _note_seen(self, site: str, hub_size: int) -> None:
        signed = self._log.reader.newest_checkpoint()
        self._seen[site] = min(hub_size, signed.checkpoint.size if signed else 0)
        self.seen_size = min(self._seen.values())

    def _refuse(self, site: str, error: HeadRefusedError, shown: bytes, now_ms: int, size: int) -> HeadReply:
        if error.fault not in PASSING:
            self._faults.note(site, error, "head")
            METRICS.refused.labels(site, error.fault).inc()
            digest = sha256(shown).hexdigest()
            act = AuditedAct(about=site, reason=f"{error.fault}: {error.reason}"[:500], digest=digest)
            source = f"head:{site}:{digest}"  # the same head again is no second entry
            self._log.append([EntryDraft(kind="head_refused", body=act, source=source, at_ms=now_ms)], now_ms)
        return HeadReply(fault=error.fault, reason=error.reason[:500], size=size)

    def _with_news(self, reply: HeadReply, site: str, hub_size: int) -> HeadReply:
        """The reply with the heads of the others, and the hub's own."""
        reader = self._log.reader
        own = (f"{origin_of(site)}\n", f"{origin_of(site)}@", f"{origin_of(HUB)}\n")
        heads = tuple(note for note in reader.newest_heads(MOST_HEADS) if not note.startswith(own))
        signed = reader.newest_checkpoint()
        if signed is None or hub_size > signed.checkpoint.size:  # the site sees that the hub's log was cut
            return HeadReply(size=reply.size, cosigned=reply.cosigned, heads=heads, hub_head=str(signed or ""))
        return HeadReply(
            size=reply.size,
            cosigned=reply.cosigned,
            heads=heads,
            hub_head=str(signed),
            hub_proof=tuple(reader.consistency_proof(hub_size, signed.checkpoint.size)),
        )


class HeadSubmitter:
    """A site's part: has its newest head witnessed, and keeps the heads of others that it is told of."""

    def __init__(self, log: AuditLog, keys: HeadKeys, site: str, core: CoreClient) -> None:
        self._log = log
        self._keys = keys
        self._site = site
        self._core = core

    def submission(self, from_size: int | None = None) -> HeadSubmission | None:
        """What to ask the hub: from the size that it is known to have witnessed; None while there is no signed head.

        Raises `BadCheckpointError`, `AuditDamagedError`; `HeadRefusedError` where the hub has seen more than there is.
        """
        reader = self._log.reader
        note = reader.newest_checkpoint()
        if note is None:
            return None
        own, hub = reader.head_of(reader.state().origin), reader.head_of(origin_of(HUB))
        old, size = (own.checkpoint.size if own else 0) if from_size is None else from_size, note.checkpoint.size
        if old > size:
            raise HeadRefusedError("truncated", f"the hub has witnessed {old} entries of this log, and it has {size}")
        return HeadSubmission(
            checkpoint=str(note),
            old_size=old,
            proof=tuple(reader.consistency_proof(old, size)),
            hub_size=hub.checkpoint.size if hub else 0,
        )

    async def ask(self, submission: HeadSubmission) -> HeadReply:
        """The hub's reply. Raises `UnreachableError`, `UnreadableError`."""
        reply = await self._core.request(heads_of(self._site), encode(submission), timeout_s=ASK_WITHIN_S)
        return decode(reply, HeadReply)

    def take(self, reply: HeadReply, submission: HeadSubmission, now_ms: int) -> list[HeadRefusedError]:
        """Keep what the hub has replied, and return what speaks against the hub or another site.

        Raises `HeadRefusedError` where it refused this log's head, or has not signed what it says that it has.
        """
        if reply.fault:
            raise HeadRefusedError(reply.fault, f"the hub refuses the head of this log: {reply.fault}: {reply.reason}")
        cosigned = parse_note(reply.cosigned)
        keys = self._keys.known()
        is_own = cosigned.text == parse_note(submission.checkpoint).text
        if not is_own or not witnessed_at_s(cosigned, origin_of(HUB), author_keys(keys, HUB)):
            raise HeadRefusedError(
                "unsigned", "the hub's reply is no cosignature of a key of the hub that is known here"
            )
        self._log.keep_head(cosigned, now_ms)
        against = [self._hear(text, keys, now_ms) for text in reply.heads]
        return [each for each in (*against, self._hear_hub(reply, submission, keys, now_ms)) if each]

    def _hear(self, text: str, keys: Sequence[TrustedKey], now_ms: int) -> HeadRefusedError | None:
        try:
            heard = parse_note(text)
            domain_of(heard.checkpoint.origin)
            known = self._log.reader.head_of(heard.checkpoint.origin)
            newer = choose_newer(known, heard, HUB, keys)
        except BadCheckpointError as error:
            return HeadRefusedError("unsigned", f"the hub passed on a head of another site: {error.reason}")
        except HeadRefusedError as error:
            return error
        if newer is not known:
            self._log.keep_head(newer, now_ms)
        return None

    def _hear_hub(
        self, reply: HeadReply, submission: HeadSubmission, keys: Sequence[TrustedKey], now_ms: int
    ) -> HeadRefusedError | None:
        if not reply.hub_head and not submission.hub_size:
            return None
        known = self._log.reader.head_of(origin_of(HUB))
        try:
            note = parse_note(reply.hub_head)
            check_head(note, HUB, keys, known.checkpoint if known else None, reply.hub_proof, submission.hub_size)
        except TidegateError as error:
            return error if isinstance(error, HeadRefusedError) else HeadRefusedError("unsigned", error.reason)
        self._log.keep_head(note, now_ms)
        return None
