"""The hub looks for names as sites do: with the model, save what the tenant publishes, and within a time."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import msgspec
import pytest

from tests.support.escalation_site import escalated
from tests.support.hub_intakes import FIND, NOWHERE
from tests.support.intake_attacks import SUBJECT
from tests.support.paths import MODELS
from tidegate.schemas import Question, encode, replace
from tidegate.services.fleet.readers import TenantReading
from tidegate.services.fleet.refusal_counts import RefusalCounts
from tidegate.services.privacy.dlp.detector import Detector
from tidegate.services.privacy.dlp.person_model import PersonModel, UnfinishedScreeningError
from tidegate.services.privacy.dlp.published import PublishedText
from tidegate.services.privacy.settings import PrivacySettings
from tidegate.services.settings import Settings
from tidegate.services.stages.cloud_verifier.hub_names import HubNames
from tidegate.services.stages.settings import PrefilterSettings
from tidegate.services.uplink.escalation_checks import FindByRules
from tidegate.services.uplink.intake import HubIntake, IntakeRefusedError
from tidegate.services.uplink.site_binding import SiteBinding
from tidegate.sync.trust.site_records import SiteRecords

pytestmark = pytest.mark.anyio
PUBLISHED = PublishedText.of(["The branch is led by Margaret Okafor."])
ASKED = "Has Gwendolyn Featherstonehaugh returned the form?"
SCHEMA = '{"properties": {"Gwendolyn Featherstonehaugh": {"type": "string"}}}'


@pytest.fixture(scope="module")
def model() -> PersonModel:
    return PersonModel.load(MODELS)


def detector(model: PersonModel, budget_s: float = 60.0) -> Detector:
    return Detector((), model, PUBLISHED, budget_s=budget_s)


def intake(find_names: FindByRules | None, counts: RefusalCounts | None = None) -> HubIntake:
    binding = SiteBinding(("kiosk",), SiteRecords(NOWHERE))
    return HubIntake(binding, lambda _: FIND, counts or RefusalCounts(), lambda _: find_names)


async def fault_of(judge: HubIntake, **changed: Any) -> str:
    """Why the hub does not take a question; empty where it does, on either lane."""
    sent = escalated("How late is it?")
    question: Question = msgspec.structs.replace(sent.question, **changed)
    data = encode(replace(sent, question=question))
    faults = []
    for read in (judge.read_stored(SUBJECT, {}, data), judge.read_asked("cloud.site1.verify.kiosk", data)):
        try:
            await read
            faults.append("")
        except IntakeRefusedError as error:
            faults.append(error.fault)
    assert len(set(faults)) == 1
    return faults[0]


@pytest.mark.parametrize(
    ("changed", "fault"),
    [
        ({"text": ASKED}, "personal_data"),
        ({"text": "How late is it?", "instructions": ASKED}, "personal_data"),
        ({"text": "Has <NAME_0123456789ab> returned the form?"}, ""),
        ({"text": "When is Margaret Okafor in the branch?"}, ""),
        ({"text": "How late is it?", "schema": SCHEMA}, ""),
    ],
    ids=["asked", "instructed", "masked", "published", "a schema's"],
)
async def test_a_name_that_only_the_model_finds_does_not_come_up(
    model: PersonModel, changed: dict[str, str], fault: str
) -> None:
    assert not FIND(ASKED), "or the rules would do"
    assert await fault_of(intake(detector(model).find), **changed) == fault
    assert await fault_of(intake(None), **changed) == ""


async def test_what_is_not_read_to_its_end_in_time_is_refused(model: PersonModel) -> None:
    hurried, counts = detector(model, budget_s=0.0).find, RefusalCounts()
    with pytest.raises(UnfinishedScreeningError):
        hurried(ASKED)
    assert await fault_of(intake(hurried, counts), text=ASKED) == "unscreened"


def reading(published: PublishedText | None = PUBLISHED, *, name_model: bool = True) -> TenantReading:
    """What is in force of a tenant; nothing here reads."""
    settings = Settings(prefilter=PrefilterSettings(name_model=name_model))
    return TenantReading(cast(Any, None), None, Detector(()), settings, published=published)


async def test_names_are_looked_for_where_that_is_on_and_the_hub_knows_what_is_published(tmp_path: Path) -> None:
    cases: list[tuple[Settings, TenantReading | None, bool]] = [
        (Settings(models_dir=str(MODELS)), reading(), True),
        (Settings(models_dir=str(MODELS)), reading(name_model=False), False),
        (Settings(models_dir=str(MODELS)), reading(None), False),
        (Settings(models_dir=str(MODELS)), None, False),
        (Settings(models_dir=str(tmp_path)), reading(), False),
        (Settings(models_dir=str(MODELS), privacy=PrivacySettings(names_at_hub=False)), reading(), False),
    ]
    for settings, current, is_searched in cases:
        names = await HubNames.load(settings, {"kiosk": current}.get)
        find = names.of("kiosk")
        assert (find is not None) == is_searched
        if find is not None:
            assert [each.value for each in find(ASKED)] == ["Gwendolyn Featherstonehaugh"]
            assert names.of("kiosk") == find, "made once for what is in force"
