"""The artefact whose change altered an answer is named, by answering again, and the site is left as it is."""

from __future__ import annotations

import math
import shutil
from collections.abc import Coroutine, Sequence
from contextlib import closing
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import anyio.to_thread
import click
import msgspec
import pytest
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st

from tests.support.active_site import ABSTAINS, ALLOWS, INTENTS, QUESTION, put_in_force, site_at
from tests.support.corpus import BRANCH, document
from tests.support.edge_runtime import asked, open_runtime
from tests.support.nats_fleet import STAGES, client_of
from tests.support.paths import MODELS
from tidegate.brokers.jetstream.declare import declare_site
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.brokers.servers.nats_server import Server
from tidegate.schemas import PIPELINE, Artefact, Asked, Message, Published, decode, encode, replace, subjects
from tidegate.schemas.pack import Pack
from tidegate.services.cli.bisect import BisectCase, NothingRecordedError, bisect_command, describe_report, run_bisect
from tidegate.services.cli.progress import LineProgress
from tidegate.services.evidence.bisect import (
    Answered,
    AnswerOutcome,
    ArtefactChange,
    Bisection,
    BisectReport,
    bisect,
    compare_lineages,
    outcome_of,
)
from tidegate.services.evidence.generation_view import DOCUMENTS, GenerationNotHeldError, open_view
from tidegate.services.evidence.reanswering import RecordedQuestion
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.vault import open_vault
from tidegate.services.knowledge.index import packing
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.privacy.sealing import seal_request
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio
STRANGER = "policy_id: stranger\nblock: [speculative_financial_promises]\n"
REPLY = "- intent: despair\n  texts: {en: 'Ring {emergency} now.'}\n"


def run(coroutine: Coroutine[Any, Any, BisectReport]) -> BisectReport:
    """What it returns, of one that waits for nothing: without a loop, of which each example would need one."""
    try:
        coroutine.send(None)
    except StopIteration as ended:
        report: BisectReport = ended.value
        return report
    raise AssertionError("it waits")


async def search(
    outcomes: Sequence[str], guilty: Sequence[str] = ("a",), parts: Sequence[str] = ("a", "b")
) -> BisectReport:
    """Bisect generations with these texts, where each guilty part alone alters the answer."""

    async def answer(number: int) -> Answered:
        return Answered(AnswerOutcome(kind="approved", text=outcomes[number]))

    async def mixed(before: int, after: int, name: str) -> Answered:
        return await answer(after if name in guilty else before)

    def changes(_: int, __: int) -> list[ArtefactChange]:
        return [ArtefactChange(name=name) for name in parts]

    return await bisect(None, range(len(outcomes)), Bisection(answer, mixed, changes))


@given(st.integers(1, 400), st.data())
def test_a_change_is_found_among_many_generations_by_few_answers(many: int, data: st.DataObject) -> None:
    at = data.draw(st.integers(1, many))
    report = run(search(["old"] * at + ["new"] * (many + 1 - at)))
    assert (report.verdict, report.before, report.after) == ("found", at - 1, at)
    assert [each.name for each in report.culprits] == ["a"]
    assert report.answers <= 2 + math.ceil(math.log2(many + 1)) + 2


@given(st.lists(st.sampled_from("xyz"), min_size=2, max_size=40))
def test_whatever_the_generations_answer_the_step_that_is_named_is_one(outcomes: list[str]) -> None:
    report = run(search(outcomes))
    if outcomes[0] == outcomes[-1]:
        assert report.verdict == "same"
    else:
        assert report.after == report.before + 1
        assert outcomes[report.before] == outcomes[0] != outcomes[report.after]


async def test_what_alters_it_only_together_is_named_together() -> None:
    report = await search(["old", "new"], guilty=())
    assert (report.is_together, [each.name for each in report.culprits]) == (True, ["a", "b"])
    assert "all of them together" in describe_report(report)
    both = await search(["old", "new"], guilty=("a", "b"))
    assert (both.is_together, len(both.culprits)) == (False, 2)


def test_what_contributes_in_another_version_is_named() -> None:
    then = (Artefact("document", "d", "1"), Artefact("model", "m", "1"), Artefact("pack", "kiosk", "x", 1))
    now = (Artefact("document", "d", "2"), Artefact("document", "e", "1"), Artefact("model", "m", "1"))
    assert compare_lineages(then, now) == (
        ArtefactChange(name="document/d", before="1", after="2"),
        ArtefactChange(name="document/e", before="", after="1"),
    )


class Site(NamedTuple):
    """A site that has answered under its first generation."""

    settings: Settings
    facts: tuple[Message, ...]
    published: Published

    @property
    def case(self) -> BisectCase:
        """What is known of the request by its facts."""
        question = RecordedQuestion.of(self.facts)
        assert question is not None
        given = Answered(outcome_of(self.published), self.published.receipt.lineage)
        return BisectCase("kiosk", question, given, self.published.generation)


def read_facts(settings: Settings, bus: MemoryBus, published: Published, request: Asked) -> tuple[Message, ...]:
    """What the streams of a site would have of the request."""
    stored = [each for stream in (subjects.PIPE, subjects.ANSWERS) for each in bus.stored(stream)]
    facts: list[Message] = [decode(each.data, *PIPELINE) for each in stored]
    full = replace(request, rid=published.rid, site=settings.site, asked_at_ms=published.asked_at_ms)
    with closing(open_vault(settings)) as vault:
        sealed = seal_request(vault, full)
    return (sealed, *[fact for fact in facts if getattr(fact, "rid", "") == published.rid])


@pytest.fixture(scope="module")
async def answered(tmp_path_factory: pytest.TempPathFactory) -> Site:
    settings = site_at(tmp_path_factory.mktemp("bisect") / "state")
    put_in_force(settings)
    request = asked(QUESTION)
    async with open_runtime(settings) as runtime:
        published = await runtime.answer(request)
        facts = read_facts(settings, runtime._bus, published, request)
    assert published.outcome == "answered"
    return Site(settings, facts, published)


@pytest.fixture
def site(answered: Site, tmp_path: Path) -> Site:
    """The same for each test, in a directory of its own."""
    shutil.copytree(answered.settings.state_dir, tmp_path / "state")
    return answered._replace(settings=replace(answered.settings, state_dir=str(tmp_path / "state")))


async def look(site: Site, *wanted: int | None) -> BisectReport:
    first, last = (*wanted, None, None)[:2]
    return await run_bisect(site.settings, site.case, (first, last), LineProgress())


def files_of(settings: Settings) -> dict[str, str]:
    """Every file of a site, by its digest; those of SQLite's readers come and go."""
    paths = [path for path in Path(settings.state_dir).rglob("*") if path.is_file()]
    kept = [path for path in paths if not path.name.endswith(("-shm", "-wal"))]
    return {str(path): sha256(path.read_bytes()).hexdigest() for path in sorted(kept)}


async def test_the_policy_that_altered_an_answer_is_named_among_others_that_changed(site: Site) -> None:
    same = await look(site)
    assert same.verdict == "same", same
    put_in_force(site.settings, {"policy/stranger": STRANGER})
    put_in_force(site.settings, {"policy/stranger": STRANGER, "replies/replies": REPLY})
    both = {"policy/branch": ABSTAINS, "policy/stranger": STRANGER + "languages: [en]\n", "replies/replies": REPLY}
    put_in_force(site.settings, both, branch=7)
    put_in_force(site.settings, {**both, "policy/stranger": STRANGER}, branch=7)
    before = files_of(site.settings)
    report = await look(site)
    assert (report.verdict, report.before, report.after, report.is_together) == ("found", 3, 4, False)
    assert report.culprits == (ArtefactChange(name="policy/branch", before="epoch 1", after="epoch 7"),)
    assert (report.first.kind, report.first.text) == ("approved", site.published.text)
    assert (report.last.kind, report.last.reason) == ("withheld", "abstained")
    assert "policy/branch: epoch 1 > epoch 7" in describe_report(report)
    assert (await look(site, 1, 3)).verdict == "same"
    assert files_of(site.settings) == before, "the site is as it was"


async def test_a_generation_that_is_not_held_is_an_error_that_names_those_that_are(site: Site) -> None:
    with pytest.raises(GenerationNotHeldError, match=r"generation 99 is not held here; there are: 1"):
        await look(site, 1, 99)


async def test_intents_are_swapped_with_what_is_made_of_them(site: Site) -> None:
    sure = {"policy/branch": ALLOWS + "class_thresholds: {closing: {confidence: 1}}\n"}
    renamed = {**sure, "intents/intents": INTENTS.replace("id: hours", "id: closing"), "policy/stranger": STRANGER}
    numbers = [put_in_force(site.settings, sure), put_in_force(site.settings, renamed)]
    report = await look(site, *numbers)
    assert (report.verdict, report.last.reason) == ("found", "abstained")
    assert [each.name for each in report.culprits] == ["intents/intents"]


async def test_a_document_that_changed_is_named_where_no_generation_did_it(site: Site) -> None:
    put_in_force(site.settings)
    paths = StatePaths(site.settings)
    [cited] = {each.document_id for each in site.published.citations}
    [old] = [each for each in BRANCH if each.id == cited]
    changed = document(cited, old.text.replace("p.m.", "o'clock") + "\n\nThe lobby is open at all hours.\n")
    documents = tuple(changed if each.id == cited else each for each in BRANCH)
    pack = Pack(
        name="b", version="2", path="", documents=documents, intents=(), questions=(), calibration=(), policy_files=()
    )
    packing.prepare_index(pack, "site", UnitReader.load(MODELS).embedder, paths.index("kiosk")).close()
    report = await look(site)
    assert report.verdict == "elsewhere"
    assert f"document/{cited}" in {each.name for each in report.culprits}
    assert not {each.name for each in report.culprits if each.name.startswith(("policy/", "software/", "model/"))}
    assert "no generation altered it" in describe_report(report)


async def test_a_mixed_generation_has_one_artefact_of_the_other(site: Site) -> None:
    one = put_in_force(site.settings, {"policy/stranger": STRANGER})
    two = put_in_force(site.settings, {"policy/branch": ABSTAINS, "replies/replies": REPLY}, branch=9)
    with open_view(site.settings, "kiosk") as view:
        assert {each.name for each in view.changes(one, two)} == {"policy/branch", "policy/stranger", "replies/replies"}
        active = StatePaths(view.settings).active("kiosk")
        mixed = active / str(view.mix(one, two, "policy/branch"))
        assert (mixed / "policies" / "branch.yaml").read_text() == ABSTAINS
        assert (mixed / "policies" / "stranger.yaml").exists()
        assert not (mixed / "replies.yaml").exists()
        gone = active / str(view.mix(one, two, "policy/stranger"))
        assert not (gone / "policies" / "stranger.yaml").exists()
        same = active / str(view.mix(one, two, DOCUMENTS))
        assert (same / "intent.safetensors").read_bytes() == (active / str(two) / "intent.safetensors").read_bytes()
    assert not active.exists()


async def test_the_command_reads_the_streams_of_the_site_or_takes_a_question(
    site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_in_force(site.settings, {"policy/branch": ABSTAINS}, branch=2)
    async with Server("site1", tmp_path / "server") as server, client_of(server) as client:
        await declare_site(client, "site1", STAGES)
        for fact in site.facts:
            subject = subjects.subject_of(fact, "site1")
            await client.jetstream().publish(subject, encode(fact), headers={"Nats-Msg-Id": subject})
        for name in ("STATE_DIR", "MODELS_DIR", "PACK_DIR"):
            monkeypatch.setenv(f"TIDEGATE_{name}", getattr(site.settings, name.lower()))
        monkeypatch.setenv("TIDEGATE_NATS__URL", server.url)
        monkeypatch.setenv("TIDEGATE_TENANTS", "kiosk")

        async def ran(*arguments: str) -> Result:
            given = ["--site", "site1", *arguments]
            return await anyio.to_thread.run_sync(
                partial(CliRunner().invoke, bisect_command, given, standalone_mode=False)
            )

        found = await ran(site.published.rid, "--json")
        assert found.return_value == 1, found.output
        report = msgspec.json.decode(found.stdout, type=BisectReport)
        assert [each.name for each in report.culprits] == ["policy/branch"]
        asked_anew = await ran("--question", QUESTION, "--from", "1")
        assert (asked_anew.return_value, "policy/branch: epoch 1 > epoch 2" in asked_anew.stdout) == (1, True)
        assert (await ran("--question", QUESTION, "--from", "2")).return_value == 0
        assert isinstance((await ran("r404")).exception, NothingRecordedError)
        assert isinstance((await ran("--question", QUESTION)).exception, click.UsageError)
