"""A site and a hub that were prepared from a few small documents, as `tidegate up` prepares them from a pack."""

from __future__ import annotations

import atexit
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

import msgspec

from tests.support.corpus import BRANCH, document
from tidegate.schemas import Escalated, Plan, Question, Retrieved, Routed
from tidegate.schemas.facts import F
from tidegate.schemas.pack import CalibrationQuestion, Intent, Pack
from tidegate.services.fleet.paths import StatePaths
from tidegate.services.knowledge.index import packing
from tidegate.services.knowledge.reader import fit
from tidegate.services.knowledge.reader.effort import AT_HUB, AT_SITE
from tidegate.services.knowledge.reader.unit_reader import UnitReader
from tidegate.services.settings import Settings
from tidegate.services.stages.settings import CloudVerifierSettings

HUB_ONLY = document("board", "# The board\n\nThe chief executive is Philippa Okonjo. She was appointed in 2021.")
LABELLED = (
    ("What does a banker's draft cost?", "en", ("fees",)),
    ("When are the fees collected each month?", "en", ("fees",)),
    ("What do I need to bring to open an account?", "en", ("fees",)),
    ("How late is the lobby open?", "en", ("hours",)),
    ("When does the branch close on a Saturday?", "en", ("hours",)),
    ("Are foreign coins exchanged?", "en", ("coins",)),
    ("Wann ist die Filiale geöffnet?", "de", ("stunden",)),
    ("Who is the chief executive?", "en", ("board",)),
    ("Who is the king of Spain?", "en", ()),
    ("How far away is Mars?", "en", ()),
    ("How do I bake a cake?", "en", ()),
)
PACK = Pack(
    name="branch",
    version="1",
    path="",
    documents=(*BRANCH, document("board", HUB_ONLY.text)),
    intents=(Intent(id="weather", utterances=("will it rain", "is it cold"), verdict="out_of_scope"),),
    questions=(),
    calibration=tuple(CalibrationQuestion(text=t, language=lang, documents=names) for t, lang, names in LABELLED),
    policy_files=(),
)


@cache
def prepared() -> Settings:
    """Settings of a site whose state, and its hub's, were prepared once for the whole run."""
    state = mkdtemp(prefix="tidegate-test-")
    atexit.register(rmtree, state, ignore_errors=True)
    settings = Settings(site="site1", state_dir=state, models_dir=".models")
    hub_only = msgspec.structs.replace(HUB_ONLY, scope="hub")
    pack = msgspec.structs.replace(PACK, documents=(*BRANCH, hub_only))
    units = UnitReader.load(Path(".models"))
    embedder = units.embedder
    for site, scope in (("site1", "site"), ("hub", "hub")):
        paths = StatePaths(msgspec.structs.replace(settings, site=site))
        index = packing.prepare_index(pack, scope, embedder, paths.index("kiosk"))  # type: ignore[arg-type]
        fit.prepare_calibration(pack, index, units, paths.calibration, AT_HUB if scope == "hub" else AT_SITE)
    return settings


def at_hub(cloud: CloudVerifierSettings | None = None) -> Settings:
    """The hub's settings beside that site."""
    return msgspec.structs.replace(prepared(), site="hub", cloud_verifier=cloud or CloudVerifierSettings())


def plan(*, where: str = "edge", may_escalate: bool = True, k: int = 8) -> Plan:
    return Plan(
        where=where,  # type: ignore[arg-type]
        may_escalate=may_escalate,
        k=k,
        model="extractive",
        shares_ms={},
        config_version="1",
        reason="test",
    )


def question(text: str, **more: object) -> Question:
    parts = {"language": "en", "intent": "other", "intent_confidence": 0.9, **more}
    return Question(text=text, **parts)  # type: ignore[arg-type]


def fact(kind: type[F], text: str, *, plan_: Plan | None = None, **more: object) -> F:
    """A fact of the kind about the question; `more` goes to the question, or to the fact where it has such a field."""
    own = {name: more.pop(name) for name in list(more) if name in kind.__struct_fields__}
    parts = {
        "rid": "r1",
        "tenant": "kiosk",
        "site": "site1",
        "asked_at_ms": 1_000,
        "deadline_at_ms": 5_000,
        "question": question(text, **more),
        "plan": plan_ or plan(),
        **own,
    }
    return kind(**parts)  # type: ignore[arg-type]


def routed(text: str, **more: object) -> Routed:
    return fact(Routed, text, **more)  # type: ignore[arg-type]


def retrieved(text: str, **more: object) -> Retrieved:
    return fact(Retrieved, text, **more)  # type: ignore[arg-type]


def escalated(text: str, **more: object) -> Escalated:
    return fact(Escalated, text, reason="low_confidence", **more)  # type: ignore[arg-type]
