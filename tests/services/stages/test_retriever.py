"""The retriever: the tenant's own passages, as many as the plan wants."""

from __future__ import annotations

import time

import msgspec
import pytest

from tests.support.corpus import document
from tests.support.escalation_site import plan, prepared, routed
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Artefact, Degradation, DegradationLevel, Passage, Retrieved
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.embedding import Embedder
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.stages import retriever
from tidegate.services.stages.retriever.handler import RetrieverPorts, retrieve

pytestmark = pytest.mark.anyio


async def test_the_plans_k_best_passages_of_the_tenants_index_follow_with_the_index_in_the_lineage() -> None:
    settings = prepared()
    async with retriever.open(settings, MemoryBus("site1")) as handle:
        (found,) = await handle(routed("What does a banker's draft cost?", plan_=plan(k=3)))
        assert isinstance(found, Retrieved)
        assert len(found.passages) == 3
        assert found.passages[0].document_id == "fees"
        assert [part.kind for part in found.lineage] == ["index"]
        assert found.lineage[0].id == "kiosk"
        (none,) = await handle(routed("What does a draft cost?", plan_=plan(k=0)))
        assert isinstance(none, Retrieved)
        assert (none.passages, none.lineage) == ((), ())


async def test_a_tenant_that_this_site_does_not_serve_has_no_passages() -> None:
    async with retriever.open(prepared(), MemoryBus("site1")) as handle:
        (found,) = await handle(routed("What does a draft cost?", tenant="stranger"))
        assert isinstance(found, Retrieved)
        assert (found.passages, found.lineage) == ((), ())


async def test_what_another_process_adds_or_deletes_counts_from_the_next_question_on(tmp_path: object) -> None:
    settings = msgspec.structs.replace(prepared(), state_dir=str(tmp_path))
    async with retriever.open(settings, MemoryBus("site1")) as handle:
        (before,) = await handle(routed("Is there a piano?"))
        assert isinstance(before, Retrieved)
        assert before.passages == ()
        embedder = Embedder.load(StatePaths(settings).models)
        other = HybridIndex.open(StatePaths(settings).index("kiosk"), embedder)
        other.upsert([document("piano", "# Piano\n\nThere is a piano in the lobby.")])
        (after,) = await handle(routed("Is there a piano?"))
        assert isinstance(after, Retrieved)
        assert [passage.document_id for passage in after.passages] == ["piano"]
        other.delete(["piano"])
        (gone,) = await handle(routed("Is there a piano?"))
        assert isinstance(gone, Retrieved)
        assert gone.passages == ()


async def test_the_handler_asks_for_the_facts_own_tenant_and_language() -> None:
    asked = []

    async def search(*what: object) -> tuple[tuple[Passage, ...], Artefact | None]:
        asked.append(what)
        return (), None

    fact = routed("Wie spät?", tenant="other", language="de", plan_=plan(k=5))
    await retrieve(fact, RetrieverPorts(search, lambda _: None))
    assert asked == [("other", "Wie spät?", "de", 5)]


@pytest.mark.parametrize(
    ("k", "degradation", "given_up", "looked_for"),
    [
        (8, None, (), [8]),
        (8, "fewer_passages", (), [4]),
        (5, "fewer_passages", (), [2]),
        (1, "fewer_passages", (), [1]),
        (8, "abstain", (), []),
        (4, None, ("fewer_passages",), [4]),
        (4, "abstain", ("fewer_passages",), []),
        (8, None, ("abstain",), []),
        (8, None, ("edge_only",), [8]),
        (0, "fewer_passages", (), []),
    ],
)
async def test_who_is_short_of_time_looks_for_less_and_says_so(
    k: int, degradation: DegradationLevel | None, given_up: tuple[DegradationLevel, ...], looked_for: list[int]
) -> None:
    asked = []
    before = tuple(Degradation("router", level, 1.0, 2.0) for level in given_up)
    own = None if degradation is None else Degradation("retriever", degradation, 1.0, 2.0)

    async def search(*what: object) -> tuple[tuple[Passage, ...], Artefact | None]:
        asked.append(what[3])
        return (), None

    fact = msgspec.structs.replace(routed("How?", plan_=plan(k=k)), degradations=before)
    [found] = await retrieve(fact, RetrieverPorts(search, lambda _: own))
    assert asked == looked_for
    assert found.degradations == (before if own is None or k == 0 else (*before, own))


async def test_a_question_that_comes_too_late_gets_no_passages_and_one_in_time_all_of_them() -> None:
    shares = {"retriever": 400.0, "drafter": 3600.0}
    shared = msgspec.structs.replace(plan(), shares_ms=shares)
    now_ms = int(time.time() * 1000)
    async with retriever.open(prepared(), MemoryBus("site1")) as handle:
        early = routed(
            "What does a banker's draft cost?", plan_=shared, asked_at_ms=now_ms, deadline_at_ms=now_ms + 60_000
        )
        (found,) = await handle(early)
        assert isinstance(found, Retrieved)
        assert found.passages
        assert found.degradations == ()
        late = routed("What does a banker's draft cost?", plan_=shared)
        (none,) = await handle(late)
        assert isinstance(none, Retrieved)
        assert none.passages == ()
        assert [(made.stage, made.level) for made in none.degradations] == [("retriever", "abstain")]
