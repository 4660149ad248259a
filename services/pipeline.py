"""The product, as a table of contents. Read this first."""

from __future__ import annotations

from tidegate.brokers.stage import Retry, Stage
from tidegate.schemas import (
    Approved,
    Asked,
    Drafted,
    Escalated,
    Published,
    Replied,
    Retrieved,
    Routed,
    Screened,
    Verified,
    Withheld,
)

STAGES: tuple[Stage, ...] = (
    Stage("prefilter", (Asked,), (Screened, Withheld, Replied), "tidegate.services.stages.prefilter:open"),
    Stage("router", (Screened,), (Routed,), "tidegate.services.stages.router:open", concurrency=64, timeout_s=2.0),
    Stage("retriever", (Routed,), (Retrieved,), "tidegate.services.stages.retriever:open", concurrency=16),
    Stage(
        "drafter", (Retrieved,), (Drafted, Escalated, Verified), "tidegate.services.stages.drafter:open", concurrency=16
    ),
    Stage(
        "cloud-verifier",
        (Escalated,),
        (Verified,),
        "tidegate.services.stages.cloud_verifier:open",
        side="hub",
        timeout_s=60.0,
        retry=Retry(attempts=8, cap_s=120.0),
    ),
    Stage(
        "policy",
        (Drafted, Verified),
        (Approved, Withheld),
        "tidegate.services.stages.policy:open",
        concurrency=64,
        timeout_s=2.0,
    ),
    Stage(
        "publisher",
        (Approved, Withheld, Replied),
        (Published,),
        "tidegate.services.stages.publisher:open",
        concurrency=64,
        shows=True,
    ),
)

FAST_LANE = Stage(
    "fast-lane",
    (Escalated,),
    (Verified, Drafted, Withheld),
    "tidegate.services.stages.fast_lane:open",
    concurrency=64,
    timeout_s=60.0,
    retry=Retry(attempts=50, cap_s=2.0),
)
"""The accelerator beside the durable escalation: a site worker that asks the hub directly, under the same id."""

SITE_WORKERS: tuple[Stage, ...] = (*(stage for stage in STAGES if stage.side == "site"), FAST_LANE)
HUB_WORKERS: tuple[Stage, ...] = tuple(stage for stage in STAGES if stage.side == "hub")
WORKERS: dict[str, Stage] = {stage.name: stage for stage in (*STAGES, FAST_LANE)}
