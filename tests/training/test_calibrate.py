"""A pack is calibrated: thresholds that hold a risk, by class, and a reader of the tenant's own where it is better."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from loadtests.prepared import copy_prepared
from tests.support.small_pack import pack_at
from tests.support.tuned_reader import tune_for
from tidegate.schemas import replace
from tidegate.services.cli import main
from tidegate.services.cli.progress import LineProgress
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.fleet.prepare import prepare
from tidegate.services.fleet.readers import TenantReading, read_readers, units_for
from tidegate.services.fleet.tenant_parts import find_folder
from tidegate.services.knowledge.reader.calibration import SHIPPED, Calibration
from tidegate.services.knowledge.reader.tuning import tuning_directory
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.packs.load import check_pack, identify_pack, load_pack
from tidegate.services.policies.language import load_policies
from tidegate.services.settings import Settings

HIRED = {
    "ladder": ("£4 a day", "climb onto a roof"),
    "kayak": ("£11 an hour", "paddle along the shore"),
    "tent": ("£9 a night", "sleep outdoors"),
    "drill": ("£6 a day", "make holes in a wall"),
    "trailer": ("£14 a day", "move a wardrobe by car"),
    "projector": ("£8 an evening", "show slides to guests"),
    "lawn mower": ("£7 a day", "cut the grass"),
    "sewing machine": ("£5 a week", "mend a coat"),
    "telescope": ("£10 a night", "look at the moons of Jupiter"),
    "bread oven": ("£12 a day", "bake for a street party"),
    "wheelchair": ("£2 a day", "push somebody who cannot walk"),
    "cement mixer": ("£13 a day", "lay a patio"),
}
NOT_HIRED = ("piano", "helicopter", "camel", "printing press", "diving bell", "tractor", "ferry", "barrel organ")


def document(name: str, price: str, use: str, scope: str) -> str:
    front = f"---\nid: {name.replace(' ', '-')}\ntitle: The {name}\nlanguage: en\nscope: {scope}\n---\n\n"
    return f"{front}Hiring the {name} costs {price}. It is meant for people who {use}.\n"


def question(text: str, name: str = "") -> str:
    return f"- text: {text}\n" + (f"  documents: [{name.replace(' ', '-')}]\n" if name else "")


@pytest.fixture
def hire(tmp_path: Path) -> Path:
    """A pack with 36 questions that its documents answer and 24 that they do not."""
    asked = [
        line
        for name, (_, use) in HIRED.items()
        for line in (
            question(f"How much is the {name}?", name),
            question(f"What must I pay for a {name} please?", name),
            question(f"I want to {use}, what have you got for that?", name),
        )
    ]
    asked += [
        question(text.format(name))
        for name in NOT_HIRED
        for text in ("How much is a {}?", "May I hire a {}?", "Who repairs a {} in town?")
    ]
    files = {
        f"documents/{name.replace(' ', '-')}.md": document(name, *each, "hub" if name == "kayak" else "shared")
        for name, each in HIRED.items()
    }
    return pack_at(tmp_path, **{"calibration.yaml": "".join(asked), **files})


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended:
        main(["pack", "calibrate", *arguments, "--json"])
    return int(ended.value.code or 0), json.loads(capsys.readouterr().out)


def test_a_pack_is_fitted_tuned_where_that_helps_and_its_thresholds_hold_the_risk(
    hire: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = load_pack(hire)
    arguments = (str(hire), "--state", str(tmp_path / "state"), "--risk", "0.1")
    code, found = run(capsys, *arguments, "--train", "--write")
    assert code == 0
    site, hub = found["domains"]
    assert (site["domain"], hub["domain"], found["least_questions"]) == ("site1", "hub", 9)
    groups = {row["group"]: row for row in site["rows"]}
    assert groups["all"]["questions"] == 60
    assert groups["kind elsewhere"]["questions"] == 3
    assert groups["kind elsewhere"]["from_group"] == "all", "three questions hold no risk of 0.1 by themselves"
    assert "kind elsewhere" not in {row["group"] for row in hub["rows"]}
    assert groups["kind unanswerable"]["right"] == 0.0
    for domain in found["domains"]:
        assert domain["rows"][0]["wrong"] <= 0.1
        assert domain["rows"][0]["threshold"] <= found["threshold"]
    assert found["class_thresholds"]["assist"] == found["threshold"], "all of them are of one workload"
    [policy] = [each for each in load_policies(sorted(hire.glob("policies/*.yaml"))) if each.id == "calibrated"]
    assert policy.abstain_thresholds["confidence"][1] == pytest.approx(found["threshold"])
    assert check_pack(hire).faults == ()
    tuned = found["tuning"]
    assert set(tuned["tried"]) == {"ranking and head", "ranking", "head"}
    manifest = tuning_directory(hire, "kiosk") / "manifest.json"
    assert manifest.exists() is bool(tuned["kept"])
    if tuned["kept"]:
        assert json.loads(manifest.read_text())["pack"] == before.version
    state = tmp_path / "state" / "site1"
    path = state / "tuned" / "kiosk" / "calibration.json" if tuned["kept"] else state / "calibration.json"
    assert Calibration.load(path).fit.auc == site["fit"]["auc"]


def test_too_few_questions_for_the_risk_or_for_tuning_are_refused_with_a_hint(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = pack_at(tmp_path)
    state = ("--state", str(tmp_path / "state"))
    code, found = run(capsys, str(pack), *state)
    assert (code, found["error"]["code"]) == (1, "too_few_questions")
    assert "19 are needed" in found["error"]["reason"]
    code, found = run(capsys, str(pack), *state, "--risk", "0.4", "--train")
    assert (code, found["error"]["code"]) == (1, "tuning_data")
    assert "calibration questions" in found["error"]["hint"]
    assert not (pack / "artefacts").exists()


def test_a_confidence_that_the_pack_keeps_is_not_fitted_again_until_what_it_was_fitted_on_changes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pack = pack_at(tmp_path)
    version = identify_pack(pack)
    assert run(capsys, str(pack), "--state", str(tmp_path / "author"), "--risk", "0.4", "--keep")[0] == 0
    folder = pack / "artefacts" / "kiosk" / "confidence"
    assert sorted(path.name for path in folder.iterdir()) == ["hub.json", "site.json"]
    assert identify_pack(pack) == version, "what is made of a pack is no part of its version"
    assert check_pack(pack).warnings == ()
    kept = json.loads((folder / "site.json").read_text())
    kept["fit"]["questions"] = 999  # what no fit would say
    (folder / "site.json").write_text(json.dumps(kept))
    settings = Settings(state_dir=str(tmp_path / "state"), pack_dir=str(pack))
    path = StatePaths(settings).calibration
    prepare(settings, load_pack(pack), LineProgress())
    assert Calibration.load(path).fit.questions == 999
    with (pack / "calibration.yaml").open("a") as questions:
        questions.write(question("May I bring my parrot to the counter?"))
    prepare(settings, load_pack(pack), LineProgress())
    assert Calibration.load(path).fit.questions < 999
    (folder / "site.json").write_text("{")
    path.unlink()
    prepare(settings, load_pack(pack), LineProgress())
    assert Calibration.load(path).fit.questions < 999, "one that cannot be read is fitted anew"


def test_tenants_share_no_reader_and_a_site_prepares_the_confidence_of_each(tmp_path: Path) -> None:
    pack = pack_at(tmp_path, **{"site.toml": 'tenants = ["north", "south"]\n[prefilter]\nlanguages = ["en", "de"]\n'})
    units = UnitReader.load(Path(".models"))
    settings = Settings(tenants=("north", "south"), state_dir=str(tmp_path / "state"), pack_dir=str(pack))
    version = identify_pack(pack)
    tune_for(pack, "north", units)
    assert identify_pack(pack) == version, "what is made of a pack is no part of its version"
    assert check_pack(pack).warnings == ()
    loaded = load_pack(pack)
    prepare(settings, loaded, LineProgress())
    other = replace(settings, site="site2")
    copy_prepared(settings, other)
    for each in (settings, other):
        north, south = (
            TenantReading.load(each, units, find_folder(StatePaths(each), tenant)).reader for tenant in each.tenants
        )
        assert "tuned-reader" in [part.id for part in north.parts()]
        assert [part.id for part in south.parts()] == ["extractive-reader"]
        assert Calibration.load(StatePaths(each).tuned_calibration("north")).made_from != SHIPPED.made_from
    assert units_for(settings, units, "south") is units


def test_when_the_only_tenant_s_own_reader_is_taken_away_the_shared_one_is_calibrated(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    units = UnitReader.load(Path(".models"))
    settings = Settings(state_dir=str(tmp_path / "state"), pack_dir=str(pack))
    tune_for(pack, "kiosk", units)
    prepare(settings, load_pack(pack), LineProgress())
    assert Calibration.load(StatePaths(settings).calibration).fit.questions == 0
    assert Calibration.load(StatePaths(settings).tuned_calibration("kiosk")).fit.questions == 2
    shutil.rmtree(pack / "artefacts")
    prepare(settings, load_pack(pack), LineProgress())
    assert Calibration.load(StatePaths(settings).calibration).fit.questions == 2


def test_an_artefact_that_is_not_used_is_named_by_the_check_of_the_pack_and_by_status(tmp_path: Path) -> None:
    pack = pack_at(tmp_path)
    units = UnitReader.load(Path(".models"))
    tune_for(pack, "kiosk", units, base="0123456789ab")
    tune_for(pack, "stranger", units)
    notes = {note.file: str(note) for note in check_pack(pack).warnings}
    assert "made for the reader 0123456789ab" in notes["artefacts/kiosk/reader"]
    assert "no tenant" in notes["artefacts/stranger/reader"]
    assert "--train" in notes["artefacts/kiosk/reader"]
    settings = Settings(tenants=("kiosk", "other"), pack_dir=str(pack))
    tune_for(pack, "other", units)
    in_use, unused = read_readers(settings)
    assert list(in_use) == ["other"]
    assert unused == [
        f"the reader of kiosk is not used: it was made for the reader 0123456789ab, and this is {units.version}"
    ]
    shutil.rmtree(pack / "artefacts")
    assert read_readers(settings) == ({}, [])
    assert check_pack(pack).warnings == ()
