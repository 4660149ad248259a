"""The arithmetic of drafting at one end of a link and verifying at the other, in closed form.

Times are milliseconds, rates tokens per millisecond. Sources: Leviathan et al., "Fast Inference from Transformers via
Speculative Decoding" (ICML 2023), for the expected tokens of a pass; "Speculation at a Distance" (arXiv 2606.25091) for
the link's part in it; Corless et al., "On the Lambert W Function" (1996), for the branch W₋₁. Acceptance is taken as
independent from token to token.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

MESSAGE_BYTES = 110
"""What a message weighs beside its tokens: the protocol's line, subject, headers, its share of TCP, IP and TLS."""
TOKEN_BYTES = 4
LONGEST = 64
"""No pass verifies more drafted tokens than this."""


@dataclass(frozen=True)
class Conditions:
    """Under what an answer of `tokens` tokens is made. The cloud is asked at time 0, the edge begins to draft then.

    `first_tokens` are what must be there before anything is shown: answers are judged by whole sentences.
    """

    acceptance: float
    """Probability that the edge drafts the cloud's token, given the same text before it; 0 < acceptance < 1."""
    rtt_ms: float
    step_ms: float
    """One forward pass of the cloud over one position."""
    draft_token_ms: float
    tokens: int = 128
    first_tokens: int = 1
    prefill_ms: float = 40.0
    queue_ms: float = 0.0
    edge_start_ms: float = 20.0
    hop_ms: float = 1.0
    """A broker's hop, one way."""
    call_ms: float = 3.0
    """What a verification costs the cloud beside its pass."""
    position_share: float = 0.01
    """What each further position adds to a pass, as a share of it, while the pass waits for memory."""
    realign_steps: int = 2
    """Plain steps after a mismatch, before the shipped draft is found again."""
    uplink_ms_per_byte: float = 0.0

    @property
    def there_and_back_ms(self) -> float:
        """The round trip, with a broker's hop each way."""
        return self.rtt_ms + 2 * self.hop_ms

    def pass_ms(self, positions: float) -> float:
        """One forward pass over so many positions, below the knee of the roofline."""
        return self.step_ms * (1 + self.position_share * max(0.0, positions - 1))

    def upload_ms(self, tokens: int) -> float:
        """What a message with so many drafted tokens costs on the way up."""
        return self.uplink_ms_per_byte * (MESSAGE_BYTES + TOKEN_BYTES * tokens)


@dataclass(frozen=True)
class Forecast:
    """What a protocol is expected to cost: until the first piece is shown, until the last token is final."""

    shown_ms: float
    final_ms: float
    cloud_steps: float
    """Forward passes of the cloud after the prefill."""
    up_bytes: float = 0.0
    """What the drafts weigh on the way up; the question goes up in any case."""


def expected_tokens(acceptance: float, drafted: int) -> float:
    """Tokens that a pass over `drafted` drafted ones yields, the cloud's own included: (1 - aᵍ⁺¹) / (1 - a)."""
    return (1 - acceptance ** (drafted + 1)) / (1 - acceptance)


def knee_cap(knee_positions: int, batch: int) -> int:
    """Drafted tokens per pass at which `batch` sequences still fit under the knee; 0 where drafting is not free.

    Above `knee_positions` per pass (operations per byte of the accelerator: about 295 for an H100 in bf16) a forward
    pass waits for arithmetic, and each drafted position costs as much as a token.
    """
    return min(LONGEST, max(0, knee_positions // max(1, batch) - 1))


def lambert_w_minus_1(x: float) -> float:
    """The real branch of Lambert's W with W ≤ -1, for -1/e ≤ x < 0, by Halley's method. Raises `ValueError` outside."""
    if not -1 / math.e <= x < 0:
        raise ValueError(f"W₋₁ is real for -1/e ≤ x < 0 only, not for {x!r}")
    low = math.log(-x)
    root = math.sqrt(max(0.0, 2 * (1 + math.e * x)))
    w = -1 - root - root * root / 3 if x < -0.25 else low - math.log(-low)
    for _ in range(32):
        power = math.exp(w)
        error = w * power - x
        if w >= -1 or abs(error) < 1e-15 * power:
            break
        step = error / (power * (w + 1) - (w + 2) * error / (2 * w + 2))
        w -= step
        if abs(step) < 1e-13 * abs(w):
            break
    return min(-1.0, w)


def best_draft_length(acceptance: float, round_ms: float, token_ms: float) -> float:
    """The real g ≥ 1 that yields most tokens per time where a round costs `round_ms` + g · `token_ms`.

    With l = -ln a and u = 1 + l (round/token - 1): g = (-W₋₁(-e⁻ᵘ) - 1) / l - round/token. Grows with ln(round/token).
    """
    slope = -math.log(acceptance)
    ratio = round_ms / token_ms
    u = 1 + slope * (ratio - 1)
    if u <= 1:
        return 1.0
    y = -lambert_w_minus_1(-math.exp(-u)) if u < 600 else u + math.log(u)
    return max(1.0, (y - 1) / slope - ratio)


@lru_cache(maxsize=4096)
def draft_length(acceptance: float, round_ms: float, token_ms: float, longest: int = LONGEST) -> int:
    """The whole number of tokens, at most `longest`, that serves best: one of the two beside `best_draft_length`."""
    if longest < 1:
        return 0
    below = math.floor(min(float(longest), best_draft_length(acceptance, round_ms, token_ms)))
    return max(
        (below, min(longest, below + 1)), key=lambda g: expected_tokens(acceptance, g) / (round_ms + g * token_ms)
    )


def cheapest_draft_length(at: Conditions, longest: int = LONGEST) -> int:
    """The draft length at which the cloud's time per token is least; independent of the link and of the edge.

    A pass over g drafted tokens and its own costs step · (1 + share · g), so the fixed part is a step.
    """
    return draft_length(at.acceptance, at.step_ms, at.step_ms * at.position_share, longest)


def economical_draft_length(at: Conditions, economy: float, longest: int = LONGEST) -> int:
    """The draft length of a loop in which a millisecond of the cloud costs `economy` milliseconds of waiting as well.

    As if there were no link: what serves near the cloud serves far from it almost as well, and a length that grew with
    the round trip would let a longer one make a loop look better.
    """
    priced_ms = (1 + economy) * at.step_ms
    fixed_ms, token_ms = priced_ms + at.call_ms + 2 * at.hop_ms, at.draft_token_ms + priced_ms * at.position_share
    return draft_length(at.acceptance, fixed_ms, token_ms, longest)


def round_ms(at: Conditions, drafted: int) -> float:
    """One round of a stop-and-wait loop: draft, send, verify, receive the verdict."""
    at_cloud_ms = at.call_ms + at.pass_ms(drafted + 1)
    return drafted * at.draft_token_ms + at.there_and_back_ms + at_cloud_ms + at.upload_ms(drafted)


def break_even_rtt_ms(at: Conditions) -> float:
    """The round trip below which a draft loop over the link yields tokens faster than the plain stream; 0: none does.

    The better of the pipelined loop, which drafts ahead and starts again at a rejection, and of stop-and-wait.
    """
    return max(0.0, pipelined_break_even_ms(at), stop_and_wait_break_even_ms(at))


def pipelined_break_even_ms(at: Conditions) -> float:
    """(a·Tc - Td)/(1-a) - Tc/2 - 2h - o, negative where no link is short enough.

    A run of 1/(1-a) tokens costs a pipelined loop their drafting, one round trip, a pass, and half a pass of waiting.
    """
    gained = (at.acceptance * at.step_ms - at.draft_token_ms) / (1 - at.acceptance)
    return gained - at.step_ms / 2 - 2 * at.hop_ms - at.call_ms


def stop_and_wait_break_even_ms(at: Conditions) -> float:
    """The greatest of E(g)·Tc - g·Td - Tv(g+1) over g, less 2h and o; negative where no link is short enough."""
    return max(
        expected_tokens(at.acceptance, g) * at.step_ms - g * at.draft_token_ms - at.pass_ms(g + 1)
        for g in range(1, LONGEST + 1)
    ) - (2 * at.hop_ms + at.call_ms)


def provisional_ms(at: Conditions) -> float:
    """When the edge can show the first piece of its draft; no link is in it."""
    return at.edge_start_ms + min(at.first_tokens, at.tokens) * at.draft_token_ms


def first_token_ms(at: Conditions) -> float:
    """When the cloud's first token is back: no protocol can be sooner."""
    return at.there_and_back_ms + at.queue_ms + at.prefill_ms


def cloud_stream(at: Conditions) -> Forecast:
    """The cloud alone, one token a step: the round trip is paid once."""
    first_ms = first_token_ms(at)
    shown_ms = first_ms + (min(at.first_tokens, at.tokens) - 1) * at.step_ms
    return Forecast(shown_ms, first_ms + (at.tokens - 1) * at.step_ms, at.tokens - 1)


def shipped_draft(at: Conditions, drafted: int) -> Forecast:
    """The cloud, with the edge's whole draft sent once behind the question and verified `drafted` tokens a pass.

    Until the draft is there the cloud steps plainly; after a mismatch it takes `realign_steps` plain steps. The waiting
    queue is not counted as time for the draft to arrive, so that a longer queue never makes a draft look better.
    """
    ready_ms = at.edge_start_ms + at.tokens * at.draft_token_ms + at.upload_ms(at.tokens)
    plain = min(at.tokens - 1.0, max(0.0, (ready_ms - at.prefill_ms) / at.step_ms))
    per_token_ms, per_token_steps = _realigned(at, drafted)
    first_ms = first_token_ms(at)

    def token_ms(number: float) -> float:
        return first_ms + min(number, plain) * at.step_ms + max(0.0, number - plain) * per_token_ms

    shown_ms = token_ms(min(at.first_tokens, at.tokens) - 1)
    steps = plain + (at.tokens - 1 - plain) * per_token_steps
    return Forecast(shown_ms, token_ms(at.tokens - 1), steps, MESSAGE_BYTES + TOKEN_BYTES * at.tokens)


def _realigned(at: Conditions, drafted: int) -> tuple[float, float]:
    """Milliseconds and passes per token once a draft is there: a pass, and plain steps where it ends in a mismatch."""
    plain = (1 - at.acceptance**drafted) * at.realign_steps
    tokens = expected_tokens(at.acceptance, drafted) + plain
    return (at.pass_ms(drafted + 1) + plain * at.step_ms) / tokens, (1 + plain) / tokens


def race(at: Conditions, drafted: int) -> Forecast:
    """As a shipped draft (or, with `drafted` 0, as the plain stream), but the edge's draft is shown at once."""
    final = shipped_draft(at, drafted) if drafted else cloud_stream(at)
    return Forecast(min(final.shown_ms, provisional_ms(at)), final.final_ms, final.cloud_steps, final.up_bytes)


def stop_and_wait(at: Conditions, drafted: int) -> Forecast:
    """The loop over the link: every round waits for the verdict on the one before, so each pays the round trip.

    Rounds are N/E(g), and half a one for the last, which is seldom full.
    """
    yielded = expected_tokens(at.acceptance, drafted)
    rounds = max(1.0, at.tokens / yielded + 0.5)
    shown = max(1.0, min(at.first_tokens, at.tokens) / yielded)
    begin_ms = max(at.edge_start_ms, at.prefill_ms - drafted * at.draft_token_ms) + at.queue_ms
    each_ms = round_ms(at, drafted)
    return Forecast(
        begin_ms + shown * each_ms,
        begin_ms + rounds * each_ms,
        rounds,
        rounds * (MESSAGE_BYTES + TOKEN_BYTES * drafted),
    )


def acceptance_of(drafted: int, accepted: int, per_pass: int) -> float:
    """The acceptance under which passes over `per_pass` drafted tokens let `accepted` of `drafted` stand.

    The share that stands is less than the acceptance, for what follows a rejected token is thrown away: the sum of aⁱ
    for i = 1…g is the number that stands per pass. Solved by bisection. Raises `ValueError` where nothing was drafted.
    """
    if drafted <= 0 or not 0 <= accepted <= drafted:
        raise ValueError(f"{accepted} of {drafted} drafted tokens tell nothing")
    wanted = accepted * min(per_pass, drafted) / drafted
    low, high = 0.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        stands = sum(middle**i for i in range(1, min(per_pass, drafted) + 1))
        low, high = (middle, high) if stands < wanted else (low, middle)
    return (low + high) / 2
