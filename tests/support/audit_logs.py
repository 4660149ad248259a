"""An audit log with keys, to be read, signed, witnessed and attacked."""

from __future__ import annotations

import sqlite3
from hashlib import sha256
from pathlib import Path

import msgspec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from securesystemslib.signer import CryptoSigner

from tests.support.message_parts import RECEIPT
from tidegate.schemas.audit import AuditedAct, AuditedAnswer, AuditEntry
from tidegate.schemas.message import decode, encode_json
from tidegate.schemas.trust import TrustedKey
from tidegate.services.evidence.checkpoints import SignedNote, cosign, origin_of, sign_checkpoint
from tidegate.services.evidence.log import AuditLog, EntryDraft
from tidegate.services.evidence.log_file import LOG
from tidegate.services.evidence.log_reader import LogState
from tidegate.services.evidence.merkle import TreeBuilder, leaf_hash


class LogKey:
    """An author key of a domain, both halves."""

    def __init__(self, owner: str, seed: int = 1) -> None:
        self.private = Ed25519PrivateKey.from_private_bytes(sha256(f"{owner} {seed}".encode()).digest())
        public = self.private.public_key().public_bytes_raw()
        self.known = TrustedKey(
            key_id=CryptoSigner(self.private).public_key.keyid,
            role="author",
            owner=owner,
            public=public,
            created_at_ms=1,
        )

    def sign_head(self, log: AuditLog) -> SignedNote:
        """The log's head, signed with this key."""
        return sign_checkpoint(log.reader.head(), self.known.public, self.private.sign)

    def sign_text(self, text: str) -> SignedNote:
        """The text of any head, signed with this key."""
        return sign_checkpoint(SignedNote(text, ()).checkpoint, self.known.public, self.private.sign)

    def cosign(self, note: SignedNote, at_s: int = 1_700_000_000) -> SignedNote:
        """The note as witnessed by this key's owner."""
        return cosign(note, origin_of(self.known.owner), self.known.public, self.private.sign, at_s)


SITE1, SITE2, HUB = LogKey("site1"), LogKey("site2"), LogKey("hub")
KEYS = (SITE1.known, SITE2.known, HUB.known)


def answer(number: int, tenant: str = "kiosk") -> EntryDraft:
    """The draft of a published answer."""
    body = AuditedAnswer(
        rid=f"r{number}",
        outcome="answered",
        text_digest=sha256(b"%d" % number).hexdigest(),
        receipt_digest=sha256(b"receipt %d" % number).hexdigest(),
        receipt=RECEIPT,
    )
    return EntryDraft(
        kind="answered", tenant=tenant, source=f"ANSWERS:r{number}.publisher.0", at_ms=1_000 + number, body=body
    )


def act(number: int, tenant: str = "") -> EntryDraft:
    """The draft of something done."""
    return EntryDraft(
        kind="key_rotated", tenant=tenant, source=f"act {number}", at_ms=number, body=AuditedAct(about="author")
    )


def fill(
    log: AuditLog, count: int, begin: int = 0, signed_every: int = 0, tenants: tuple[str, ...] = ("kiosk",)
) -> None:
    """Append answers, of these tenants in turn, and sign a head after every so many."""
    for number in range(begin, begin + count):
        log.append([answer(number, tenants[number % len(tenants)])], 5_000 + number)
        if signed_every and (number + 1) % signed_every == 0:
            log.keep_checkpoint(SITE1.sign_head(log))


def attack(directory: Path, *statements: str) -> None:
    """Change a log's file as somebody can who may write it."""
    with sqlite3.connect(directory / LOG) as connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


def rebuild(directory: Path) -> None:
    """Have everything that can be computed from the leaves agree with them: what who has no key can do at best."""
    with sqlite3.connect(directory / LOG) as connection:
        rows = connection.execute("SELECT hash, CAST(leaf AS BLOB) FROM entries ORDER BY counter").fetchall()
        leaves = [(bytes(kept) if not leaf else leaf_hash(bytes(leaf)), bytes(leaf)) for kept, leaf in rows]
        tree, tiles = TreeBuilder(), []
        connection.execute("DELETE FROM entries")
        for counter, (digest, leaf) in enumerate(leaves):
            connection.execute("INSERT INTO entries VALUES (?, ?, ?)", (counter, digest, leaf))
            tiles += [(level, (tree.size >> level) - 1, full) for level, full in tree.append(digest)]
        connection.execute("DELETE FROM tiles")
        connection.executemany("INSERT INTO tiles VALUES (?, ?, ?)", tiles)
        state = LogState("site1", *tree.edge, 10_000)
        connection.execute("UPDATE own SET state = ?", (msgspec.msgpack.encode(state),))
    connection.close()


def renumber(directory: Path) -> None:
    """Have every leaf state the number under which it is stored, in the form in which leaves are written."""
    with sqlite3.connect(directory / LOG) as connection:
        rows = connection.execute("SELECT counter, CAST(leaf AS BLOB) FROM entries ORDER BY counter").fetchall()
        connection.execute("DELETE FROM entries")
        for number, (_, leaf) in enumerate(rows):
            entry = msgspec.structs.replace(decode(bytes(leaf), AuditEntry), counter=number)
            row = (number, b"", encode_json(entry))
            connection.execute("INSERT INTO entries VALUES (?, ?, ?)", row)
    connection.close()
    rebuild(directory)
