"""Artefacts come into force as a generation: what is made of them, what is taken over, and what is fitted anew when."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from tests.support.active_site import (
    ABSTAINS,
    PARTS,
    apply_whole,
    copy_site,
    files_at,
    prepare_site,
    put_in_force,
    site_at,
)
from tests.support.corpus import BRANCH, document
from tests.support.escalation_site import LABELLED
from tests.support.paths import MODELS
from tidegate.schemas.pack import CalibrationQuestion, Pack
from tidegate.services.fleet.apply import Applied, apply_artefacts, has_to_remake
from tidegate.services.fleet.live_settings import with_live_settings
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.index.hybrid import HybridIndex
from tidegate.services.knowledge.reader.calibration import SHIPPED, Calibration
from tidegate.services.knowledge.reader.fit import keep_confidence, prepare_calibration
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.packs.active import CALIBRATION, INTENT_HEAD, PUBLISHED, PackInForce
from tidegate.services.packs.findings import PackError
from tidegate.services.packs.generations import GenerationStore
from tidegate.services.packs.parts import parts_of
from tidegate.services.settings import Settings

MADE = (INTENT_HEAD, PUBLISHED, CALIBRATION)


@pytest.fixture(scope="module")
def units() -> UnitReader:
    return UnitReader.load(MODELS)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A site that no test changes, with the parts in force."""
    return prepare_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def site(prepared: Settings, tmp_path: Path) -> Settings:
    return copy_site(prepared, tmp_path)


def generation(settings: Settings) -> PackInForce:
    store = GenerationStore(StatePaths(settings).active("kiosk"))
    record = store.current()
    assert record is not None
    return PackInForce.of_generation("kiosk", store.path(record.number), record)


def add_documents(settings: Settings, units: UnitReader, count: int) -> None:
    index = HybridIndex.open(StatePaths(settings).index("kiosk"), units.embedder)
    index.upsert([document(f"new{n}", f"# New {n}\n\nMargaret Okafor leads team {n}.") for n in range(count)])
    index.close()


def test_the_same_artefacts_again_change_nothing(site: Settings) -> None:
    assert put_in_force(site) == put_in_force(site) == 1
    assert put_in_force(site, branch=2) == 2, "the same bytes in a new epoch are another generation"


def test_what_is_made_of_parts_that_did_not_change_is_taken_over_and_no_model_is_loaded(site: Settings) -> None:
    before = generation(site)
    files = files_at(Path(site.state_dir) / "blobs", {**PARTS, "policy/branch": ABSTAINS}, {"policy/branch": 2})
    assert apply_artefacts(StatePaths(site), "kiosk", files) == Applied(2, is_whole=True), "no model is at hand"
    after = generation(site)
    for name in MADE:
        assert (after.directory / name).stat().st_ino == (before.directory / name).stat().st_ino
    assert [(policy.id, policy.epoch, policy.part) for policy in after.policies] == [("branch", 2, "branch")]
    assert before.policies[0].version != after.policies[0].version


def test_new_intents_are_learned_and_the_rest_is_taken_over(site: Settings, units: UnitReader) -> None:
    before = generation(site)
    parts = {**PARTS, "intents/intents": PARTS["intents/intents"].replace("hours", "opening")}
    files = files_at(Path(site.state_dir) / "blobs", parts, {})
    apply_whole(StatePaths(site), "kiosk", files, lambda: units)
    after = generation(site)
    assert after.intent_head.ids == ("opening", "despair")
    assert before.intent_head.ids == ("hours", "despair")
    assert (after.directory / PUBLISHED).samefile(before.directory / PUBLISHED)


@pytest.mark.parametrize("damage", ["policy", "intents"])
def test_a_set_that_cannot_be_used_leaves_what_is_in_force(site: Settings, damage: str) -> None:
    before = generation(site)
    changed = {"policy": {"policy/branch": "policy_id: branch\n"}, "intents": {"intents/intents": "[]"}}[damage]
    with pytest.raises((PackError, ValueError), match=r"no rules|at least two intents"):
        put_in_force(site, changed)
    assert generation(site).number == before.number
    assert parts_of(generation(site).directory) == parts_of(before.directory)


def test_what_is_made_of_all_documents_is_made_anew_once_many_came(site: Settings, units: UnitReader) -> None:
    paths = StatePaths(site)
    files = files_at(Path(site.state_dir) / "blobs", PARTS, {"policy/branch": 2})
    assert not has_to_remake(paths, "kiosk")
    before = generation(site)
    add_documents(site, units, len(BRANCH))
    assert apply_artefacts(paths, "kiosk", files) == Applied(2, is_whole=True)
    assert "margaret okafor" not in generation(site).published, "a policy does not wait for it"
    assert has_to_remake(paths, "kiosk")
    assert apply_whole(paths, "kiosk", files, lambda: units) == 3
    after = generation(site)
    assert "margaret okafor" in after.published
    assert after.intent_head.version != before.intent_head.version
    assert (after.digest, after.epochs["policy/branch"]) == (before.digest, 2)
    assert not has_to_remake(paths, "kiosk")
    assert not has_to_remake(paths, "nobody")


def test_as_many_new_documents_as_go_are_many_changes(site: Settings, units: UnitReader) -> None:
    paths = StatePaths(site)
    index = HybridIndex.open(paths.index("kiosk"), units.embedder)
    index.delete([BRANCH[0].id])
    index.close()
    add_documents(site, units, 1)
    assert has_to_remake(paths, "kiosk")
    put_in_force(site)
    assert "margaret okafor" in generation(site).published
    assert not has_to_remake(paths, "kiosk")


def test_what_a_version_made_that_noted_no_numbers_is_made_anew(site: Settings) -> None:
    file = generation(site).directory / "generation.json"
    record = msgspec.json.decode(file.read_bytes())
    record["made_of"] = {key: value for key, value in record["made_of"].items() if not key.startswith("numbers of ")}
    file.write_bytes(msgspec.json.encode(record))
    assert has_to_remake(StatePaths(site), "kiosk")
    put_in_force(site)
    assert not has_to_remake(StatePaths(site), "kiosk")


def test_a_policy_that_comes_with_new_intents_does_not_wait_for_them(site: Settings, units: UnitReader) -> None:
    before, paths = generation(site), StatePaths(site)
    parts = {"policy/branch": ABSTAINS, "intents/intents": PARTS["intents/intents"].replace("hours", "opening")}
    files = files_at(Path(site.state_dir) / "blobs", parts, {"policy/branch": 2, "intents/intents": 2})
    assert apply_artefacts(paths, "kiosk", files) == Applied(2, is_whole=False)
    between = generation(site)
    assert (between.policies[0].epoch, between.epochs["intents/intents"]) == (2, 1)
    assert between.intent_head.ids == before.intent_head.ids == ("hours", "despair")
    assert apply_artefacts(paths, "kiosk", files) == Applied(2, is_whole=False), "the same again changes nothing"
    assert apply_whole(paths, "kiosk", files, lambda: units) == 3
    after = generation(site)
    assert after.epochs == {"policy/branch": 2, "intents/intents": 2}
    assert after.intent_head.ids == ("opening", "despair")


def test_what_is_damaged_is_made_anew_and_until_then_what_is_in_force_stays(site: Settings, units: UnitReader) -> None:
    (generation(site).directory / INTENT_HEAD).write_bytes(b"not a head")
    files = files_at(Path(site.state_dir) / "blobs", PARTS, {"policy/branch": 2})
    assert apply_artefacts(StatePaths(site), "kiosk", files) == Applied(1, is_whole=False)
    assert apply_whole(StatePaths(site), "kiosk", files, lambda: units) == 2
    assert generation(site).intent_head.ids == ("hours", "despair")


def test_a_site_with_nothing_in_force_waits_for_all_of_it(tmp_path: Path, units: UnitReader) -> None:
    empty = site_at(tmp_path / "state")
    files = files_at(tmp_path / "blobs", PARTS, {})
    assert apply_artefacts(StatePaths(empty), "kiosk", files) == Applied(0, is_whole=False)
    assert apply_whole(StatePaths(empty), "kiosk", files, lambda: units) == 1
    left = [path.name for path in StatePaths(empty).active("kiosk").iterdir()]
    assert sorted(left) == [".lock", "1", "current"], "nothing of the making is left"


def questions() -> str:
    asked = [CalibrationQuestion(text=text, language=language, documents=ids) for text, language, ids in LABELLED]
    return msgspec.json.encode(asked).decode()  # JSON is YAML


def test_the_confidence_of_a_pack_is_kept_whatever_becomes_of_the_documents(
    site: Settings, units: UnitReader, tmp_path: Path
) -> None:
    paths, pack = StatePaths(site), tmp_path / "pack"
    asked = tuple(msgspec.json.decode(questions(), type=list[CalibrationQuestion]))
    fitted_on = Pack(
        name="b", version="1", path="", documents=BRANCH, intents=(), questions=(), calibration=asked, policy_files=()
    )
    index = HybridIndex.open(paths.index("kiosk"), units.embedder)
    kept = prepare_calibration(fitted_on, index, units, tmp_path / "fitted.json")
    index.close()
    file = keep_confidence(pack, "kiosk", "site", kept)
    add_documents(site, units, 1)
    parts = {**PARTS, "calibration/calibration": questions(), "confidence/kiosk-site": file.read_text()}
    files = files_at(tmp_path / "blobs", parts, {})
    apply_whole(paths, "kiosk", files, lambda: units)
    found = Calibration.load(generation(site).directory / CALIBRATION)
    assert (found.read, found.unread) == (kept.read, kept.unread)
    assert found.made_from.split("/")[1] != kept.made_from.split("/")[1], "it says for which documents it is used"


def test_a_confidence_that_no_pack_brings_is_fitted_once_documents_answer_its_questions(
    site: Settings, units: UnitReader, tmp_path: Path
) -> None:
    paths = StatePaths(site)
    index = HybridIndex.open(paths.index("kiosk"), units.embedder)
    held = index.document_ids()
    index.delete(held)
    index.close()
    parts = {**PARTS, "calibration/calibration": questions()}
    files = files_at(tmp_path / "blobs", parts, {})
    apply_whole(paths, "kiosk", files, lambda: units)
    assert Calibration.load(generation(site).directory / CALIBRATION).read == SHIPPED.read
    index = HybridIndex.open(paths.index("kiosk"), units.embedder)
    index.upsert(BRANCH)
    index.close()
    assert has_to_remake(paths, "kiosk")
    apply_whole(paths, "kiosk", files, lambda: units)
    assert Calibration.load(generation(site).directory / CALIBRATION).read != SHIPPED.read


def test_a_pack_s_settings_take_effect_with_it_but_for_what_is_the_process_s_own(
    site: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = msgspec.structs.replace(
        site, prefilter=msgspec.structs.replace(site.prefilter, helpline="1", max_chars=77)
    )
    text = (
        'tenants = ["other"]\n[prefilter]\nlanguages = ["de"]\nmax_chars = 5\nemergency = "999"\n'
        "[drafter]\nescalate_below = 0.25\n[router]\nk = 3\n"
    )
    put_in_force(site, {"site-settings/site": text})
    found = with_live_settings(running, generation(site))
    assert (found.prefilter.languages, found.prefilter.emergency, found.prefilter.helpline) == (("de",), "999", "1")
    assert (found.drafter.escalate_below, found.router.k) == (0.25, 3)
    assert (found.tenants, found.prefilter.max_chars, found.state_dir) == (("kiosk",), 77, site.state_dir)
    monkeypatch.setenv("TIDEGATE_ROUTER__K", "5")
    assert with_live_settings(running, generation(site)).router.k == 5, "what the environment says stands"
