"""What a process of any kind can be configured to do, and how it reaches its server; next: process/config.py.

The settings of the product are composed on top of these in services/settings.py; nothing here knows a stage."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec

from tidegate.schemas.message import Name

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0.0)]
GRACE_S = 10.0
"""How long a drain takes at most, where nothing else is set."""
Directory = Annotated[str, msgspec.Meta(min_length=1)]


def mask_password(text: str) -> str:
    """The text without the user and the password of a URL in it."""
    return re.sub(r"(?<=://)[^@/\s]*@", "***@", text)


class NatsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a process reaches its own domain's server."""

    url: str = "nats://127.0.0.1:4222"
    """The address of the server of this domain; of a hub that has several, all of them, with commas between."""
    nkey_seed_file: str = ""
    """The file with the nkey seed that the process logs in with. Empty: none, and no server of ours lets it in."""
    tls_authority: str = ""
    """The PEM file of the authority by which the server is believed. With it, and where `url` begins with `tls://`, a
    connection begins with the TLS handshake, and the name in `url` has to stand in the server's certificate. Empty:
    the authorities of the system."""

    @property
    def urls(self) -> list[str]:
        """The addresses, one by one."""
        return [url.strip() for url in self.url.split(",")]

    @property
    def public_url(self) -> str:
        """The address without a password, for logs and errors."""
        return ",".join(map(mask_password, self.urls))


DAY_S = 24 * 3600
Kept = Annotated[int, msgspec.Meta(ge=0, extra={"unit": "s"})]
SHORTEST_KEPT_S = 3600
"""Longer than any request takes, and than ids are remembered by which nothing is stored twice."""
SHORT_LIVED = ("tokens_s", "claims_s")
"""What is of use only while a request is under way."""

Mebibytes = Annotated[int, msgspec.Meta(ge=1)]


class StreamSizes(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much each stream holds. One that is full refuses what comes, so that nothing that was accepted makes room
    for what was not, and the gateway refuses new requests before it is; but for `pipe_mib`, `tokens_mib` and
    `claims_mib`. A limit that somebody set on the server by hand is kept until the setting changes."""

    asks_mib: Mebibytes = 4096
    """Requests: 2 million of them of 2 kB, more than three days of seven a second."""
    pipe_mib: Mebibytes = 8192
    """The hops of requests: about 10 kB of each. The oldest make room: all of them follow from a request that the
    gateway lets in only while the others can be finished."""
    escalations_mib: Mebibytes = 2048
    """What goes to the hub: 200 000 requests with their passages, for as long as the link is down."""
    verdicts_mib: Mebibytes = 2048
    """What the hub answers, at both."""
    answers_mib: Mebibytes = 8192
    """Answers with their receipts: about 2.6 million. Once half of it is full the oldest are archived."""
    dead_mib: Mebibytes = 1024
    """Dead letters, of which there should be few."""
    tokens_mib: Mebibytes = 256
    """What was shown of answers, in memory: 15 minutes of it. The oldest makes room; the answer can be sent instead."""
    claims_mib: Mebibytes = 256
    """Who works on what at the hub, in memory. The oldest makes room: what is lost of it is worked out again."""
    edits_mib: Mebibytes = 2048
    """Edits of shared documents that wait for the link."""
    local_mib: Mebibytes = 4096
    """Edits of documents that stay in their domain."""
    corpus_mib: Mebibytes = 4096
    """Changes of shared documents, of 30 days."""
    artefacts_mib: Mebibytes = 256
    """Descriptions of what the hub has published: 64 versions of each."""
    obj_policy_mib: Mebibytes = 256
    """Policies and all that is as small and as urgent."""
    obj_prompt_mib: Mebibytes = 256
    """Prompts."""
    obj_adapter_mib: Mebibytes = 2048
    """Adapters of models: about ten of 200 MB."""
    obj_index_mib: Mebibytes = 8192
    """Snapshots of collections."""
    obj_weights_mib: Mebibytes = 8192
    """Weights of models."""


class RetentionSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How long each stream keeps what is stored in it (0: for ever), and how much. `tidegate topology apply` makes it
    so. A time that is shorter than a stream has deletes what is older, and is refused without `--delete-older`; a start
    leaves the stream as it is then. A limit that somebody has set on the server by hand is kept until its setting
    changes. `max_file` of a server that `tidegate up` does not keep has to be more than all sizes together."""

    asks_s: Kept = 3 * DAY_S
    """Requests, sealed."""
    pipe_s: Kept = 3 * DAY_S
    """What stages store of a request on its way: text with vault tokens in it. It is what `trace` and `replay` read."""
    escalations_s: Kept = 3 * DAY_S
    """What a site sends to the hub, at both."""
    verdicts_s: Kept = 3 * DAY_S
    """What the hub answers, at both."""
    answers_s: Kept = 0
    """Answers with their receipts. For as long as one is kept, its request id gets no second one."""
    archive_answers_after_s: Kept = 30 * DAY_S
    """When answers move from their stream to the archive of the site, a file, where `trace` and clients find them
    still; sooner where the stream is half full, but not within an hour. They are kept for `answers_s` in all. 0: there
    is no archive, and a full stream of answers refuses new requests."""
    dead_s: Kept = 0
    """Dead letters: requests are sealed in them, all else has vault tokens."""
    tokens_s: Kept = 900
    """What was shown of answers in the making, in memory; a client that comes back later gets the answer."""
    claims_s: Kept = 600
    """Which worker of the hub is at an escalation, and its verdict for the other lane, in memory at the hub."""
    edits_s: Kept = 0
    """Edits of shared documents on their way to the hub."""
    local_s: Kept = 0
    """Edits of documents that stay in their domain: their only log."""
    corpus_s: Kept = 30 * DAY_S
    """Changes of shared documents, from the hub. A site that was away for longer takes a snapshot."""
    artefacts_s: Kept = 0
    """Descriptions of what the hub has published. What is older is not found by a new site."""
    objects_s: Kept = 0
    """Snapshots and weights. What is older is not fetched by a new site."""
    audit_s: Kept = 0
    """Entries of the audit log, which is no stream: of older ones the hash is kept alone, once they are witnessed
    (`audit.has_witness`)."""
    audit_bytes: Annotated[int, msgspec.Meta(ge=0, extra={"unit": "bytes"})] = 16 << 30
    """Of all entries that are kept whole; of the oldest of more than that the hash is kept alone. 0: without bound."""
    oldest_make_room: tuple[Literal["PIPE", "DEAD"], ...] = ("PIPE",)
    """Which of these give up the oldest when they are full, instead of refusing. `DEAD` here: a flood of dead letters
    costs old ones, not the work on new requests. Without `PIPE` no hop is ever given up for room, and stages wait."""
    sizes: StreamSizes = StreamSizes()

    hub_replicas: Literal[1, 3, 5] = 1
    """On how many servers of the hub each of its streams is kept, where the hub is a cluster."""

    def __post_init__(self) -> None:
        for name in (name for name in self.__struct_fields__ if name.endswith("_s")):
            kept_s, shortest_s = getattr(self, name), 60 if name in SHORT_LIVED else SHORTEST_KEPT_S
            if 0 < kept_s < shortest_s:
                raise ValueError(
                    f"{name} is {kept_s} s; a stream keeps things for {shortest_s} s at least, or for ever (0)"
                )


class MetricsTlsSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """By what metrics are encrypted, and who may read them: all three files, or none. Without them only this machine
    reads them."""

    certificate: str = ""
    """A PEM file with the certificate that the process shows."""
    key: str = ""
    """A PEM file with its private key."""
    authority: str = ""
    """A PEM file with the authority of those who may read: who shows a certificate of it does. That of a site's servers
    signs for all sites; give Prometheus one of its own where sites are not to read each other's."""


class ProcessSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every process reads. Paths are relative to the working directory."""

    site: Name = "site1"
    """The site that the process belongs to, or `hub`."""
    replica: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    """Which of the processes of its worker it is; `--replicas` sets it. Each gateway has an address of its own."""
    state_dir: Directory = ".tidegate"
    """Indices, vault, keys, server stores and logs of this machine live below it. It is closed to other users of the
    machine; its group may read where the mode says so, and write nothing; what is in `keys` is its owner's alone."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """The least severe log lines that are written."""
    grace_s: Seconds = GRACE_S
    """How long a drain may take before work in flight is handed back."""
    loop_held_ms: Annotated[float, msgspec.Meta(gt=0.0)] = 100.0
    """How long one piece of work may keep a process from all else before that is a warning in its log (`loop_held`)."""
    metrics_host: str = "127.0.0.1"
    """The address on which metrics are served; one that other machines reach needs `metrics_tls`."""
    metrics_port: Port = 0
    """The port on which metrics are served; where a process of this machine has it, the next one gets a port from the
    system. `tidegate status` lists them. 0: none are served."""
    metrics_tls: MetricsTlsSettings = MetricsTlsSettings()
    """Whether and how others read the metrics."""
    applications_file: str = ""
    """The file with the accounts of access keys that ask over NATS, where a server that `tidegate up` does not keep
    includes it; `tidegate server run` has the server take up its changes. Empty: `keys/applications.conf` below
    `state_dir`."""
    nats: NatsSettings = NatsSettings()
    retention: RetentionSettings = RetentionSettings()
    egress: dict[str, str] = {}
    """What may be sent to hosts that are not this machine, as `"llm.example:443" = "inference documents"`; all else is
    refused. Purposes: `inference`, `telemetry`; data: `metadata`, `questions`, `documents`, each with those
    before it."""
