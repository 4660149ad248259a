"""The product, as a table of contents. Read this first."""

from __future__ import annotations

from brokers.stage import Retry, Stage
from schemas import (
    Approved,
    Asked,
    Drafted,
    Escalated,
    Published,
    Retrieved,
    Routed,
    Screened,
    Verified,
    Withheld,
)

STAGES: tuple[Stage, ...] = (
    Stage("prefilter", (Asked,), (Screened, Withheld), "services.prefilter:open"),
    Stage("router", (Screened,), (Routed,), "services.router:open", concurrency=64, timeout_s=2.0),
    Stage("retriever", (Routed,), (Retrieved,), "services.retriever:open", concurrency=16),
    Stage("drafter", (Retrieved,), (Drafted, Escalated, Verified), "services.drafter:open", concurrency=16),
    Stage(
        "cloud-verifier",
        (Escalated,),
        (Verified,),
        "services.cloud_verifier:open",
        where="hub",
        timeout_s=60.0,
        retry=Retry(attempts=8, cap_s=120.0),
    ),
    Stage("policy", (Drafted, Verified), (Approved, Withheld), "services.policy:open", concurrency=64, timeout_s=2.0),
    Stage("publisher", (Approved, Withheld), (Published,), "services.publisher:open", concurrency=64),
)

FAST_LANE = Stage(
    "fast-lane",
    (Escalated,),
    (Verified, Drafted, Withheld),
    "services.fast_lane:open",
    concurrency=64,
    timeout_s=60.0,
    retry=Retry(attempts=50, cap_s=2.0),
)
"""The accelerator beside the durable escalation: a site worker that asks the hub directly, under the same id."""

SITE_WORKERS: tuple[Stage, ...] = (*(stage for stage in STAGES if stage.where == "site"), FAST_LANE)
HUB_WORKERS: tuple[Stage, ...] = tuple(stage for stage in STAGES if stage.where == "hub")
WORKERS: dict[str, Stage] = {stage.name: stage for stage in (*STAGES, FAST_LANE)}
