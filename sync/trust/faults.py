"""The faults of trust: what is wrong with a key, a signature, a repository or a lease, each with its own code.

Whoever catches a `TrustError` knows that nothing was applied. Next: verdicts.py, which names those of python-tuf."""

from __future__ import annotations

from tidegate.schemas.errors import TidegateError


class TrustError(TidegateError):
    """Something is not believed, and nothing of it was applied."""

    hint = "what was in force before goes on; find out who made what is refused"


class UnknownKeyError(TrustError):
    """It is signed with a key that nobody here has ever admitted."""

    hint = "admit the key with `tidegate keys`, or find out who signs as this"


class RevokedKeyError(TrustError):
    """It is signed with a key that was revoked."""

    hint = "make a new key with `tidegate keys rotate`; a revoked one never comes back"


class ExpiredKeyError(TrustError):
    """It is signed with a key whose time is over."""

    hint = "make a new key with `tidegate keys rotate`"


class WrongKeyError(TrustError):
    """It is signed with a key that may not sign this: it has another role, or another owner."""

    hint = "sign with the key of this role and this site; `tidegate keys list` shows whose each is"


class BadSignatureError(TrustError):
    """The signature does not fit the bytes: they were changed, or another key signed them."""

    hint = "fetch it anew; if it fails again, somebody changes it on the way"


class FrozenTimestampError(TrustError):
    """The repository's timestamp has expired: an old state is shown as if it were the present one."""

    hint = "sign a fresh timestamp at the hub; if the hub has one, somebody between keeps it back"


class ExpiredRoleError(TrustError):
    """The root, snapshot or targets of the repository have expired, though its timestamp is fresh."""

    hint = "sign the role anew at the hub: `tidegate keys rotate`, or publish something"


class RolledBackError(TrustError):
    """An older state than the one that is known is offered."""

    hint = "the hub was restored from a backup, or an old state is replayed; publish anew at the hub"


class MixedVersionsError(TrustError):
    """Metadata of two states of the repository are offered together, or were changed on the way."""

    hint = "fetch it anew; if it fails again, copy the whole repository again"


class ThresholdNotMetError(TrustError):
    """Too few of the keys of a role have signed."""

    hint = "sign with as many keys of the role as its threshold asks for; --root-keys names the medium of the root's"


class MalformedMetadataError(TrustError):
    """What is offered as metadata of the repository is none."""

    hint = "fetch it anew; if it fails again, copy the whole repository again"


class MixedUpTargetError(TrustError):
    """One thing is offered under the name of another."""

    hint = "publish it under its own name; if it was, somebody exchanges things on the way"


class TamperedChunkError(TrustError):
    """A piece of a file is not the one that was signed."""

    hint = "fetch it anew: what was verified before it is kept; if it fails again, somebody changes it on the way"


class UnknownTargetError(TrustError, LookupError):
    """The repository, as it was last verified, has nothing under this name."""

    hint = "publish it at the hub, or refresh the site"


class BlobMissingError(TrustError, LookupError):
    """The source has nothing under this name."""

    hint = "copy the whole repository; what is large may still be on its way"


class BaseModelMissingError(TrustError):
    """An adapter fits none of the models that are in force here: with another one it would answer wrongly."""

    hint = "publish one of its base models, or the adapter for the model that is in force, by `--base DIGEST`"


class SourceUnavailableError(TrustError, ConnectionError):
    """The source could not be read: the link is down, or the disk failed."""

    hint = "nothing needs doing: what is in force goes on, and ages; it is tried again"
