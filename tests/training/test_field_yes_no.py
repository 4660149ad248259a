"""Questions to be answered with yes or no, as fields that are true or false."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.pieces import decode_ids, open_pieces
from tidegate.infra.models.data.field_yes_no import AROUND, MOST, read_yes_no

FILL = "Nothing of interest is said here. " * 40


def test_a_question_is_asked_of_what_stands_around_its_evidence(tmp_path: Path) -> None:
    text = f"{FILL}Dogs stay outside. {FILL}Cats may come in.{FILL}"
    asked = [
        ("May I bring my dog?", "yes_no", "No, dogs stay outside", ["Dogs stay outside."]),
        ("Darf die Katze mit?", "yes_no", "Ja", ["Cats may come in."]),
        ("Both?", "yes_no", "No", ["Dogs stay outside.", "Cats may come in."]),  # too far apart
        ("Who stays outside?", "plain", "No dogs", ["Dogs stay outside."]),
        ("Is it warm?", "yes_no", "It depends", ["Cats may come in."]),
    ]
    questions = [{"text": a, "kind": b, "answer": c, "evidence": d, "language": "en"} for a, b, c, d in asked]
    record = {"id": "1", "domain": "d", "language": "en", "title": "t", "text": text, "questions": questions}
    (tmp_path / "qa").mkdir()
    (tmp_path / "qa" / "train-a.jsonl").write_text(json.dumps(record) + "\n", "utf-8")
    assert len(FILL) > MOST > AROUND
    found = [*read_yes_no(tmp_path, open_pieces().encode)]
    named = {each.fields[0].path: each for each in found}
    assert named["May I bring my dog?"].fields[0].right == (False, True)
    assert named["Darf die Katze mit?"].fields[0].right == (True, False)
    assert not {"Both?", "Who stays outside?", "Is it warm?"} & named.keys()
    read = decode_ids(named["May I bring my dog?"].windows[0].ids)
    assert "Dogs stay outside." in read
    assert "Cats" not in read
    assert len(found) > 300  # with those that are kept here
