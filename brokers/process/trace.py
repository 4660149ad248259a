"""Which request a hop belongs to: W3C Trace Context, read and written by OpenTelemetry's own propagator.

Next: spans.py."""

from __future__ import annotations

import random
from collections.abc import Mapping
from functools import lru_cache

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    format_trace_id,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

HEADER = "traceparent"
_PROPAGATOR = TraceContextTextMapPropagator()


def context_of(headers: Mapping[str, str]) -> Context:
    """The context that message headers carry; without a usable `traceparent` it names no span."""
    return _PROPAGATOR.extract(headers, Context())


def trace_id_of(headers: Mapping[str, str]) -> str:
    """The trace's 32 hex digits; empty where the headers name no trace."""
    return _trace_id_in(headers.get(HEADER, ""))


@lru_cache(maxsize=1024)
def _trace_id_in(traceparent: str) -> str:
    """Remembered, since all the hops of a request carry the same: reading it anew each time took half a millisecond a
    request."""
    parent = get_current_span(context_of({HEADER: traceparent})).get_span_context()
    return format_trace_id(parent.trace_id) if parent.is_valid else ""


def follow(traceparent: str) -> str:
    """The `traceparent` of the hop after the one that is given; of a new, sampled trace where that cannot be read."""
    parent = get_current_span(context_of({HEADER: traceparent})).get_span_context()
    trace_id = parent.trace_id if parent.is_valid else random.randrange(1, 1 << 128)
    flags = parent.trace_flags if parent.is_valid else TraceFlags(TraceFlags.SAMPLED)
    child = SpanContext(trace_id, random.randrange(1, 1 << 64), is_remote=False, trace_flags=flags)
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers, set_span_in_context(NonRecordingSpan(child), Context()))
    return headers[HEADER]
