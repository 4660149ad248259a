"""Settings: one frozen struct, read once from one TOML file plus the environment."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.schemas.message import Name

Port = Annotated[int, msgspec.Meta(ge=0, le=65535)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Positive = Annotated[int, msgspec.Meta(ge=1)]
Seconds = Annotated[float, msgspec.Meta(gt=0.0)]


class Nats(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How this worker reaches its own domain's server."""

    url: str = "nats://127.0.0.1:4222"
    nkey_seed_file: str = ""
    """Empty: the server admits local clients without one."""


class Gateway(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The HTTP door."""

    host: str = "127.0.0.1"
    port: Port = 0
    """0 lets the system choose; the chosen one is written to `<state_dir>/<site>/gateway.json`."""
    max_body_bytes: Positive = 262_144
    default_tenant: Name = "kiosk"


class Prefilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    languages: tuple[str, ...] = ("en", "de", "fr", "es")
    """ISO 639-1; a question in another language is withheld."""
    phone_regions: tuple[str, ...] = ("GB", "DE", "FR", "ES", "US")
    """ISO 3166-1 regions in which a number without a country code is a telephone number."""
    unsafe_threshold: Share = 0.5
    max_chars: Positive = 8000


class Router(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    k: Positive = 8
    k_under_load: Positive = 4
    queue_depth_high: Positive = 64
    ping_every_s: Seconds = 2.0
    mode: Literal["", "cloud_stream", "cloud_with_shipped_draft", "race", "economy_loop"] = ""
    """What the planner must choose where the cloud may be asked; empty: what it finds best."""
    economy: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    """What a millisecond of the cloud's computing is worth in milliseconds of waiting; 0: time alone counts.
    Above it a question may be answered in a loop over the link, which spares the cloud steps and takes longer."""
    answer_tokens: Annotated[int, msgspec.Meta(ge=1, le=512)] = 64
    """How long an answer is expected to be."""
    draft_token_ms: Annotated[float, msgspec.Meta(ge=0.0)] = 5.0
    """What the edge's language model takes for a token."""
    knee_positions: Positive = 256
    """Positions per forward pass of the cloud up to which drafted tokens are almost free; 1: they never are."""
    uplink_kbps: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    """What the link carries upwards; 0: so much that a draft's bytes cost nothing."""


class Retriever(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    exact_below: Positive = 15_000
    """Vectors per tenant up to which the scan is exact; hnswlib above."""


class Drafter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    escalate_below: Share = 0.6
    """Calibrated confidence under which the edge does not vouch for its answer."""
    past_answers: Annotated[int, msgspec.Meta(ge=0)] = 512
    """How many answers of the cloud each tenant's memory holds, for when the same question comes again; 0: none."""
    past_answers_s: Seconds = 86_400.0
    """How long an answer is remembered after the cloud has last given it."""
    adapters: dict[str, str] = {}
    """For each tenant that has one, the adapter of the site's language model, by its name in `infra/models/weights`."""


class CloudVerifier(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    backend: Literal["embedded", "vllm", "completions", "openai", "extractive"] = "embedded"
    """All read the hub's own larger corpus. `embedded`: with the shipped target model, in this process. `vllm`: with
    any Llama or Qwen directory (`model`) in vLLM's engine. `completions`: with a server's completions API, verified on
    the best tier that it is found to speak. `openai`: by any chat completions API, in its own words. `extractive`: with
    no model.
    """
    quotes: bool | None = None
    """For `embedded` and `vllm`: whether a question about passages is answered by quoting them to the letter, and in no
    other way. Unset: by the shipped model yes, by another one (`model`) no.
    """
    base_url: str = ""
    model: str = ""
    api_key_env: str = "OPENAI_API_KEY"
    timeout_s: Seconds = 20.0


class Settings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Everything a worker may be told. Paths are relative to the working directory."""

    site: Name = "site1"
    tenants: tuple[Name, ...] = ("kiosk",)
    state_dir: str = ".tidegate"
    """Indices, vault, keys, server stores and logs of this machine live below it."""
    models_dir: str = ".models"
    pack_dir: str = "infra/packs/kiosk"
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    grace_s: Seconds = 10.0
    """How long a drain may take before work in flight is handed back."""
    metrics_host: str = "127.0.0.1"
    metrics_port: Port = 0
    """0: this process serves no metrics of its own."""
    nats: Nats = Nats()
    gateway: Gateway = Gateway()
    prefilter: Prefilter = Prefilter()
    router: Router = Router()
    retriever: Retriever = Retriever()
    drafter: Drafter = Drafter()
    cloud_verifier: CloudVerifier = CloudVerifier()
