"""How many of many streams that were cut off differ from one that was not: none, or it is broken.

    python -m loadtests.load.resume [--cuts 500] [--seed 1] [--every-byte] [--transports sse,ws,nats]

For each transport: random answers, streamed while they are made, on a real server behind the real gateway; each client
loses its line at random bytes (over NATS: after random messages) and comes back, over and over. Every tenth one finds a
new gateway, every tenth finds the log lost. What it shows in the end, and what was committed to it, must be the answer;
no character twice, none missing, at most one retraction. `--every-byte` also cuts one finished stream at every byte.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from loadtests.load.dropping import WHOLE, Transport
from loadtests.load.stream_client import Client
from loadtests.load.stream_site import Script, StreamSite, stream_site

SENTENCE = "The branch opens at nine on days of the week and costs {email} nothing — Überweisungen auch 42 ."
WORDS = SENTENCE.split()


def play_of(chance: random.Random) -> Script:
    """A random answer of up to some 120 words and how it came about: with a draft that agrees, differs, or none."""
    sentences = [
        " ".join(chance.choices(WORDS, k=chance.randrange(3, 15))) + ". " for _ in range(chance.randrange(1, 9))
    ]
    if chance.random() < 0.2:
        answer = json.dumps({f"f{n}": sentence for n, sentence in enumerate(sentences)}, ensure_ascii=False)
        return Script(answer, steps=[("stands", n) for n in sorted(chance.sample(range(len(answer)), 3))], is_json=True)
    answer, agreed = "".join(sentences), chance.randrange(len(sentences) + 1)
    draft = "".join(sentences[:agreed]) + " ".join(chance.choices(WORDS, k=10)) + "."
    steps = [(chance.choice(["shows", "stands"]), len("".join(sentences[: n + 1]))) for n in range(len(sentences))]
    if chance.random() < 0.1:
        return Script(answer, steps=None)
    return Script(answer, draft, steps, can_retract=chance.random() < 0.8)


async def cut_off(site: StreamSite, transport: str, chance: random.Random) -> tuple[Client, Script, int]:
    """One client's story, from the question to the end of the stream, and how often it was cut off."""
    script, client, drops, fate = play_of(chance), Client(), 0, chance.random()
    asked = script.asked()
    made = asyncio.create_task(site.run_script_when_asked(script, asked, chance.random() * 0.004))
    try:
        while not client.is_done:
            budget = chance.randrange(1, 6 if transport == "nats" else 1200) if drops < 9 else WHOLE
            async with asyncio.timeout(60):
                await by_name(site, transport).ask(asked, client, budget)
            if (client.failed is not None and client.failed.is_resumable) or not client.is_done:
                client, drops = client.resumed(), drops + 1
            if fate < 0.1:
                await site.close_gateway()
                await site.open_gateway()
            elif fate < 0.2 and made.done():
                await site.lose_tokens()
            fate = fate if 0.1 <= fate < 0.2 and not made.done() else 1.0
        await made
    finally:
        made.cancel()
    return client, script, drops


def by_name(site: StreamSite, name: str) -> Transport:
    return next(transport for transport in site.transports if transport.name == name)


def differs(client: Client, script: Script) -> str:
    """What is wrong with what the client received, or nothing."""
    seen = script.seen()
    faults = {
        "no answer": client.published is None,
        "text": client.text != seen,
        "committed": "".join(client.committed) != seen,
        "answer": client.published is not None and client.published.text != seen,
        "retractions": client.retractions > (1 if script.can_retract else 0),
        "provisional": not script.can_retract and "provisional" in client.states,
    }
    return ", ".join(name for name, is_so in faults.items() if is_so)


async def every_byte(site: StreamSite, name: str) -> tuple[int, int]:
    """Cut one finished stream at every byte or message; how many cuts, and how many differed."""
    script = Script("We write to {email} today. Not tomorrow.", "We write to {email} today. Not now.", [("shows", 60)])
    asked, transport, whole = script.asked(), by_name(site, name), Client()
    running = asyncio.create_task(transport.ask(asked, whole))
    await site.run_script_when_asked(script, asked, 0.01)
    await running
    used, wrong = await transport.resume(asked, Client()), 0
    for budget in range(used):
        client = Client()
        await transport.resume(asked, client, budget)
        if not client.is_done:
            client = client.resumed()
            await transport.resume(asked, client)
        wrong += bool(differs(client, script))
    return used, wrong


async def main(cuts: int, seed: int, is_every_byte: bool, transports: Sequence[str]) -> int:
    """Print the differences by transport; how many there were."""
    wrong = 0
    with tempfile.TemporaryDirectory() as state:
        async with stream_site(Path(state)) as site:
            for name in transports:
                chance, began_s, done, found = random.Random(f"{seed}.{name}"), time.monotonic(), 0, Counter[str]()
                stories = retracted = 0
                while done < cuts:
                    client, script, drops = await cut_off(site, name, chance)
                    done, stories, retracted = done + drops, stories + 1, retracted + client.retractions
                    if fault := differs(client, script):
                        found[fault] += 1
                wrong += found.total()
                spent_s = time.monotonic() - began_s
                print(
                    f"{name}: {done} cuts in {stories} streams, {retracted} with a retraction, {spent_s:.0f} s: "
                    f"differences = {found.total()} {dict(found) or ''}",
                    flush=True,
                )
                if is_every_byte:
                    used, differing = await every_byte(site, name)
                    wrong += differing
                    print(
                        f"{name}: cut at each of {used} {'messages' if name == 'nats' else 'bytes'}: {differing=}",
                        flush=True,
                    )
    return wrong


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuts", type=int, default=500, help="random cuts for each transport")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--every-byte", action="store_true")
    parser.add_argument("--transports", default="sse,ws,nats")
    options = parser.parse_args()
    running = main(options.cuts, options.seed, options.every_byte, options.transports.split(","))
    raise SystemExit(1 if asyncio.run(running) else 0)
