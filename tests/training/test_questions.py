"""The documents and questions that are kept here: every one can be learned from, and none is there twice."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from tidegate.infra.models.data.mixture import is_held
from tidegate.infra.models.data.qa import OWN, TRAIN, load_own, own_files

FILES = sorted(OWN.glob("*.jsonl"))
LANGUAGES = {"en", "de", "fr", "es", "it", "pt", "nl", "pl"}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_has_documents_whose_evidence_stands_in_them(path: Path) -> None:
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    assert len(records) >= 7
    for record in records:
        for asked in record["questions"]:
            is_impossible = asked["kind"].startswith("impossible")
            assert bool(asked["evidence"]) != is_impossible, asked["text"]
            assert all(each in record["text"] for each in asked["evidence"]), asked["text"]
            assert bool(asked["answer"]) != is_impossible, asked["text"]
            assert asked["language"] in LANGUAGES


def test_no_document_and_no_question_is_there_twice() -> None:
    records = [json.loads(line) for path in FILES for line in path.read_text("utf-8").splitlines()]
    texts = [asked["text"] for record in records for asked in record["questions"]]
    assert len({record["id"] for record in records}) == len(records) > 250
    assert not [text for text, count in Counter(texts).items() if count > 1]


def test_they_are_learned_from_and_never_measured_on(tmp_path: Path) -> None:
    assert own_files(tmp_path, TRAIN) == FILES
    assert own_files(tmp_path, "dev") == []
    learned = load_own(tmp_path, TRAIN)
    assert {each.corpus for each in learned.documents.values()} == {path.stem for path in FILES}
    held = [name for name in learned.documents if is_held(name)]
    assert 0.1 < len(held) / len(learned.documents) < 0.3
    counts = Counter(each.kind for each in learned.questions)
    assert min(counts["colloquial"], counts["paraphrase"], counts["impossible_near"]) > 700
