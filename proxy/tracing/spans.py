"""Spans of calls, made with OpenTelemetry's SDK."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from scalesim.proxy.core.model import AgentName, EngineId, Outcome, SimulationId, Usage
from scalesim.proxy.logs import request_id
from scalesim.proxy.span import Agents, Headers

from .attributes import Value, of_caller, of_engine, of_request, of_usage

_CONTEXT = (b"traceparent", b"tracestate")
_WIRE = TraceContextTextMapPropagator()


class TracedCall:
    """Also of a call that was not drawn: its engine is told so then, and draws none of its own."""

    __slots__ = ("_agents", "_ended", "_first", "_key", "_provider_of", "_span")

    def __init__(
        self,
        span: Span,
        agents: Agents,
        key: bytes,
        provider_of: Callable[[EngineId], str],
        ended: Callable[[], None],
    ) -> None:
        self._span = span
        self._agents = agents
        self._key = key
        self._provider_of = provider_of
        self._first = True
        self._ended = ended

    def carried(self, headers: Headers) -> Headers:
        carrier: dict[str, str] = {}
        _WIRE.inject(carrier, _with(self._span))
        kept = [(name, value) for name, value in headers if name not in _CONTEXT]
        return [*kept, *((name.encode(), value.encode()) for name, value in carrier.items())]

    def recognised(
        self, simulation: SimulationId, agent: AgentName | None, source: str, confidence: float
    ) -> None:
        if self._span.is_recording():
            self._span.set_attributes(of_caller(simulation, agent, self._agents, self._key))
            told: dict[str, Value] = {"scalesim.source": source, "scalesim.confidence": confidence}
            self._span.add_event("scalesim.recognised", told)

    def placed(self, engine: EngineId, base_url: str, *, moves: bool) -> None:
        if self._span.is_recording():
            told: dict[str, Value] = {**of_engine(base_url), "scalesim.engine": engine}
            if provider := self._provider_of(engine):  # nobody knows before it was first found
                told["gen_ai.provider.name"] = provider
            self._span.set_attributes(told)
            self._span.add_event("scalesim.placed", {"scalesim.engine": engine, "scalesim.moves": moves})

    def sent(self) -> None:
        self._span.add_event("scalesim.sent")

    def first_piece(self) -> None:
        if self._first:
            self._first = False
            self._span.add_event("scalesim.first_token")

    def refused(self) -> None:
        if self._span.is_recording():
            self._end_as("refused")

    def ended(self, outcome: Outcome, status: int | None, usage: Usage | None) -> None:
        span = self._span
        if not span.is_recording():
            return
        if status is not None:
            span.set_attribute("http.response.status_code", status)
        if usage is not None:
            span.set_attributes(of_usage(usage))
        if outcome is not Outcome.DONE:
            self._end_as(outcome.value)
        elif status is not None and status >= 400:
            self._end_as(str(status))
        else:
            self._finish()

    def _end_as(self, error: str) -> None:
        self._span.set_attribute("error.type", error)
        self._span.set_status(Status(StatusCode.ERROR))
        self._finish()

    def _finish(self) -> None:
        self._ended()
        self._span.end()


class Calls:
    """Begins spans: a `Trace`. None while so many wait for the collector that no more are made."""

    def __init__(
        self,
        tracer: Tracer,
        *,
        agents: Agents,
        key: bytes,
        provider_of: Callable[[EngineId], str],
        has_room: Callable[[], bool],
        ended: Callable[[], None],
    ) -> None:
        """`key` is for hashes; `ended` is told of each span that is about to be handed over."""
        self._tracer = tracer
        self._agents = agents
        self._key = key
        self._provider_of = provider_of
        self._has_room = has_room
        self._ended = ended

    def __call__(self, headers: Headers, route: str, body: Mapping[str, object] | None) -> TracedCall | None:
        if not self._has_room():
            return None
        name, told = of_request(route, body)
        if known := request_id.get():
            told["scalesim.request_id"] = known
        span = self._tracer.start_span(
            name, context=_parent(headers), kind=SpanKind.CLIENT, attributes=told, record_exception=False
        )
        return TracedCall(span, self._agents, self._key, self._provider_of, self._ended)


def _parent(headers: Headers) -> Context:
    """An empty one where the client sent none, or none that makes sense. Never what happens to be current here."""
    sent = {name.decode(): value.decode("latin-1") for name, value in headers if name in _CONTEXT}
    return _WIRE.extract(sent, Context())


def _with(span: Span) -> Context:
    return set_span_in_context(span, Context())
