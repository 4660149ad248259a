"""Who generates, and when: the mode of a plan for a question that may go to the cloud, from closed-form forecasts.

Pure; the arithmetic is in `speculation_cost`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from tidegate.schemas import Mode, Where
from tidegate.services.planning import speculation_cost as speculation
from tidegate.services.planning.answer_class import AnswerClass
from tidegate.services.planning.config import PlannerConfig, Signals
from tidegate.services.planning.draft_ledger import LEAST_SEEN, DraftRecord, drafts_pay, record_of
from tidegate.services.planning.learned_times import corrected_ms
from tidegate.services.planning.speculation_cost import Conditions, Forecast

DRAFTING: frozenset[Mode | None] = frozenset({"cloud_with_shipped_draft", "race", "remote_speculation"})
"""The modes in which the site drafts; one that is configured is not asked whether it pays."""


@dataclass(frozen=True)
class ModeRequest:
    """The question that a mode is chosen for: its class (see `class_of`), drafters, and the time left.

    `answers` is the class of the cloud's answer, `factor` what its closed forms are to be multiplied by; `explores`:
    whether a draft is shipped is decided against the ledger, so that both sides of it stay known.
    """

    class_: str
    drafters: tuple[str, ...]
    remaining_ms: int
    can_retract: bool
    where: Where
    answers: AnswerClass
    factor: float = 1.0
    explores: bool = False


@dataclass(frozen=True)
class ModeChoice:
    """The mode that was chosen, and why: each field is the plan's of the same name."""

    mode: Mode
    reason: str
    drafters: tuple[str, ...]
    draft_length: int
    show_from: float
    break_even_rtt_ms: float
    forecast_ms: dict[str, float]


def drafters_of(signals: Signals, config: PlannerConfig) -> tuple[str, ...]:
    """The drafters that are faster than a step of the cloud, in the table's order: a slower one never gets ahead."""
    step_ms = signals.cloud.step_ms or config.step_ms
    return tuple(name for name, token_ms in config.drafters.items() if token_ms < step_ms)


def conditions_of(
    acceptance: float, drafters: tuple[str, ...], signals: Signals, config: PlannerConfig, tokens: int = 0
) -> Conditions:
    """What the forecasts rest on: a chain of drafters is as slow as its slowest, and each request that the cloud has
    before this one is prefilled first. `tokens` of an answer take a pass where nobody drafts; 0: as configured."""
    return Conditions(
        acceptance=min(0.99, max(0.01, acceptance)),
        rtt_ms=signals.rtt_ms,
        step_ms=signals.cloud.step_ms or config.step_ms,
        draft_token_ms=max((config.drafters[name] for name in drafters), default=0.0),
        tokens=tokens or config.answer_tokens,
        first_tokens=config.sentence_tokens,
        prefill_ms=config.prefill_ms,
        queue_ms=signals.cloud.queue * config.prefill_ms,
        edge_start_ms=config.edge_start_ms,
        uplink_ms_per_byte=config.uplink_ms_per_byte,
    )


def choose_mode(request: ModeRequest, signals: Signals, config: PlannerConfig) -> ModeChoice:
    """The mode with the least score among those that are open; of equal ones the simplest.

    Open is: the stream always; a shipped draft where the cloud takes drafts and it saves `worth_ms`; the race, which
    ends with either of them, where the client can take text back and the class was not seen to draft badly; the
    remote speculation where the configuration asks for economy, the cloud verifies round by round, a shipped draft is
    open, and the time suffices for the link at its slowest. So no mode but that is expected to end later than the
    stream. A configuration that names a mode opens that one alone, where it can be had at all.
    """
    known = signals.acceptance.get(request.class_)
    acceptance = config.acceptance_prior if known is None else known
    record = record_of(request.answers, signals.records)
    tokens = chosen_tokens(record, request, signals, config)
    conditions = conditions_of(acceptance, request.drafters, signals, config, tokens)
    length = drafted_per_pass(conditions, request, signals, config)
    forecasts = forecast_modes(conditions, request, length, signals, config)
    may_ship = is_shipping_open(forecasts, config) and is_worth_shipping(record, request, signals, conditions, config)
    ships = length if may_ship or config.mode in DRAFTING else 0
    may_race = request.can_retract and (known is None or known >= config.race_from)
    if "race" in forecasts and may_race:
        forecasts["race"] = speculation.race(conditions, ships)
    open_ = open_modes(forecasts, request, signals, ships=ships > 0, may_race=may_race)
    if config.mode in forecasts:
        open_ = [config.mode]
    mode = min(open_, key=lambda name: score(forecasts[name], conditions, config))
    drafters = request.drafters
    expected = as_learned(forecasts, request, signals, config)
    reason = explain(mode, expected, conditions, ships, request, signals)
    if length and not ships and (is_shipping_open(forecasts, config) or not may_save(request, signals)):
        reason = f"{reason}; {explain_ledger(record, request, signals)}"
    return ModeChoice(
        mode=mode,
        reason=reason,
        drafters=drafters if request.where == "edge" and mode != "cloud_stream" else (),
        draft_length=ships if mode != "cloud_stream" else 0,
        show_from=show_from(forecasts, config) if mode == "race" else 1.0,
        break_even_rtt_ms=round(speculation.break_even_rtt_ms(conditions), 1) if drafters else 0.0,
        forecast_ms={name: forecast.final_ms for name, forecast in expected.items()},
    )


def open_modes(
    forecasts: Mapping[Mode, Forecast], request: ModeRequest, signals: Signals, *, ships: bool, may_race: bool
) -> list[Mode]:
    """The modes that may be chosen, the simplest first; see `choose_mode`."""
    modes: list[Mode] = ["cloud_stream"]
    if ships:
        modes.append("cloud_with_shipped_draft")
    if "race" in forecasts and may_race:
        modes.append("race")
    remote = forecasts.get("remote_speculation")
    if ships and remote is not None and slowest_ms(remote, signals) <= request.remaining_ms:
        modes.append("remote_speculation")
    return modes


def drafted_per_pass(conditions: Conditions, request: ModeRequest, signals: Signals, config: PlannerConfig) -> int:
    """How many drafted tokens the cloud verifies per pass: as many as make its tokens cheapest (or a loop's, where the
    configuration asks for economy), while all that the cloud works on stays below the knee; 0 where nobody drafts or
    the cloud does not report that it verifies drafts.

    The same length serves every mode. It depends on neither the link nor the time that is left.
    """
    if not request.drafters or request.where == "cloud" or not signals.cloud.verifies_drafts:
        return 0
    longest = speculation.knee_cap(config.knee_positions, signals.cloud.queue + 1)
    if config.economy > 0:
        return speculation.economical_draft_length(conditions, config.economy, longest)
    return speculation.cheapest_draft_length(conditions, longest)


def forecast_modes(
    conditions: Conditions, request: ModeRequest, length: int, signals: Signals, config: PlannerConfig
) -> dict[Mode, Forecast]:
    """The forecast of every mode that is possible. An overloaded edge drafts nothing."""
    forecasts: dict[Mode, Forecast] = {"cloud_stream": speculation.cloud_stream(conditions)}
    if request.where == "cloud":
        return forecasts
    if request.drafters:
        forecasts["race"] = speculation.race(conditions, length)
    if length:
        forecasts["cloud_with_shipped_draft"] = speculation.shipped_draft(conditions, length)
        is_economical = config.economy > 0 or config.mode == "remote_speculation"
        if signals.cloud.keeps_sessions and is_economical:
            forecasts["remote_speculation"] = speculation.stop_and_wait(conditions, length)
    return forecasts


def is_shipping_open(forecasts: Mapping[Mode, Forecast], config: PlannerConfig) -> bool:
    """Whether a shipped draft saves enough to be made."""
    shipped = forecasts.get("cloud_with_shipped_draft")
    return shipped is not None and shipped.final_ms + config.worth_ms <= forecasts["cloud_stream"].final_ms


def chosen_tokens(record: DraftRecord, request: ModeRequest, signals: Signals, config: PlannerConfig) -> int:
    """Tokens of an answer that take a pass where nobody drafts: as seen of the class; until then as configured, or one
    where the cloud says that it takes none for such an answer."""
    if record.seen >= LEAST_SEEN:
        return max(1, round(record.chosen))
    return config.answer_tokens if may_save(request, signals) else 1


def may_save(request: ModeRequest, signals: Signals) -> bool:
    """Whether the cloud takes steps for such an answer at all: else no model is called that a draft could help. One
    that takes steps to quote takes them whatever a plan allows."""
    writes = signals.cloud.writes
    return writes is None or "quote" in writes or request.answers.writing in writes


def is_worth_shipping(
    record: DraftRecord, request: ModeRequest, signals: Signals, conditions: Conditions, config: PlannerConfig
) -> bool:
    """Whether a draft is shipped by what is known of the class: not where no model is called; where the ledger says
    that it does not pay, only to look again; where it pays or nothing is known, always but for looking."""
    if not may_save(request, signals):
        return False
    verdict = drafts_pay(record, conditions.step_ms, config.uplink_ms_per_byte, config.worth_ms)
    return (verdict is not False) is not request.explores


def as_learned(
    forecasts: Mapping[Mode, Forecast], request: ModeRequest, signals: Signals, config: PlannerConfig
) -> dict[Mode, Forecast]:
    """The forecasts with the site's own part in them, corrected by what answers of the class took.

    What is corrected is the stream's closed form as configured, to which the other modes keep their proportion: what is
    learned of steps, lengths and acceptance changes which mode is best, and must not count twice in how long it takes.
    """
    tokens = config.answer_tokens if may_save(request, signals) else 1
    usual = replace(conditions_of(config.acceptance_prior, (), signals, config, tokens), step_ms=config.step_ms)
    stream_ms = forecasts["cloud_stream"].final_ms + config.edge_answer_ms - signals.rtt_ms
    scale = (speculation.cloud_stream(usual).final_ms + config.edge_answer_ms - signals.rtt_ms) / stream_ms

    def final_ms(forecast: Forecast) -> float:
        rest_ms = (forecast.final_ms + config.edge_answer_ms - signals.rtt_ms) * scale
        return corrected_ms(signals.rtt_ms + rest_ms, signals.rtt_ms, request.factor)

    return {mode: replace(forecast, final_ms=final_ms(forecast)) for mode, forecast in forecasts.items()}


def slowest_ms(loop: Forecast, signals: Signals) -> float:
    """When a loop is through if each round trip takes as long as one seldom does: SRTT + 4 · RTTVAR."""
    return loop.final_ms + loop.cloud_steps * (signals.careful_rtt_ms - signals.rtt_ms)


def score(forecast: Forecast, conditions: Conditions, config: PlannerConfig) -> float:
    """What a mode costs, in milliseconds: waiting for the first piece and for the last, and computing at its price."""
    return forecast.shown_ms + forecast.final_ms + config.economy * forecast.cloud_steps * conditions.step_ms


def show_from(forecasts: Mapping[Mode, Forecast], config: PlannerConfig) -> float:
    """The confidence c from which a draft is worth showing: c · gain ≥ (1 - c) · cost of taking it back.

    The farther the cloud, the more is gained by showing, and the less sure the edge needs to be.
    """
    gain_ms = forecasts["cloud_stream"].shown_ms - forecasts["race"].shown_ms
    return round(config.retraction_ms / (config.retraction_ms + max(0.0, gain_ms)), 3) if config.retraction_ms else 0.0


def explain_ledger(record: DraftRecord, request: ModeRequest, signals: Signals) -> str:
    """Why no draft is shipped that the closed forms would have shipped."""
    if not may_save(request, signals):
        return f"the cloud takes no step for an answer that is to be {request.answers.writing}"
    if request.explores:
        return "no draft, to see what drafts save"
    return f"a draft saves {record.saved:.1f} of {record.chosen:.0f} steps, by the ledger"


def explain(
    mode: Mode,
    forecasts: Mapping[Mode, Forecast],
    conditions: Conditions,
    ships: int,
    request: ModeRequest,
    signals: Signals,
) -> str:
    """The choice in words."""
    stream = forecasts["cloud_stream"]
    final_ms = f"{forecasts[mode].final_ms:.0f} ms against the stream's {stream.final_ms:.0f}"
    if mode == "remote_speculation":
        saved = stream.cloud_steps - forecasts[mode].cloud_steps
        loop = f"draft and verify over the link, {ships} tokens a round"
        return f"{loop}, saving {saved:.0f} steps of the cloud: {final_ms}"
    shipping = f"drafts shipped once, {ships} tokens a pass at acceptance {conditions.acceptance:.2f}: {final_ms}"
    if mode == "cloud_with_shipped_draft":
        return shipping if request.can_retract else f"{shipping}; the client cannot take text back"
    if mode == "race":
        shown = f"the draft is shown after {forecasts[mode].shown_ms:.0f} ms, not {stream.shown_ms:.0f}"
        return f"{shown}; {shipping if ships else 'no draft is shipped'}"
    if request.where == "cloud":
        return "no speculation: the edge drafts nothing"
    if not signals.cloud.verifies_drafts:
        return "no speculation: the cloud does not say that it takes drafts"
    if ships == 0 and "cloud_with_shipped_draft" not in forecasts:
        return f"no speculation: no drafter is fast enough, or {signals.cloud.queue} requests fill the cloud's passes"
    steps = f"{conditions.step_ms:.0f} ms steps enough at acceptance {conditions.acceptance:.2f}"
    return f"no speculation: a draft would not save {steps}"
