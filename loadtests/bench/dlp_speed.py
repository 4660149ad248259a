"""What it costs to find personal data by rules with five telephone regions, beside the library's own number matcher.

Times are of the thread's own processor time: what a neighbour on the machine takes is not counted.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial

from phonenumbers import Leniency, PhoneNumberMatcher

from loadtests.bench.measure import Bar, Entry, Measurement, Sampled, Target, interleaved, quantile
from tidegate.services.privacy.dlp.detector import Detector

REGIONS = ("GB", "DE", "FR", "ES", "US")
CHARACTERS = 300
TEXTS = 200
FIND = "find"
PROSE = (
    "The branch in the old town opens at 9 and closes at 17:30, except on 24 December.",
    "What does a replacement debit card cost, and how many working days does it take to come?",
    "Ich habe meine Karte verloren und bin bis zum 14.08.2026 im Ausland, was kann ich tun?",
    "Je voudrais ouvrir un compte d'épargne à 2,5 % pour mes deux enfants avant la fin de l'année.",
    "Quiero cambiar el límite de 1.500,00 euros de mi tarjeta; la oficina abre de 8:30 a 14:15.",
)
PERSONAL = (
    "Call me on 020 7946 0958 or +49 151 23456789.",
    "Meine IBAN ist DE89 3704 0044 0532 0130 00.",
    "My card 4111 1111 1111 1111 was charged twice.",
    "Write to jo.brand@postbox.example, order 4155552672.",
    "My name is Ann Smith, born 12 March 1980.",
    "Le 06 12 34 56 78, numéro client C998877.",
)


def sample_texts() -> list[str]:
    """Questions of 300 characters as customers write them, the same in every run: prose, and two pieces of data."""
    choice = random.Random(11)
    texts = []
    for _ in range(TEXTS):
        pieces = [*choice.choices(PROSE, k=5), *choice.sample(PERSONAL, k=2)]
        choice.shuffle(pieces)
        texts.append(" ".join(pieces)[:CHARACTERS])
    return texts


def match_numbers(text: str) -> int:
    """What the library's matcher alone finds in all regions."""
    return sum(1 for region in REGIONS for _ in PhoneNumberMatcher(text, region, Leniency.VALID))


async def timed(find: Callable[[str], object], texts: Sequence[str]) -> Sampled:
    """The 95th percentile of the milliseconds that a text takes."""
    samples = []
    for text in texts:
        began_s = time.thread_time()
        find(text)
        samples.append((time.thread_time() - began_s) * 1000)
        await asyncio.sleep(0)
    return Sampled(quantile(samples, 0.95) or 0.0, {FIND: tuple(samples)})


async def speed_blocks(repeats: int) -> AsyncIterator[Measurement]:
    """The detector without a model for names, and the matcher, over the same texts."""
    texts = sample_texts()
    ours = partial(timed, Detector(REGIONS).find, texts)
    async for block in interleaved(repeats, ours, partial(timed, match_numbers, texts)):
        yield block


DLP_ENTRIES = (
    Entry(
        name="dlp_speed",
        unit="ms, p95 of a text of 300 characters",
        peer_name="phonenumbers' matcher in the same five regions, telephone numbers alone",
        target=Target("≤", 1.0),
        blocks=speed_blocks,
        bars=(
            Bar(samples=FIND, quantile=0.95, target=Target("≤", 1.0)),
            Bar(samples=FIND, quantile=0.5),
            Bar(samples=FIND, quantile=0.99),
        ),
    ),
)
