"""What a person gets of what is held of them: a certificate that it was erased, or the data; next: services/fleet.

Files that commands write; no message of a stream."""

from __future__ import annotations

import msgspec

from tidegate.schemas.message import Millis


class ErasureCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """What was destroyed of one asker at one site. The digest of its JSON (sha256) is in the audit log of the site.

    `asker` is the digest by which the site knew the asker, `former_askers` those before its key was exchanged, and
    `at_ms` Unix time. `key_id` (and `former_key_ids`) names the key that sealed
    the values and the requests, empty where there was none, and `key_epoch` is that of the tenant's keys from then on:
    no copy of the vault that was made before opens under it. `deleted` are messages by domain and stream, as
    `site1/PIPE`. `unreadable` are sealed requests that were tried before they were deleted and did not open any more.
    `left` is what is still there by name of the place, with the Unix time in milliseconds when it goes by itself (0:
    never): the hub's streams, where the hub could not be reached.
    """

    site: str
    tenant: str
    asker: str
    at_ms: Millis
    values: int
    key_id: str
    key_epoch: int
    requests: tuple[str, ...] = ()
    deleted: dict[str, int] = {}
    unreadable: int = 0
    left: dict[str, Millis] = {}
    former_askers: tuple[str, ...] = ()
    former_key_ids: tuple[str, ...] = ()


class ExportedValue(msgspec.Struct, frozen=True, kw_only=True):
    """A personal value of the vault, and when it goes by itself, Unix time in milliseconds."""

    kind: str
    value: str
    until_ms: Millis


class ExportedRequest(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A request as it was asked, as far as that is held, and its answer as the asker has read it."""

    rid: str
    asked_at_ms: Millis = 0
    text: str = ""
    schema: str = ""
    instructions: str = ""
    history: tuple[tuple[str, str], ...] = ()
    outcome: str = ""
    answer: str = ""
    held_in: dict[str, int] = {}
    """Messages about it, by stream of the site."""


class PersonalExport(msgspec.Struct, frozen=True, kw_only=True):
    """All that a site holds of one asker."""

    site: str
    tenant: str
    asker: str
    at_ms: Millis
    values: tuple[ExportedValue, ...] = ()
    requests: tuple[ExportedRequest, ...] = ()
