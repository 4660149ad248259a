"""What the audit log of a domain holds, and what sites and the hub tell each other of it; next: services/evidence.

An entry holds receipts, codes and digests: no text that a person wrote, and no value from a vault."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.answer import Outcome
from tidegate.schemas.message import END, Message, Millis, Name
from tidegate.schemas.receipt import Receipt
from tidegate.schemas.sync import Digest

OwnTenant = Annotated[
    str, msgspec.Meta(pattern=rf"^([a-z0-9][a-z0-9_-]{{0,31}})?{END}", description="empty: no tenant's")
]
Code = Annotated[str, msgspec.Meta(max_length=500)]
"""A code, or a sentence that the product wrote: nothing that a person did."""
EntryCount = Annotated[int, msgspec.Meta(ge=0, lt=1 << 53)]

ActKind = Literal[
    "log_opened",
    "refused",
    "in_force",
    "published",
    "repaired",
    "conflict_resolved",
    "key_made",
    "key_rotated",
    "key_revoked",
    "site_added",
    "site_accepted",
    "site_revoked",
    "site_fenced",
    "erased",
    "exported",
    "vault_accepted",
    "violated",
    "head_refused",
    "head_accepted",
    "evidence_only",
    "trimmed",
]
"""What was done or refused, beside answers and dead letters. `violated`: somebody tried what is not theirs.
`evidence_only`: an incident has put a site to it; what is put on or off by hand is `published`.
`trimmed`: of the entries before number `epoch` the hashes are kept alone; `digest` is the root that they make.
`head_accepted`: a person takes the log of a domain for what it is now, though it is not what was witnessed;
`vault_accepted`: the same of a vault. `erased`, `exported`: what was held of one asker, not whose it was; the digest of
an erasure is that of its certificate."""
EntryKind = Literal["answered", "withheld", "abstained", "dead_lettered"] | ActKind
HeadFault = Literal["", "forked", "truncated", "unproven", "unsigned", "foreign", "unknown_site", "unavailable"]
"""Why a head is not witnessed: it contradicts one of the same size; it is smaller than one that was witnessed; it does
not prove that it continues that one; no good key of the site signed it; it is another log's; the site is none of ours;
the hub cannot tell now."""


class AuditedAnswer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="answer"):
    """What was published for one request. `receipt` is the answer's own, but with the digest of every quote and of a
    rewritten question in the place of their words; `receipt_digest` is that of the receipt as it was published (JSON).
    """

    rid: str
    outcome: Outcome
    reason: Code = ""
    text_digest: Digest
    receipt_digest: Digest
    receipt: Receipt


class AuditedLetter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="letter"):
    """What a stage gave up; `data_digest` is that of the bytes that the dead letter keeps."""

    rid: str
    stage: str
    reason: Code = ""
    attempt: EntryCount = 0
    data_digest: Digest


class AuditedAct(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, tag="act"):
    """Something that was done or refused. `about` names it (a key's id, a site, an artefact, a code of refusal), `by`
    who did it, as far as that is known; `count` is how many of the same it stands for since the last entry of them;
    `rids` are some of their requests. `policies` are those that came into force, as canonical JSON by version, for who
    judges by them later.
    """

    about: Code = ""
    reason: Code = ""
    by: Code = ""
    digest: str = ""
    epoch: EntryCount = 0
    count: Annotated[int, msgspec.Meta(ge=1)] = 1
    rids: tuple[str, ...] = ()
    policies: dict[str, str] = {}


class AuditEvent(Message, frozen=True, kw_only=True, omit_defaults=True):
    """What a process reports to the audit worker of its domain, which puts it into the log. `at_ms` is Unix time.

    `answer` is one that was given in process, where no stream holds it; there is no act then.
    """

    kind: EntryKind
    act: AuditedAct = AuditedAct()
    answer: AuditedAnswer | None = None
    tenant: OwnTenant = ""
    at_ms: Millis = 0


class AuditEntry(Message, frozen=True, kw_only=True, omit_defaults=True):
    """One leaf of the audit log of `domain`; its bytes in the log are its JSON.

    `counter` is its index: entries are numbered from 0 without a gap. `logged_at_ms` is the domain's trusted time and
    never goes back; `at_ms` is when what it tells of happened, by the clock of whoever stored it. `source` is the id
    under which it was stored there, and names it for ever. `salt` is random, so that its hash gives nothing away.
    """

    kind: EntryKind
    domain: Name
    tenant: OwnTenant = ""
    counter: EntryCount
    logged_at_ms: Millis
    at_ms: Millis = 0
    source: str = ""
    salt: Annotated[str, msgspec.Meta(min_length=32, max_length=32)]
    body: AuditedAnswer | AuditedLetter | AuditedAct


class HeadSubmission(Message, frozen=True, kw_only=True, omit_defaults=True):
    """A site asks the hub to witness its checkpoint, a signed note (C2SP tlog-checkpoint).

    `proof` shows that it continues the log of `old_size` entries (RFC 9162, 2.1.4). `hub_size` is the size of the
    hub's own log that the site knows.
    """

    checkpoint: str
    old_size: EntryCount = 0
    proof: tuple[bytes, ...] = ()
    hub_size: EntryCount = 0


class HeadReply(Message, frozen=True, kw_only=True, omit_defaults=True):
    """The hub's answer. `cosigned` is the checkpoint with the hub's signature beside the site's (tlog-cosignature of
    C2SP); empty where `fault` says why not. `size` is that of the log as the hub has witnessed it by now.

    `heads` are the newest cosigned checkpoints of other sites; `hub_head` is the hub's own, with the proof from the
    size that the site knew.
    """

    fault: HeadFault = ""
    reason: Code = ""
    size: EntryCount = 0
    cosigned: str = ""
    heads: tuple[str, ...] = ()
    hub_head: str = ""
    hub_proof: tuple[bytes, ...] = ()


class ProofKey(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A public key, in hexadecimal digits, that signed a head, and the domain that it is said to be of."""

    owner: Name
    public: Annotated[str, msgspec.Meta(pattern=rf"^[0-9a-f]{{64}}{END}")]


class AnswerProof(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """That one answer stands in the log of a domain: its entry as it was hashed, the path from there to the root (RFC
    9162, in hexadecimal digits), and a signed head with that root.

    `keys` vouch for nothing: who checks it has to know them.
    """

    format: Literal["tidegate-audit-proof"]
    version: Literal[1]
    entry: str
    path: tuple[Digest, ...]
    head: str
    keys: tuple[ProofKey, ...]
