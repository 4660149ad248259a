"""A site's statement of what runs there, signed by its device key, in the form that supply-chain tools read.

A DSSE envelope around an in-toto Statement v1: subjects are what was measured, the predicate says who, when in its
own history, and in answer to which nonce. What a software key vouches for is called so: `assurance: software`.
Next: leases.py, the hub's side."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Protocol

import msgspec
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import FormatError
from securesystemslib.signer import CryptoSigner, Signature, Signer

from tidegate.schemas.artefact import Epoch
from tidegate.schemas.clocks import Counter
from tidegate.schemas.errors import UnreadableError
from tidegate.schemas.message import Name
from tidegate.schemas.sync import BootId, Digest
from tidegate.sync.trust.chunks import digest_of_file
from tidegate.sync.trust.faults import BadSignatureError
from tidegate.sync.trust.keyring import Keyring

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE: Final = "urn:tidegate:site-attestation:v1"
MOST_BYTES = 256 * 1024
"""Of an envelope that the hub reads."""
Assurance = Literal["software", "tpm"]


class AttestationRoot(Protocol):
    """What the hub's trust in a site rests on: a key in a file, or in a chip."""

    @property
    def assurance(self) -> Assurance:
        """What it can honestly vouch for."""
        ...

    @property
    def signer(self) -> Signer:
        """Signs with the device key."""
        ...


class SoftwareRoot(msgspec.Struct, frozen=True):
    """A device key in a file: whoever reads the disk of the site can sign as it, and it says so."""

    signer: CryptoSigner

    @property
    def assurance(self) -> Assurance:
        """Always `software`."""
        return "software"


class SiteStatement(msgspec.Struct, frozen=True, kw_only=True):
    """The predicate: which site, which of its incarnations, starts and statements, and for which nonce of the hub.

    `epochs` are the critical artefacts in force there, by name.
    """

    site: Name
    incarnation: Epoch
    boot_id: BootId
    counter: Counter
    nonce: Digest
    assurance: Assurance
    epochs: dict[str, Epoch] = {}


class VerifiedStatement(msgspec.Struct, frozen=True):
    """A statement that the device key `key_id` of its site has signed; `digest` is that of the signed bytes."""

    statement: SiteStatement
    measurements: dict[str, str]
    digest: str
    key_id: str


class _Hashes(msgspec.Struct, frozen=True):
    sha256: Digest


class _Subject(msgspec.Struct, frozen=True):
    name: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    digest: _Hashes


class _InTotoStatement(msgspec.Struct, frozen=True, kw_only=True, rename={"type_": "_type"}):
    """Source: in-toto Attestation Framework, Statement v1."""

    type_: Literal["https://in-toto.io/Statement/v1"]
    subject: Annotated[tuple[_Subject, ...], msgspec.Meta(min_length=1)]
    predicate_type: Literal["urn:tidegate:site-attestation:v1"] = msgspec.field(name="predicateType")
    predicate: SiteStatement


def measure(path: Path) -> str:
    """The digest of a file, or of all files below a directory: their names and bytes, in an order of its own. Python's
    caches of compiled code are left out. Raises `OSError`."""
    if not path.is_dir():
        return digest_of_file(path)
    whole = sha256()
    for file in sorted(each for each in path.rglob("*") if each.is_file() and "__pycache__" not in each.parts):
        name = file.relative_to(path).as_posix().encode("utf-8", "surrogateescape")
        whole.update(len(name).to_bytes(4, "big") + name + bytes.fromhex(digest_of_file(file)))
    return whole.hexdigest()


def attest(root: AttestationRoot, statement: SiteStatement, measurements: dict[str, str]) -> bytes:
    """The envelope to send to the hub: `measurements` are digests by name (`code`, `configuration`, `models/reader`).

    `statement.assurance` is the root's own, whatever it says. The site stores its counter before it sends this.
    """
    payload = _InTotoStatement(
        type_=STATEMENT_TYPE,
        subject=tuple(_Subject(name, _Hashes(digest)) for name, digest in sorted(measurements.items())),
        predicate_type=PREDICATE_TYPE,
        predicate=msgspec.structs.replace(statement, assurance=root.assurance),
    )
    envelope = Envelope(msgspec.json.encode(payload), PAYLOAD_TYPE, {})
    envelope.sign(root.signer)
    return msgspec.json.encode(envelope.to_dict())


def verify_statement(data: bytes, keyring: Keyring, at_ms: int) -> VerifiedStatement:
    """The statement of an envelope, signed by a device key of the site that it names, which was good at `at_ms`.

    Whether it is fresh, and whether what it measured is allowed, is judged in leases.py. Raises `UnreadableError`,
    `UnknownKeyError`, `WrongKeyError`, `RevokedKeyError`, `ExpiredKeyError`, `BadSignatureError`.
    """
    envelope, signature = _envelope(data)
    try:
        read = msgspec.json.decode(envelope.payload, type=_InTotoStatement)
    except msgspec.DecodeError as error:
        raise UnreadableError(f"the statement: {error}") from error
    statement = read.predicate
    key = keyring.find(signature.keyid, "device", statement.site, at_ms)
    try:
        signed = bytes.fromhex(signature.signature)
    except ValueError as error:
        raise BadSignatureError(f"the signature of {key.key_id} is no hexadecimal number") from error
    keyring.check_bytes(key, envelope.pae(), signed)
    measurements = {subject.name: subject.digest.sha256 for subject in read.subject}
    return VerifiedStatement(statement, measurements, sha256(envelope.payload).hexdigest(), key.key_id)


def _envelope(data: bytes) -> tuple[Envelope, Signature]:
    """A DSSE envelope with one signature, of an in-toto statement. Raises `UnreadableError`."""
    if len(data) > MOST_BYTES:
        raise UnreadableError(f"the envelope has {len(data)} bytes, more than {MOST_BYTES}")
    try:
        read: dict[str, Any] = msgspec.json.decode(data, type=dict[str, Any])
        envelope = Envelope.from_dict(read)
    except (msgspec.DecodeError, KeyError, ValueError, TypeError, AttributeError, FormatError) as error:
        raise UnreadableError(f"this is no DSSE envelope: {error}") from error
    if envelope.payload_type != PAYLOAD_TYPE or len(envelope.signatures) != 1:
        raise UnreadableError("this is no in-toto statement with one signature")
    return envelope, next(iter(envelope.signatures.values()))
