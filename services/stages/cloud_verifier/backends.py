"""What answers at the hub, by its settings: a chat server, a model in its own words or by quoting, the reader alone.

Next: `targets`, which models there are; `handler`, what becomes of an answer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial

from tidegate.brokers.egress import EgressGate
from tidegate.schemas import Answer, Artefact, Escalated
from tidegate.schemas.uplink import CloudState
from tidegate.services.answering.answerer import GroundedAnswerer, ReadCorpus
from tidegate.services.answering.grounded_writer import GroundedWriter
from tidegate.services.answering.model_writers import PATH, ServerWriter, TargetWriter
from tidegate.services.answering.sentence_stream import PublishPartial
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.extraction.field_reader import FieldReader
from tidegate.services.llm.targets.base import Target, VerifyingTarget
from tidegate.services.llm.targets.openai_compatible.client import CompletionsClient
from tidegate.services.llm.targets.openai_compatible.target import OpenAICompatibleTarget
from tidegate.services.llm.text.chat_tokenizer import ChatTokenizer
from tidegate.services.settings import Settings
from tidegate.services.stages.cloud_verifier.chat_extraction import ChatExtraction
from tidegate.services.stages.cloud_verifier.extraction import extract_at_hub
from tidegate.services.stages.cloud_verifier.handler import Backend
from tidegate.services.stages.cloud_verifier.hub_corpus import HubCorpus, ReaderOf
from tidegate.services.stages.cloud_verifier.metrics import TargetMetrics
from tidegate.services.stages.cloud_verifier.targets import cloud_state, open_target
from tidegate.services.stages.threads import in_thread
from tidegate.services.uplink.verification_server import VerificationSessions

METRICS = TargetMetrics()
"""One for the process, as the registry is."""


@dataclass(frozen=True)
class OpenedBackend:
    """Who answers questions and fills schemas, how busy that is, and the sessions that it keeps, if any."""

    answer: Backend
    extract: Backend
    state: Callable[[], CloudState] = CloudState
    sessions: VerificationSessions | None = None


async def open_backend(
    settings: Settings, corpus: HubCorpus, reader_of: ReaderOf, publish: PublishPartial, stack: AsyncExitStack
) -> OpenedBackend:
    """The backend that the settings name; `stack` closes what it holds. Raises as `open` of this stage does."""
    chosen = settings.cloud_verifier
    read_corpus = in_thread(partial(corpus.rank_spans, reader_of))
    fields = await asyncio.to_thread(FieldReader.load, StatePaths(settings).models)
    extract = partial(extract_at_hub, reader=fields)
    if chosen.backend == "extractive":
        return OpenedBackend(in_thread(partial(corpus.read, reader_of)), extract)
    if chosen.backend == "openai":
        client = _open_client(settings, stack)
        writer = GroundedWriter(ServerWriter(client), read_corpus, publish)
        state = partial(CloudState, writes=("grounded", "free"))
        extracted = ChatExtraction(client, fields).extract
        return OpenedBackend(name_permits(client, writer.answer), name_permits(client, extracted), state)
    target = await stack.enter_async_context(open_target(settings))
    if isinstance(target, OpenAICompatibleTarget):
        return _use_server(target, _open_client(settings, stack), extract, read_corpus, publish)
    return _use_target(target, extract, read_corpus, publish, stack)


def name_permits(client: CompletionsClient, backend: Backend) -> Backend:
    """The backend, whose answers name the permit by which its prompts left."""

    async def answer(escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        found, parts = await backend(escalated)
        return found, (*parts, *client.permits)

    return answer


def _open_client(settings: Settings, stack: AsyncExitStack) -> CompletionsClient:
    """A client that writes: there is no other way to ask for that. Raises `ModelServerUnnamedError`,
    `EgressDeniedError`, `EgressPermitError`."""
    chosen, gate = settings.cloud_verifier, EgressGate.of(settings.egress)
    client = CompletionsClient(chosen, os.environ.get(chosen.api_key_env, ""), is_only_way=True, gate=gate)
    stack.push_async_callback(client.close)
    return client


def _use_server(
    target: OpenAICompatibleTarget,
    client: CompletionsClient,
    extract: Backend,
    read_corpus: ReadCorpus,
    publish: PublishPartial,
) -> OpenedBackend:
    """A server with another model than ours writes where the plan allows that, as with `openai`; else, and where it
    serves our own model, which can do nothing else, it confirms what the reader quotes."""
    answerer = GroundedAnswerer(target, read_corpus, publish, METRICS.count)
    writer = GroundedWriter(ServerWriter(client, lambda: target.text_path or PATH), read_corpus, publish)

    async def answer(escalated: Escalated) -> tuple[Answer, tuple[Artefact, ...]]:
        may_write = bool(target.text_path) and escalated.plan.writing != "quote"
        return await (writer.answer if may_write else answerer.answer)(escalated)

    return OpenedBackend(name_permits(client, answer), extract, partial(cloud_state, target))


def _use_target(
    target: Target, extract: Backend, read_corpus: ReadCorpus, publish: PublishPartial, stack: AsyncExitStack
) -> OpenedBackend:
    """A model with a chat template writes; one with our control tokens quotes, and verifies what sites draft."""
    state = partial(cloud_state, target)
    if isinstance(target.tokenizer, ChatTokenizer):
        writer = GroundedWriter(TargetWriter(target), read_corpus, publish, METRICS.count)
        return OpenedBackend(writer.answer, extract, state)
    answerer = GroundedAnswerer(target, read_corpus, publish, METRICS.count)
    if not isinstance(target, VerifyingTarget):
        return OpenedBackend(answerer.answer, extract, state)
    sessions = VerificationSessions(answerer, target)
    stack.callback(sessions.close)
    return OpenedBackend(answerer.answer, extract, state, sessions)
