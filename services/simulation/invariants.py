"""What a run must have kept to, whatever went wrong in it: numbered, each a promise of the product as a rule. Pure.

Next: journal.py, what they are judged by; docs/simulation.md, which lists them."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import msgspec

from tidegate.schemas import Partial, Published, decode
from tidegate.schemas.subjects import ANSWERS, CLAIMS, DEAD, TOKENS, key_of, rid_of, stream_of
from tidegate.services.pipeline import FAST_LANE, WORKERS
from tidegate.services.simulation.journal import Journal, StoredEvent
from tidegate.services.simulation.schedule import Schedule
from tidegate.services.simulation.virtual_time import EPOCH_S

JUDGED = ("approved", "withheld", "replied")
"""The facts of which an answer may be made, and what was shown of it."""
SLACK_S = 0.05
"""By how much an answer may be late where nothing goes wrong: storing it takes its time, too."""


class Violation(msgspec.Struct, frozen=True):
    """A promise that was not kept: its number and name, and what was seen."""

    number: int
    name: str
    seen: str


@dataclass(frozen=True)
class RunFacts:
    """What is known of a run once it has ended. `personal` are the values that no one may read; `is_idle`: every
    message had come to its end."""

    journal: Journal
    schedule: Schedule
    personal: tuple[str, ...]
    is_idle: bool

    @cached_property
    def answers(self) -> dict[str, Published]:
        """By request, the first answer that was stored."""
        found: dict[str, Published] = {}
        for event in self.stored_in(ANSWERS):
            found.setdefault(rid_of(event.subject), decode(event.data, Published))
        return found

    def stored_in(self, stream: str) -> list[StoredEvent]:
        return [event for event in self.journal.stored if stream_of(event.subject) == stream]


def find_violations(facts: RunFacts) -> Iterator[Violation]:
    """Every promise that the run has not kept, in the order of their numbers."""
    for number, (name, check) in enumerate(INVARIANTS.items(), 1):
        for seen in check(facts):
            yield Violation(number, name, seen)


def ends(facts: RunFacts) -> Iterator[str]:
    """What was accepted is answered, or dead-lettered with a reason by a stage that nobody stands in for."""
    if not facts.is_idle:
        yield "messages were still under way long after the last fault"
    dead = {rid_of(event.subject) for event in facts.stored_in(DEAD) if event.headers["Dead-Stage"] != FAST_LANE.name}
    for rid in facts.journal.accepted:
        if rid not in facts.answers and rid not in dead:
            yield f"{rid} has no answer and no dead letter"


def is_answered_once(facts: RunFacts) -> Iterator[str]:
    """A request has one visible answer, for ever."""
    counts: dict[str, set[bytes]] = defaultdict(set)
    stored: dict[str, int] = defaultdict(int)
    for event in facts.stored_in(ANSWERS):
        stored[event.subject] += 1
    for shown in facts.journal.shown:
        if shown.subject.startswith("live.answers."):
            counts[shown.subject].add(shown.data)
    yield from (f"{count} answers are stored under {subject}" for subject, count in stored.items() if count > 1)
    yield from (f"{len(seen)} answers were seen under {subject}" for subject, seen in counts.items() if len(seen) > 1)


def keeps_personal_data(facts: RunFacts) -> Iterator[str]:
    """No personal value in clear: in no stream of either side, in no core message, not on the link."""
    values = [value.encode() for value in facts.personal]
    stored = ((event.domain, event.subject, event.data) for event in facts.journal.stored)
    shown = ((event.domain, event.subject, event.data) for event in facts.journal.shown)
    for domain, subject, data in itertools.chain(stored, shown):
        if any(value in data for value in values):
            yield f"a personal value is in {domain}: {subject}"


def is_stored_once(facts: RunFacts) -> Iterator[str]:
    """What follows from a message has the same id at every try, and is stored once."""
    ids: dict[tuple[str, str, str], set[str]] = defaultdict(set)
    for made in facts.journal.published:
        if made.cause:
            ids[made.domain, made.cause, made.subject].add(made.id)
    counts: dict[tuple[str, str, str], int] = defaultdict(int)
    for event in facts.journal.stored:
        if stream_of(event.subject) not in (CLAIMS, DEAD, TOKENS):  # appended to, each after the one before
            counts[event.domain, event.headers.get("Tidegate-Cause", ""), event.subject] += 1
    yield from (
        f"{len(found)} ids for what follows from {key[1]} at {key[2]}" for key, found in ids.items() if len(found) > 1
    )
    yield from (f"{count} copies in {key[0]} of {key[2]}" for key, count in counts.items() if count > 1)


def is_acknowledged_last(facts: RunFacts) -> Iterator[str]:
    """A delivery is acknowledged only once what follows from it is known to be stored."""
    first: dict[tuple[str, str], int] = {}
    for made in facts.journal.published:
        first.setdefault((made.domain, made.cause), made.order)
    for settled in facts.journal.settled:
        known = first.get((settled.domain, settled.position))
        if settled.how == "ack" and (known is None or known > settled.order):
            yield f"{settled.stage} acknowledged {settled.position} before anything that follows from it was stored"


def is_settled_once(facts: RunFacts) -> Iterator[str]:
    """A delivery has one outcome."""
    outcomes: dict[int, list[str]] = defaultdict(list)
    for settled in facts.journal.settled:
        outcomes[settled.number].append(f"{settled.stage} {settled.how} {settled.position}")
    yield from (", ".join(found) for found in outcomes.values() if len(found) > 1)


def is_judged_first(facts: RunFacts) -> Iterator[str]:
    """Nothing is shown or published before the policy has judged it, and the receipt names the policies."""
    judged: dict[str, int] = {}
    for event in facts.journal.stored:
        if event.subject.startswith("pipe.") and event.subject.split(".")[2] in JUDGED:
            judged.setdefault(rid_of(event.subject), event.order)
    passed = dict(judged)
    for shown in facts.journal.shown:
        if shown.subject.startswith("partial.approved."):
            rid = rid_of(shown.subject)
            passed[rid] = min(shown.order, passed.get(rid, shown.order))
            if not any(part.kind == "policy" for part in decode(shown.data, Partial).lineage):
                yield f"{shown.subject} was passed on without a policy"
    for event in (*facts.stored_in(ANSWERS), *facts.stored_in(TOKENS)):
        known = (judged if event.subject.startswith("answers.") else passed).get(rid_of(event.subject))
        if known is None or known > event.order:
            yield f"{event.subject} was stored before its answer was judged"
    for rid, answer in facts.answers.items():
        is_own_words = answer.receipt.plan is None
        if answer.outcome == "answered" and not is_own_words and not has_policy(answer):
            yield f"the receipt of {rid} names no policy"


def has_policy(answer: Published) -> bool:
    """Whether policies had a part in it. Not by its timings: an answer that was shown to its end before its publisher
    was killed is published with what came next, whose way may have led past the policy."""
    return any(part.kind == "policy" for part in answer.receipt.lineage)


def says_why(facts: RunFacts) -> Iterator[str]:
    """An answer cites what it rests on, whoever gets none is told why, a dead letter says who gave up what and why."""
    for rid, answer in facts.answers.items():
        if answer.outcome != "answered" and not (answer.reason and answer.text):
            yield f"{rid} was {answer.outcome} without a reason"
        if answer.reason == "deadline" and not any(made.reason for made in answer.receipt.degradations):
            yield f"{rid} came too late, and no stage says what cost the time"
        if answer.outcome == "answered" and answer.receipt.plan is not None and not answer.citations:
            yield f"the answer to {rid} cites nothing"
    for event in facts.stored_in(DEAD):
        if not all(event.headers.get(name) for name in ("Dead-Stage", "Dead-Site", "Dead-Reason", "Dead-Subject")):
            yield f"{event.subject} does not say what happened"


def gives_up_late(facts: RunFacts) -> Iterator[str]:
    """A stage buries a message only after all its tries: no fault that passes ends what was accepted."""
    for event in facts.stored_in(DEAD):
        stage = WORKERS[event.headers["Dead-Stage"]]
        if int(event.headers["Dead-Attempt"]) < stage.retry.attempts:
            yield f"{event.subject} at attempt {event.headers['Dead-Attempt']}: {event.headers['Dead-Reason']}"


def is_in_time(facts: RunFacts) -> Iterator[str]:
    """Where nothing goes wrong, every answer is there by its deadline, and no dead letter anywhere."""
    if not facts.schedule.is_calm:
        return
    for event in facts.stored_in(ANSWERS):
        late_s = EPOCH_S + event.at_s - facts.answers[rid_of(event.subject)].deadline_at_ms / 1000
        if late_s > SLACK_S:
            yield f"{rid_of(event.subject)} was answered {late_s:.3f} s too late"
    yield from (f"{event.subject}: {event.headers['Dead-Reason']}" for event in facts.stored_in(DEAD))


def is_of_its_subject(facts: RunFacts) -> Iterator[str]:
    """What is stored under a request's subject at the hub or in the answers is of that request and tenant."""
    for rid, answer in facts.answers.items():
        if answer.rid != rid:
            yield f"the answer of {answer.rid} is stored as that of {rid}"
    verdicts: dict[str, int] = defaultdict(int)
    for event in facts.journal.stored:
        if event.domain == "hub" and event.subject.startswith("verdicts."):
            verdicts[key_of(event.subject)] += 1
    yield from (f"the hub has stored {count} verdicts for {key}" for key, count in verdicts.items() if count > 1)


def is_handled(facts: RunFacts) -> Iterator[str]:
    """No error is passed over: none ends a process, or comes to nobody."""
    yield from facts.journal.reported


INVARIANTS: dict[str, Callable[[RunFacts], Iterator[str]]] = {
    "what is accepted comes to an end": ends,
    "one visible answer": is_answered_once,
    "no personal data in clear": keeps_personal_data,
    "same ids at every try": is_stored_once,
    "stored before acknowledged": is_acknowledged_last,
    "one outcome for each delivery": is_settled_once,
    "judged before shown": is_judged_first,
    "the evidence or the reason is stated": says_why,
    "given up only after all tries": gives_up_late,
    "in time where nothing goes wrong": is_in_time,
    "under its own subject": is_of_its_subject,
    "no error passed over": is_handled,
}
"""By their numbers, from 1 on."""
