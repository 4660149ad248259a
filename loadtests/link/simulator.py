"""Simulates draft/verify protocols across a link, token by token, on tapes of what the cloud would have accepted.

A tape says for each position whether the edge, given the true text before it, drafts the cloud's token. Where
verification does not depend on the drafter ("sample and compare") that is a property of the position, not of the
protocol, so one tape drives them all. Nothing here uses a closed form; it is what the closed forms are held against.
Times are milliseconds. `python -m loadtests.link.simulator` prints a table.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

from tidegate.services.planning.speculation_cost import MESSAGE_BYTES, TOKEN_BYTES, Conditions

Tape = Sequence[bool]


@dataclass(frozen=True)
class SimulatedRun:
    """One answer, or the mean of many. `shown_ms` is when its first piece stands on the screen, `final_ms` when all of
    it is final; `cloud_steps` and `positions` count the cloud's passes after the prefill and what they computed."""

    shown_ms: float
    final_ms: float
    cloud_steps: float
    positions: float
    drafted: float = 0.0
    accepted: float = 0.0
    up_bytes: float = 0.0
    retracted_tokens: float = 0.0


def independent_tape(acceptance: float, length: int, rng: random.Random) -> Tape:
    """Every position for itself."""
    return [rng.random() < acceptance for _ in range(length)]


def bursty_tape(length: int, rng: random.Random, high: float = 0.98, low: float = 0.35) -> Tape:
    """Runs of about 24 that stand and gaps of about 8 that do not, as a look-up in passages makes them."""
    tape, is_high = [], True
    for _ in range(length):
        tape.append(rng.random() < (high if is_high else low))
        if rng.random() < (1 / 24 if is_high else 1 / 8):
            is_high = not is_high
    return tape


def first_miss(tape: Tape, begin: int) -> int:
    """The first position from `begin` on where the draft is wrong; the tape's length where there is none."""
    try:
        return tape.index(False, begin)
    except ValueError:
        return len(tape)


class Screen:
    """What the asker sees, and when: `arrive` as tokens become final there."""

    def __init__(self, first_tokens: int, tokens: int) -> None:
        self._needed = min(first_tokens, tokens)
        self.shown_ms = 0.0
        self.final_ms = 0.0

    def arrive(self, tokens: int, at_ms: float) -> None:
        """The first `tokens` tokens are there."""
        if not self.shown_ms and tokens >= self._needed:
            self.shown_ms = at_ms
        self.final_ms = at_ms


def cloud(tape: Tape, at: Conditions) -> SimulatedRun:
    """The cloud alone: one token a step."""
    return colocated(tape, at, 0)


def colocated(tape: Tape, at: Conditions, per_pass: int) -> SimulatedRun:
    """The cloud with a drafter of its own that costs nothing, `per_pass` tokens a pass."""
    return cloud_passes(tape, at, per_pass)


def stop_and_wait(tape: Tape, at: Conditions, per_round: int) -> SimulatedRun:
    """The loop over the link: draft, send, wait for the verdict, draft on."""
    screen = Screen(at.first_tokens, at.tokens)
    one_way_ms = at.rtt_ms / 2 + at.hop_ms
    ready_ms = one_way_ms + at.queue_ms + at.prefill_ms
    now_ms, done = at.edge_start_ms, 0
    steps = positions = drafted = accepted = 0
    up_bytes = 0.0
    while done < at.tokens:
        length = min(per_round, at.tokens - done)
        weight = MESSAGE_BYTES + TOKEN_BYTES * length
        sent_ms = now_ms + length * at.draft_token_ms + at.uplink_ms_per_byte * weight
        begun_ms = max(sent_ms + one_way_ms, ready_ms)
        now_ms = begun_ms + at.call_ms + at.pass_ms(length + 1) + one_way_ms
        agreed = min(length, first_miss(tape, done) - done)
        done, steps, positions = done + agreed + 1, steps + 1, positions + length + 1
        drafted, accepted, up_bytes = drafted + length, accepted + agreed, up_bytes + weight
        screen.arrive(min(done, at.tokens), now_ms)
    return SimulatedRun(screen.shown_ms, screen.final_ms, steps, positions, drafted, accepted, up_bytes)


def shipped_draft(tape: Tape, at: Conditions, per_pass: int) -> SimulatedRun:
    """The cloud, with a whole draft sent once behind the question: plain steps until it is there and for a while after
    each mismatch, else passes over `per_pass` drafted tokens. The cloud never waits."""
    weight = MESSAGE_BYTES + TOKEN_BYTES * at.tokens
    drafted_ms = at.edge_start_ms + at.tokens * at.draft_token_ms
    there_ms = drafted_ms + at.uplink_ms_per_byte * weight + at.rtt_ms / 2 + at.hop_ms
    run = cloud_passes(tape, at, per_pass, there_ms=there_ms, realign_steps=at.realign_steps)
    return replace(run, up_bytes=weight)


def cloud_passes(
    tape: Tape, at: Conditions, per_pass: int, *, there_ms: float = 0.0, realign_steps: int = 0
) -> SimulatedRun:
    """The cloud's passes over a draft that is there from `there_ms` on, with so many plain steps after a mismatch."""
    screen = Screen(at.first_tokens, at.tokens)
    one_way_ms = at.rtt_ms / 2 + at.hop_ms
    now_ms, done = one_way_ms + at.queue_ms + at.prefill_ms, 1
    steps = positions = drafted = accepted = plain = 0
    screen.arrive(done, now_ms + one_way_ms)
    while done < at.tokens:
        length = 0 if plain or now_ms < there_ms else per_pass
        plain = max(0, plain - 1)
        agreed = min(length, first_miss(tape, done) - done)
        now_ms += at.pass_ms(length + 1)
        done, steps, positions = done + agreed + 1, steps + 1, positions + length + 1
        drafted, accepted = drafted + length, accepted + agreed
        if agreed < length:
            plain = realign_steps
        screen.arrive(min(done, at.tokens), now_ms + one_way_ms)
    return SimulatedRun(screen.shown_ms, screen.final_ms, steps, positions, drafted, accepted)


def race(tape: Tape, at: Conditions, per_pass: int) -> SimulatedRun:
    """The edge shows its draft as it makes it; the cloud's text takes its place at the first mismatch."""
    final = shipped_draft(tape, at, per_pass) if per_pass else cloud(tape, at)
    needed = min(at.first_tokens, at.tokens)
    shown_ms = min(at.edge_start_ms + needed * at.draft_token_ms, final.shown_ms)
    miss = first_miss(tape[: at.tokens], 0)
    per_token_ms = (final.final_ms - first_ms(at)) / max(1, at.tokens - 1)
    known_ms = first_ms(at) + miss * per_token_ms
    shown = at.tokens
    if at.draft_token_ms:
        shown = min(at.tokens, int((known_ms - at.edge_start_ms) / at.draft_token_ms))
    taken_back = max(0, shown - miss) if miss < at.tokens else 0
    return replace(final, shown_ms=shown_ms, retracted_tokens=taken_back)


def first_ms(at: Conditions) -> float:
    """When the cloud's first token is back."""
    return at.rtt_ms + 2 * at.hop_ms + at.queue_ms + at.prefill_ms


def pipelined(tape: Tape, at: Conditions, per_message: int) -> SimulatedRun:
    """The edge drafts ahead, `per_message` tokens a message; a rejection sends it back to the text as it truly is."""
    return Pipeline(tape, at, per_message).simulated()


class Pipeline:
    """The pipelined loop while it runs. `begun_ms` and `base` are when and from which token on the edge drafts."""

    def __init__(self, tape: Tape, at: Conditions, per_message: int) -> None:
        self.tape, self.at, self.per_message = tape, at, per_message
        self.one_way_ms = at.rtt_ms / 2 + at.hop_ms
        self.screen = Screen(at.first_tokens, at.tokens)
        self.begun_ms, self.base = at.edge_start_ms, 0
        self.now_ms = self.one_way_ms + at.queue_ms + at.prefill_ms
        self.done = 0
        self.steps = self.positions = self.drafted = self.accepted = 0

    def simulated(self) -> SimulatedRun:
        """Simulate it to the end."""
        self._settle(0)  # the prefill itself yields the first token
        while self.done < self.at.tokens:
            self._verify()
        made = (self.now_ms + self.one_way_ms - self.begun_ms) / self.at.draft_token_ms
        self.drafted += min(self.at.tokens - self.base, int(made))
        weight = self.drafted * (TOKEN_BYTES + MESSAGE_BYTES / self.per_message)
        return SimulatedRun(
            self.screen.shown_ms,
            self.screen.final_ms,
            self.steps,
            self.positions,
            self.drafted,
            self.accepted,
            weight,
        )

    def _verify(self) -> None:
        """One pass over whatever whole messages are there; at least the one with the next token is waited for."""
        at, left = self.at, self.at.tokens - self.base
        wanted = min(left, ((self.done - self.base) // self.per_message + 1) * self.per_message)
        self.now_ms = max(self.now_ms, self.begun_ms + wanted * at.draft_token_ms + self.one_way_ms)
        made = min(left, int((self.now_ms - self.one_way_ms - self.begun_ms) / at.draft_token_ms + 1e-9))
        there = left if made == left else made // self.per_message * self.per_message
        length = max(wanted, there) - (self.done - self.base)
        self.now_ms += at.call_ms + at.pass_ms(length + 1)
        self.steps, self.positions = self.steps + 1, self.positions + length + 1
        agreed = min(length, first_miss(self.tape, self.done) - self.done)
        self.accepted += agreed
        self.done += agreed
        if self.done < at.tokens:
            self._settle(self.done)

    def _settle(self, position: int) -> None:
        """The cloud says its own token at `position`; where the draft was another, the edge begins again behind it."""
        known_ms = self.now_ms + self.one_way_ms
        self.done = position + 1
        self.screen.arrive(self.done, known_ms)
        if not self.tape[position]:
            made = max(0.0, known_ms - self.begun_ms) / self.at.draft_token_ms
            self.drafted += min(self.at.tokens - self.base, int(made))
            self.begun_ms, self.base = known_ms, self.done


Protocol = Callable[[Tape, Conditions, int], SimulatedRun]


def mean(protocol: Protocol, tapes: Sequence[Tape], at: Conditions, per_pass: int) -> SimulatedRun:
    """The mean of the protocol over all tapes."""
    runs = [protocol(tape, at, per_pass) for tape in tapes]
    return SimulatedRun(*(statistics.fmean(getattr(run, field.name) for run in runs) for field in fields(SimulatedRun)))


def tapes_of(acceptance: float, tokens: int, count: int, seed: int = 7) -> list[Tape]:
    """Independent tapes, the same ones for the same arguments; with tokens to spare for a last pass."""
    rng = random.Random(f"{acceptance}/{seed}")
    return [independent_tape(acceptance, tokens + 70, rng) for _ in range(count)]


def main() -> None:
    """Print what each protocol does at acceptance 0.8, a step of 20 ms and 5 ms per drafted token."""
    tapes = tapes_of(0.8, 128, 300)
    print(f"{'RTT':>4}  {'protocol':14} {'shown':>6} {'final':>6} {'steps':>6} {'positions':>9} {'taken back':>10}")
    for rtt_ms in (10, 50, 100, 200):
        at = Conditions(acceptance=0.8, rtt_ms=rtt_ms, step_ms=20, draft_token_ms=5)
        for name, protocol, length in (
            ("cloud", colocated, 0),
            ("co-located", colocated, 11),
            ("stop-and-wait", stop_and_wait, 7),
            ("pipelined", pipelined, 2),
            ("shipped draft", shipped_draft, 8),
            ("race", race, 8),
        ):
            found = mean(protocol, tapes, at, length)
            print(
                f"{rtt_ms:4}  {name:14} {found.shown_ms:6.0f} {found.final_ms:6.0f} {found.cloud_steps:6.1f} "
                f"{found.positions:9.1f} {found.retracted_tokens:10.1f}"
            )


if __name__ == "__main__":
    main()
