"""A pack as artefacts: every part by kind and name, the same bytes each time, and a folder again that can be read."""

from __future__ import annotations

import shutil
from pathlib import Path

import msgspec
import pytest

from tests.support.paths import KIOSK
from tests.support.small_pack import GOOD, pack_at
from tidegate.services.knowledge.reader.tuning import tuning_directory
from tidegate.services.packs.findings import PackError
from tidegate.services.packs.load import check_pack, load_pack
from tidegate.services.packs.parts import (
    PackPart,
    PartNameError,
    PartUnreadableError,
    digest_parts,
    load_parts,
    parts_of,
    write_parts,
)

MORE = {
    "thesaurus.yaml": "- {language: en, words: [chair, head]}\n",
    "replies.yaml": "- intent: distress\n  texts: {en: Call now.}\n",
    "prompts/tone.prompt": "Be brief.\n",
    "policies/second.yml": "policy_id: p2\nallow: [grounded_claims]\n",
    "artefacts/kiosk/confidence/site.json": "{}",
    "artefacts/north-west/confidence/hub.json": "{}",
    "artefacts/kiosk/reader/manifest.json": "{}",
    "artefacts/kiosk/reader/reader.json": "[]",
}


def test_a_pack_s_parts_are_all_but_its_documents_and_questions(tmp_path: Path) -> None:
    parts = parts_of(pack_at(tmp_path, **MORE))
    assert [part.path for part in parts] == [
        "calibration/calibration",
        "confidence/kiosk-reader",
        "confidence/kiosk-site",
        "confidence/north-west-hub",
        "intents/intents",
        "policy/safe",
        "policy/second",
        "prompt/tone",
        "replies/replies",
        "site-settings/site",
        "thesaurus/thesaurus",
    ]
    assert next(part.data for part in parts if part.path == "policy/safe") == GOOD["policies/safe.yaml"].encode()
    assert check_pack(tmp_path / "small").faults == ()


def test_equal_packs_have_equal_parts_and_the_folder_of_parts_is_a_pack_again(tmp_path: Path) -> None:
    pack = pack_at(tmp_path, **MORE)
    parts = parts_of(pack)
    shutil.copytree(pack, tmp_path / "copy")
    assert parts_of(tmp_path / "copy") == parts
    write_parts(reversed(parts), tmp_path / "site")
    assert parts_of(tmp_path / "site") == parts
    assert digest_parts(parts_of(tmp_path / "site")) == digest_parts(parts)
    assert (tuning_directory(tmp_path / "site", "kiosk") / "reader.json").read_text() == "[]"
    read, whole = load_parts(tmp_path / "site"), load_pack(pack)
    for name in ("intents", "calibration", "thesaurus", "replies"):
        assert getattr(read, name) == getattr(whole, name)
    assert [Path(file).name for file in read.policy_files] == ["safe.yaml", "second.yaml"]
    other = [part if part.kind != "policy" else PackPart("policy", part.name, part.data + b"#") for part in parts]
    assert digest_parts(other) != digest_parts(parts)


def test_the_kiosk_s_parts_can_be_used_as_they_are(tmp_path: Path) -> None:
    write_parts(parts_of(KIOSK), tmp_path)
    read, whole = load_parts(tmp_path), load_pack(KIOSK)
    assert read.intents == whole.intents
    assert read.thesaurus == whole.thesaurus
    assert len(list(tmp_path.glob("artefacts/*/confidence/*.json"))) == 2


@pytest.mark.parametrize(
    ("name", "text", "file", "reason"),
    [
        ("policies/safe.yaml", "policy_id: p1\nallow: [everything]\n", "policies/safe.yaml", "everything"),
        ("intents.yaml", "- id: hours\n", "intents.yaml", "utterances"),
        ("intents.yaml", "- id: [\n", "intents.yaml", ""),
        ("thesaurus.yaml", "- {language: en, words: [one]}\n", "thesaurus.yaml", "length"),
        ("replies.yaml", "hello", "replies.yaml", "expected a list"),
        ("calibration.yaml", "- documents: [a]\n", "calibration.yaml", "text"),
        ("site.toml", "[prefilter]\nlangauges = []\n", "site.toml", "langauges"),
        ("prompts/tone.prompt", " \n", "prompts/tone.prompt", "0 characters"),
    ],
)
def test_every_part_that_cannot_be_used_is_named(tmp_path: Path, name: str, text: str, file: str, reason: str) -> None:
    write_parts(parts_of(pack_at(tmp_path, **{**MORE, name: text})), tmp_path / "site")
    with pytest.raises(PackError) as caught:
        load_parts(tmp_path / "site")
    [fault] = caught.value.faults
    assert fault.file == file
    assert reason in fault.reason
    assert fault.hint


def test_a_set_without_a_policy_or_without_intents_is_no_pack_yet(tmp_path: Path) -> None:
    write_parts([part for part in parts_of(pack_at(tmp_path)) if part.kind == "calibration"], tmp_path / "site")
    with pytest.raises(PackError) as caught:
        load_parts(tmp_path / "site")
    assert {fault.file for fault in caught.value.faults} == {"policies", "intents.yaml"}


@pytest.mark.parametrize(
    "part",
    [
        PackPart("intents", "mine", b""),
        PackPart("policy", "../../etc/passwd", b""),
        PackPart("policy", "", b""),
        PackPart("confidence", "kiosk", b""),
        PackPart("confidence", "-site", b""),
        PackPart("model", "reader", b""),
    ],
)
def test_a_part_under_a_name_that_none_of_its_kind_has_is_not_written(tmp_path: Path, part: PackPart) -> None:
    with pytest.raises(PartNameError):
        write_parts([part], tmp_path / "site")
    assert not list(tmp_path.rglob("*.*"))


def test_a_reader_that_would_write_elsewhere_is_refused(tmp_path: Path) -> None:
    packed = msgspec.msgpack.encode
    for data in (b"\xff", packed({"../reader.json": b"[]"}), packed({"a/../../../../x": b""}), packed({".x": b""})):
        with pytest.raises(PartUnreadableError):
            write_parts([PackPart("confidence", "kiosk-reader", data)], tmp_path)


def test_two_files_that_would_be_one_artefact_are_refused(tmp_path: Path) -> None:
    pack = pack_at(tmp_path, **{"policies/safe.yml": "policy_id: p2\nallow: [grounded_claims]\n"})
    with pytest.raises(PartNameError, match="policy/safe"):
        parts_of(pack)
