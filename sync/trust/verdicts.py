"""Names what python-tuf found wrong, in words that say which attack it may be and which key, and what to do.

Every error of python-tuf has a name here. Next: faults.py, the names; client.py, which raises them."""

from __future__ import annotations

from tuf.api.exceptions import (
    BadVersionNumberError,
    DownloadError,
    DownloadHTTPError,
    DownloadLengthMismatchError,
    ExpiredMetadataError,
    LengthOrHashMismatchError,
    RepositoryError,
    UnsignedMetadataError,
)
from tuf.api.metadata import Metadata, Root
from tuf.api.serialization import DeserializationError

from tidegate.sync.trust.faults import (
    BadSignatureError,
    BlobMissingError,
    ExpiredRoleError,
    FrozenTimestampError,
    MalformedMetadataError,
    MixedVersionsError,
    RolledBackError,
    SourceUnavailableError,
    ThresholdNotMetError,
    TrustError,
    UnknownKeyError,
)
from tidegate.sync.trust.roles import TUF_ROLES
from tidegate.sync.trust.sources import FetchedFile

TufError = RepositoryError | DownloadError


def name_fault(error: TufError, fetched: FetchedFile | None, root: Root) -> TrustError:
    """The fault that an error of python-tuf stands for. `fetched` is the file that it looked at, `root` the newest that
    is trusted."""
    name = fetched.name if fetched else "the repository"
    match error:
        case DownloadHTTPError():
            return BlobMissingError(f"the source lacks a part of the repository: {error}")
        case DownloadLengthMismatchError() | LengthOrHashMismatchError():
            return MixedVersionsError(f"{name} is not the one that the repository vouches for: {error}")
        case DownloadError():
            return SourceUnavailableError(f"the source cannot be read: {error}")
        case ExpiredMetadataError():
            return _expired(error)
        case BadVersionNumberError():
            return RolledBackError(f"{name} is older than what is known: {error}")
        case UnsignedMetadataError() if fetched is not None:
            return _unsigned(fetched, root)
    return MalformedMetadataError(f"{name}: {error}")


def _expired(error: ExpiredMetadataError) -> TrustError:
    """python-tuf tells in words only which role it is; the test of each role says when it changes them."""
    role = next((role for role in TUF_ROLES if role in str(error)), "a role")
    if role == "timestamp":
        return FrozenTimestampError("the timestamp of the repository has expired, by the time that the hub told last")
    return ExpiredRoleError(f"the signature of {role} has expired")


def _unsigned(fetched: FetchedFile, root: Root) -> TrustError:
    """Whether strangers signed, the keys did not sign this, or too few did."""
    try:
        metadata: Metadata[Root] = Metadata.from_bytes(fetched.data)
        role = root.roles[metadata.signed.type]
    except (DeserializationError, KeyError) as error:
        return MalformedMetadataError(f"{fetched.name}: {error}")
    result = root.get_verification_result(metadata.signed.type, metadata.signed_bytes, metadata.signatures)
    strangers = sorted(set(metadata.signatures) - set(role.keyids))
    if result.signed:
        return ThresholdNotMetError(f"{fetched.name}: {len(result.signed)} good signatures, {role.threshold} must be")
    if strangers:
        return UnknownKeyError(f"{fetched.name} is signed by {', '.join(strangers)}, which may not sign it")
    return BadSignatureError(f"{fetched.name} was changed after {', '.join(sorted(metadata.signatures))} signed it")
