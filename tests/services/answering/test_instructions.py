"""Instructions are refused at the door where nobody could follow them, and accepted where somebody may."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.support.paths import MODELS
from tidegate.brokers.memory.bus import MemoryBus
from tidegate.schemas import Asked, CloudState, Refused, encode
from tidegate.schemas.subjects import ping
from tidegate.services.answering.instructions import FRESH_S, TOKENIZER, HubWriting, InstructionGate
from tidegate.services.gateway.settings import GatewaySettings
from tidegate.services.llm.text.token_counter import load_token_counter
from tidegate.services.settings import Settings

pytestmark = pytest.mark.anyio

RULES = "allow: [grounded_claims]\n"


class Hub:
    """Answers pings: it writes, or it does not; and counts them."""

    def __init__(self, *, writes: bool) -> None:
        self.writes = writes
        self.pings = 0

    async def reply(self, _: bytes) -> bytes:
        self.pings += 1
        return encode(CloudState(writes=("grounded", "free") if self.writes else ()))


async def gate_of(folder: Path, written: list[str], hub: Hub | None, **gateway: Any) -> InstructionGate:
    (folder / "policies").mkdir(parents=True)
    for number, text in enumerate(written):
        (folder / "policies" / f"{number}.yaml").write_text(f"policy_id: p{number}\n{RULES}{text}\n")
    state, models = str(folder / "state"), str(MODELS)
    limits = GatewaySettings(**gateway)
    settings = Settings(site="site1", pack_dir=str(folder), state_dir=state, models_dir=models, gateway=limits)
    bus = MemoryBus("site1")
    if hub is not None:
        await bus.respond(ping("site1"), hub.reply)
    return InstructionGate(settings, bus)


def instructed(**more: Any) -> Asked:
    return Asked(tenant="kiosk", rid="r1", text="When do you open?", **{"instructions": "Be brief.", **more})


@pytest.mark.parametrize(
    "policies", [["grounded: [assist]"], ["free: [fees]\negress: [fees]"], ["grounded: [fees]", ""]]
)
@pytest.mark.parametrize("hub", [Hub(writes=True), None], ids=["writes", "away"])
async def test_where_a_class_may_be_written_they_are_accepted(
    tmp_path: Path, policies: list[str], hub: Hub | None
) -> None:
    gate = await gate_of(tmp_path / "pack", policies, hub)
    assert await gate.find_fault(instructed()) is None
    assert await gate.find_fault(instructed(workload="assist")) is None


@pytest.mark.parametrize(
    "policies", [[""], ["grounded: []"], ["free: [fees]"], ["grounded: [fees]", "grounded: [cards]"]]
)
async def test_where_no_class_may_be_written_they_are_refused_and_no_hub_is_asked(
    tmp_path: Path, policies: list[str]
) -> None:
    hub = Hub(writes=True)
    fault = await (await gate_of(tmp_path / "pack", policies, hub)).find_fault(instructed())
    assert isinstance(fault, Refused)
    assert (fault.code, fault.rid, hub.pings) == ("unsupported", "r1", 0)
    assert "by policy" in fault.hint
    assert "ignore_system_prompts" in fault.hint


async def test_a_hub_that_writes_nothing_refuses_them_and_is_not_asked_each_time(tmp_path: Path) -> None:
    hub = Hub(writes=False)
    gate = await gate_of(tmp_path / "pack", ["grounded: [assist]"], hub)
    for _ in range(3):
        fault = await gate.find_fault(instructed())
        assert fault is not None
        assert "no model at the hub" in fault.hint
    assert hub.pings == 1


async def test_what_the_hub_said_last_counts_until_it_is_heard_of_again() -> None:
    hub, bus, now = Hub(writes=False), MemoryBus("site1"), [0.0]
    writing = HubWriting(bus, "site1", clock=lambda: now[0])
    assert not await writing.is_known_not_to(), "nobody has heard of it"
    await bus.respond(ping("site1"), hub.reply)
    now[0] += FRESH_S
    assert await writing.is_known_not_to()
    hub.writes = True
    assert await writing.is_known_not_to(), "it was asked a moment ago"
    now[0] += FRESH_S
    assert not await writing.is_known_not_to()
    assert await HubWriting(None, "site1").is_known_not_to(), "a site without a hub"


@pytest.mark.parametrize("more", [{"workload": "classify"}, {"workload": "extract"}, {"schema": '{"type": "object"}'}])
async def test_what_is_no_answer_in_words_takes_none(tmp_path: Path, more: dict[str, str]) -> None:
    gate = await gate_of(tmp_path / "pack", ["grounded: [assist, extract]"], Hub(writes=True))
    fault = await gate.find_fault(instructed(**more))
    assert fault is not None
    assert "in words" in fault.hint
    for nothing in ("", " \n"):
        assert await gate.find_fault(instructed(instructions=nothing, **more)) is None


async def test_they_have_a_budget_of_tokens(tmp_path: Path) -> None:
    most = load_token_counter(MODELS / TOKENIZER).count("Be brief.")
    gate = await gate_of(tmp_path / "pack", ["grounded: [assist]"], Hub(writes=True), instructions_tokens=most)
    assert await gate.find_fault(instructed(instructions="Be brief.")) is None
    fault = await gate.find_fault(instructed(instructions="Be brief, be kind and be gone."))
    assert fault is not None
    assert (fault.code, f"at most {most}" in fault.reason) == ("instructions_too_long", True)
