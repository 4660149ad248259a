"""The bench of extraction counts what it says it counts, and is left out, in words, where there is nothing to read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click import UsageError

from loadtests.bench import answers_extraction as bench
from loadtests.bench.run import over_data

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "total": {"type": "number"},
        "paid": {"type": ["boolean", "null"]},
        "tags": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["total", "paid"],
}
TRUTH = {"total": 12, "paid": None}


def record(text: str, truth: dict[str, Any]) -> dict[str, Any]:
    return {"id": "1", "language": "en", "text": text, "schema": SCHEMA, "truth": truth}


def test_a_field_is_right_by_value_and_a_text_when_all_are() -> None:
    [right, wrong] = bench.measure_texts((record("Total: 12.00", TRUTH), record("Total: 13", TRUTH)), bench.ours)
    assert [field.is_right for field in right.fields] == [True, True, True]
    assert [(field.path, field.found, field.true) for field in wrong.fields if not field.is_right] == [
        ("total", 13, 12)
    ]
    assert right.is_whole
    assert not wrong.is_whole
    figures = bench.shares([right, wrong])
    assert figures["fields_right"][0] == pytest.approx(100 * 5 / 6)
    assert figures["texts_whole"] == (50,)
    assert figures["texts_answered_wrong"] == (50 * wrong.is_answered,)
    assert "5 of" not in bench.table_of([right])
    assert "number" in bench.table_of([right])


def test_the_peer_takes_the_first_number_whatever_it_is() -> None:
    [judged] = bench.measure_texts([record("Order 7\nTotal: 12", TRUTH)], bench.first_of_kind)
    assert judged.fields[0].found == 7


def test_without_data_the_entry_is_left_out_and_that_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert over_data(None, "") == ()
    assert over_data(tmp_path, "") == ()
    shown = capsys.readouterr().err
    assert "answers_extraction: skipped, no --data" in shown
    assert f"no {bench.FILE}" in shown
    assert over_data(None, "pipeline_latency_vs_floor") == ()
    assert capsys.readouterr().err == ""
    with pytest.raises(UsageError, match="--data"):
        over_data(None, bench.NAME)


@pytest.mark.anyio
async def test_the_entry_measures_both_sides_over_the_file(tmp_path: Path) -> None:
    file = tmp_path / bench.FILE
    file.parent.mkdir()
    file.write_text("\n".join(json.dumps(record(text, TRUTH)) for text in ("Total: 12", "Order 7\nTotal: 12")))
    [entry] = over_data(tmp_path, "")
    blocks = [block async for block in entry.blocks(5)]
    assert [block.side for block in blocks] == ["ours", "peer"] * 5
    assert blocks[0].value > blocks[1].value
    assert set(blocks[0].samples) >= {bar.samples for bar in entry.bars}
