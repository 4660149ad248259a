"""`tidegate gaps`: what a site was asked and could not answer, read from its streams."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nats
import pytest

from tests.support.gateway_site import Site, ask, asked, site
from tidegate.schemas import replace
from tidegate.services.cli.gaps import BadSinceError, describe_group, read_open_questions, read_since
from tidegate.services.evaluation.open_questions import group_questions

pytestmark = pytest.mark.anyio
NOW_S = 1_800_000_000.0


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, server=True, grace_s=0.2) as running:
        yield running


async def test_only_what_was_not_answered_is_read_without_personal_values(served: Site) -> None:
    for text in ("abstain from one two", "abstain from one two", "withhold this", "personal but answered"):
        await ask(served, asked(text))
    await ask(served, replace(asked("abstain from one two"), tenant="bank"))
    bus: Any = served.bus
    client = await nats.connect(bus.link.client.connected_url.netloc)
    try:
        found = await read_open_questions(client, "kiosk", 0.0)
        assert [(each.reason, each.text) for each in found] == [
            ("abstained", "Your question has 4 words, and this is the answer to it.")
        ] * 2
        assert [each.document_id for each in found[0].nearest] == ["coins", "fees"]
        assert len(await read_open_questions(client, "*", 0.0)) == 3
        assert await read_open_questions(client, "kiosk", found[-1].at_s + 1) == []
    finally:
        await client.close()
    [group] = group_questions(found, None)
    lines = describe_group(group)
    assert lines[0].split("×")[0].strip() == "2"
    assert lines[1].strip().startswith("abstained, last 20")
    assert lines[2].strip() == "near 0.70: [coins] Coins › Counter"


@pytest.mark.parametrize(
    ("text", "from_s"),
    [
        ("", 0.0),
        ("90m", NOW_S - 5400),
        ("24h", NOW_S - 86_400),
        ("7d", NOW_S - 604_800),
        ("2w", NOW_S - 1_209_600),
        ("2026-03-01", 1_772_323_200.0),
        ("2026-03-01T01:00:00+01:00", 1_772_323_200.0),
    ],
)
def test_since_is_a_duration_or_a_date(text: str, from_s: float) -> None:
    assert read_since(text, NOW_S) == from_s


@pytest.mark.parametrize("text", ["soon", "7", "-7d", "7y", "2026-13-01"])
def test_any_other_since_is_refused_with_a_hint(text: str) -> None:
    with pytest.raises(BadSinceError) as caught:
        read_since(text, NOW_S)
    assert "7d" in caught.value.hint
