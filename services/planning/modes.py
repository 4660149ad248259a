"""Who generates, and when: the mode of a plan, from closed forms, for one question that may go to the cloud."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tidegate.schemas import Mode, Where
from tidegate.services.planning import speculation_cost as speculation
from tidegate.services.planning.speculation_cost import Conditions, Forecast
from tidegate.services.planning.table import Signals, Table


@dataclass(frozen=True)
class Choice:
    """The mode that was chosen, and why; see `schemas.Plan` for the fields."""

    mode: Mode
    because: str
    drafters: tuple[str, ...] = ()
    draft_length: int = 0
    show_from: float = 1.0
    break_even_rtt_ms: float = 0.0
    forecast_ms: Mapping[str, float] = field(default_factory=dict)


def drafters_of(signals: Signals, table: Table) -> tuple[str, ...]:
    """The drafters that are faster than a step of the cloud, in the table's order: a slower one never gets ahead."""
    step_ms = step_ms_of(signals, table)
    return tuple(name for name, token_ms in table.drafters.items() if token_ms < step_ms)


def step_ms_of(signals: Signals, table: Table) -> float:
    """The cloud's step as it says itself, or the table's guess."""
    return signals.cloud.step_ms or table.step_ms


def conditions_of(acceptance: float, drafters: tuple[str, ...], signals: Signals, table: Table) -> Conditions:
    """What the forecasts rest on: a chain of drafters is as slow as its slowest, and each request that the cloud has
    before this one is prefilled first."""
    return Conditions(
        acceptance=min(0.99, max(0.01, acceptance)),
        rtt_ms=signals.rtt_ms,
        step_ms=step_ms_of(signals, table),
        draft_token_ms=max((table.drafters[name] for name in drafters), default=0.0),
        tokens=table.answer_tokens,
        first_tokens=table.sentence_tokens,
        prefill_ms=table.prefill_ms,
        queue_ms=signals.cloud.queue * table.prefill_ms,
        edge_start_ms=table.edge_start_ms,
        uplink_ms_per_byte=table.uplink_ms_per_byte,
    )


def chosen(
    class_: str, drafters: tuple[str, ...], remaining_ms: int, can_retract: bool, where: Where, at: Signals, by: Table
) -> Choice:
    """The mode with the least score among those that are open; of equal ones the plainest.

    Open is: the stream always; a shipped draft where the cloud takes drafts and it saves `worth_ms`; the race, which
    ends with either of them, where the client can take text back and the class was not seen to draft badly; the loop
    where the table asks for economy, the cloud verifies round by round, a shipped draft is open, and the time suffices
    for the link at its slowest. So no mode but the loop is expected to end later than the stream. A table that names a
    mode opens that one alone, where it can be had at all.
    """
    known = at.acceptance.get(class_)
    told = conditions_of(by.acceptance_prior if known is None else known, drafters, at, by)
    length = drafted_per_pass(told, drafters, where, at, by)
    weighed = forecasts(told, drafters, where, length, at, by)
    ships = length if is_shipping_open(weighed, by) else 0
    open_: list[Mode] = ["cloud_stream"]
    if ships:
        open_.append("cloud_with_shipped_draft")
    if "race" in weighed and can_retract and (known is None or known >= by.race_from):
        weighed["race"] = speculation.race(told, ships)
        open_.append("race")
    if ships and "economy_loop" in weighed and slowest_ms(weighed["economy_loop"], at) <= remaining_ms:
        open_.append("economy_loop")
    if by.mode in weighed:
        open_ = [by.mode]
    mode = min(open_, key=lambda name: score(weighed[name], told, by))
    drafted = length if mode == "economy_loop" else ships
    return Choice(
        mode=mode,
        because=because(mode, weighed, told, drafted, can_retract, where, at),
        drafters=drafters if where == "edge" and mode != "cloud_stream" else (),
        draft_length=drafted if mode != "cloud_stream" else 0,
        show_from=show_from(weighed, by) if mode == "race" else 1.0,
        break_even_rtt_ms=round(speculation.break_even_rtt_ms(told), 1) if drafters else 0.0,
        forecast_ms={name: round(forecast.final_ms, 1) for name, forecast in weighed.items()},
    )


def drafted_per_pass(told: Conditions, drafters: tuple[str, ...], where: Where, at: Signals, by: Table) -> int:
    """How many drafted tokens the cloud verifies per pass: as many as make its tokens cheapest (or a loop's, where the
    table asks for economy), while there is room below the knee for all that the cloud works on; 0 where nobody drafts
    or the cloud does not say that it takes drafts.

    The same length serves every mode. It depends on neither the link nor the time that is left.
    """
    if not drafters or where == "cloud" or not at.cloud.drafts:
        return 0
    longest = speculation.knee_cap(by.knee_positions, at.cloud.queue + 1)
    if by.economy > 0:
        return speculation.economical_draft_length(told, by.economy, longest)
    return speculation.cheapest_draft_length(told, longest)


def forecasts(
    told: Conditions, drafters: tuple[str, ...], where: Where, length: int, at: Signals, by: Table
) -> dict[Mode, Forecast]:
    """Every mode that is worth weighing. An edge that is itself drowning drafts nothing."""
    weighed: dict[Mode, Forecast] = {"cloud_stream": speculation.cloud_stream(told)}
    if where == "cloud":
        return weighed
    weighed["edge_only"] = speculation.edge_alone(told)
    if drafters:
        weighed["race"] = speculation.race(told, length)
    if length:
        weighed["cloud_with_shipped_draft"] = speculation.shipped_draft(told, length)
        if at.cloud.loops and by.loops and (by.economy > 0 or by.mode == "economy_loop"):
            weighed["economy_loop"] = speculation.stop_and_wait(told, length)
    return weighed


def is_shipping_open(weighed: Mapping[Mode, Forecast], by: Table) -> bool:
    """Whether a shipped draft saves enough to be made."""
    shipped = weighed.get("cloud_with_shipped_draft")
    return shipped is not None and shipped.final_ms + by.worth_ms <= weighed["cloud_stream"].final_ms


def slowest_ms(loop: Forecast, at: Signals) -> float:
    """When a loop is through if each of its round trips takes as long as one seldom does: SRTT + 4 · RTTVAR."""
    return loop.final_ms + loop.cloud_steps * (at.careful_rtt_ms - at.rtt_ms)


def score(forecast: Forecast, told: Conditions, by: Table) -> float:
    """What a mode costs, in milliseconds: waiting for the first piece and for the last, and computing at its price."""
    return forecast.shown_ms + forecast.final_ms + by.economy * forecast.cloud_steps * told.step_ms


def show_from(weighed: Mapping[Mode, Forecast], by: Table) -> float:
    """The confidence c from which a draft is worth showing: c · gain ≥ (1 - c) · cost of taking it back.

    The farther the cloud, the more is gained by showing, and the less sure the edge needs to be.
    """
    gain_ms = weighed["cloud_stream"].shown_ms - weighed["race"].shown_ms
    return round(by.retraction_ms / (by.retraction_ms + max(0.0, gain_ms)), 3) if by.retraction_ms else 0.0


def because(
    mode: Mode,
    weighed: Mapping[Mode, Forecast],
    told: Conditions,
    ships: int,
    can_retract: bool,
    where: Where,
    at: Signals,
) -> str:
    """The choice in words."""
    stream = weighed["cloud_stream"]
    final_ms = f"{weighed[mode].final_ms:.0f} ms against the stream's {stream.final_ms:.0f}"
    if mode == "economy_loop":
        saved = stream.cloud_steps - weighed[mode].cloud_steps
        return (
            f"draft and verify over the link, {ships} tokens a round, saving {saved:.0f} steps of the cloud: {final_ms}"
        )
    shipping = f"drafts shipped once, {ships} tokens a pass at acceptance {told.acceptance:.2f}: {final_ms}"
    if mode == "cloud_with_shipped_draft":
        return shipping if can_retract else f"{shipping}; the client cannot take text back"
    if mode == "race":
        shown = f"the draft is shown after {weighed[mode].shown_ms:.0f} ms, not {stream.shown_ms:.0f}"
        return f"{shown}; {shipping if ships else 'no draft is shipped'}"
    if where == "cloud":
        return "no speculation: the edge is too busy to draft"
    if not at.cloud.drafts:
        return "no speculation: the cloud does not say that it takes drafts"
    if ships == 0 and "cloud_with_shipped_draft" not in weighed:
        return f"no speculation: no drafter is fast enough, or {at.cloud.queue} requests fill the cloud's passes"
    return (
        f"no speculation: a draft would not save {told.step_ms:.0f} ms steps enough at acceptance {told.acceptance:.2f}"
    )
