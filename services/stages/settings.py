"""What each stage can be configured to do. They stand together, and import no stage: a stage's package loads engines,
and some keys count for several stages (`phone_regions`, `exact_below`). Next: services/settings.py."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from tidegate.brokers.settings import Positive, Seconds
from tidegate.schemas import Question
from tidegate.schemas.message import Share
from tidegate.services.knowledge.index.limits import EXACT_BELOW
from tidegate.services.llm.targets.openai_compatible.settings import OpenAICompatibleSettings
from tidegate.services.planning.config import PlannerConfig

Passages = Annotated[int, msgspec.Meta(ge=1, extra={"unit": "passages"})]
PLANNER = PlannerConfig()
"""The planner's own defaults, which the router's keys repeat by reference."""


class PrefilterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Screening: languages, personal data, safety."""

    languages: tuple[str, ...] = ("en", "de", "fr", "es")
    """ISO 639-1; a question in another language is withheld."""
    phone_regions: tuple[str, ...] = ("GB", "DE", "FR", "ES", "US")
    """ISO 3166-1 regions in which a number without a country code is a telephone number."""
    name_model: bool = True
    """Whether names and addresses that no rule finds are looked for by lists of names, in half a millisecond for a
    question, and in some 10 ms by a model where those leave a doubt."""
    name_budget_ms: Annotated[int, msgspec.Meta(ge=1, extra={"unit": "ms"})] = 3000
    """How long a text may be searched for names; what was not read to its end by then is withheld."""
    health_data: bool = False
    """Whether numbers of patients and insurances, and codes of diagnoses (ICD-10), are personal data."""
    patterns: dict[str, str] = {}
    """The tenant's own personal data: RE2 patterns by name, each looked for inside a word."""
    unsafe_threshold: Share = 0.5
    """Probability of an unsafe intent from which a question is withheld."""
    distress_threshold: Share = 0.35
    """Probability of an intent of verdict `distress` from which the pack's help text is given at once."""
    smalltalk_threshold: Share = 0.5
    """Probability of an intent of verdict `smalltalk` from which a short text gets the pack's reply at once."""
    emergency: str = "112"
    """The number to call in danger, for `{emergency}` in replies."""
    helpline: str = ""
    """The number of somebody to talk to, for `{helpline}` in replies; empty: sentences with it are left out."""
    max_chars: Positive = 8000
    """The longest question; a longer one is refused."""


class RouterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Planning: how much is searched, and what is asked of the cloud."""

    k: Passages = PLANNER.k
    """How many passages are retrieved for a question."""
    k_under_load: Passages = PLANNER.k_under_load
    """How many passages are retrieved while the site is under load."""
    queue_depth_high: Annotated[int, msgspec.Meta(ge=1, extra={"unit": "messages"})] = PLANNER.queue_depth_high
    """How many messages must wait for the retriever and the drafter for the site to be under load."""
    ping_every_s: Seconds = 2.0
    """How often the link to the hub is measured."""
    mode: Literal["", "cloud_stream", "cloud_with_shipped_draft", "race", "remote_speculation"] = ""
    """What the planner must choose where the cloud may be asked; empty: what it finds best."""
    economy: Annotated[float, msgspec.Meta(ge=0.0)] = PLANNER.economy
    """What a millisecond of the cloud's computing is worth in milliseconds of waiting; 0: time alone counts.
    Above it a question may be answered in a loop over the link, which spares the cloud steps and takes longer."""
    answer_tokens: Annotated[int, msgspec.Meta(ge=1, le=512)] = PLANNER.answer_tokens
    """How long an answer is expected to be."""
    draft_token_ms: Annotated[float, msgspec.Meta(ge=0.0)] = PLANNER.drafters["lm"]
    """What the edge's language model takes for a token."""
    knee_positions: Positive = PLANNER.knee_positions
    """Positions per forward pass of the cloud up to which drafted tokens are almost free; 1: they never are."""
    uplink_kbps: Annotated[float, msgspec.Meta(ge=0.0)] = 0.0
    """What the link carries upwards; 0: so much that a draft's bytes cost nothing."""


class RetrieverSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Search in the tenants' indices."""

    exact_below: Annotated[int, msgspec.Meta(ge=1, extra={"unit": "vectors"})] = EXACT_BELOW
    """Vectors per tenant up to which the scan is exact; hnswlib above."""


class DrafterSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The edge's own answers."""

    escalate_below: Share = 0.6
    """Calibrated confidence under which the edge does not vouch for its answer."""
    escalate_below_for: dict[str, Share] = {}
    """For intents and workloads the same, in place of it; `tidegate pack calibrate` says which need it."""
    past_answers: Annotated[int, msgspec.Meta(ge=0, extra={"unit": "answers"})] = 512
    """How many answers of the cloud each tenant's cache holds, for when the same question comes again; 0: none."""
    past_answers_s: Seconds = 86_400.0
    """How long an answer is kept after the cloud has last given it."""
    adapters: dict[str, str] = {}
    """For each tenant that has one, the adapter of the site's language model, by its name in `infra/models/weights`."""
    model_in_extraction: bool = False
    """Whether the site's language model chooses among the values of a text for a field that nothing else fills; the
    model that is shipped makes more values wrong than right by it."""

    def least_confidence(self, question: Question) -> float:
        """What is needed to vouch for an answer, at the edge and at the hub; of an intent and a workload the higher."""
        named = [self.escalate_below_for.get(each) for each in (question.intent, question.workload)]
        return max([each for each in named if each is not None], default=self.escalate_below)


class CloudVerifierSettings(OpenAICompatibleSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The hub's answers. `timeout_s` is also how long a site waits for one."""

    backend: Literal["embedded", "vllm", "completions", "openai", "extractive"] = "embedded"
    """All read the hub's own larger corpus. `embedded`: with the shipped target model or the directory `model`, in this
    process. `vllm`: with any Hugging Face directory (`model`) in vLLM's engine. `completions`: with a server's
    completions API, verified on the best tier that it is found to support. `openai`: by any chat completions API.
    `extractive`: with no model. Where a policy allows it (`grounded`, `free`), all but `extractive` write in the
    model's own words; the shipped target model, wherever it is served, can only quote.
    """
    providers: tuple[Literal["cpu", "cuda", "tensorrt", "rocm", "migraphx", "openvino", "directml", "coreml"], ...] = (
        "cpu",
    )
    """For `embedded`: what ONNX Runtime computes the model on; the first of them that it has here."""
    threads: Annotated[int, msgspec.Meta(ge=1, extra={"unit": "threads"})] = 2
    """For `embedded` with a `model`: threads of the CPU for one answer; with the shipped one, answers at once."""
    quotes: bool | None = None
    """For `embedded` and `vllm`: whether a question about passages is answered by quoting them to the letter, and in no
    other way. Unset: by the shipped model yes, by another one (`model`) no.
    """


class PublisherSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """When a site goes to evidence-only by itself; `tidegate evidence-only off` at the hub ends that, nothing else."""

    incident_share: Share = 0.0
    """Share of the answers of one tenant and class that policies block, from which the site gives quotations only; 0:
    it never does so by itself."""
    incident_from: Annotated[int, msgspec.Meta(ge=1, extra={"unit": "answers"})] = 5
    """So many have to be blocked at least."""
    incident_window_s: Seconds = 600.0
    """The time within which they are counted."""
    p1_rules: tuple[str, ...] = ()
    """Rules of policies, as receipts name them (`safe-answers-v3/competitor`), one block by which is enough: then for
    all classes of the tenant."""
