"""A collector of traces: takes what is exported over OTLP/HTTP, and an engine that joins its own spans to those of its callers, as
SGLang does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support.patience import PATIENCE_S, soon


@dataclass(frozen=True)
class Seen:
    """A span, as it arrived."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    attributes: dict[str, object]
    events: tuple[str, ...]
    failed: bool


class Collector:
    def __init__(self) -> None:
        self.spans: list[Seen] = []
        self.status = 200
        """Its answer."""
        self.requests = 0
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[list[Seen]], object]) -> None:
        async def met() -> None:
            while not condition(self.spans):
                self._changed.clear()
                await self._changed.wait()

        await soon(met(), PATIENCE_S)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        body, more = b"", True
        while more:
            message = await receive()
            body, more = body + message.get("body", b""), message.get("more_body", False)
        self.requests += 1
        if self.status == 200 and scope["path"] == "/v1/traces":
            self.spans += _spans_of(body)
        self._changed.set()
        await send({"type": "http.response.start", "status": self.status, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def _spans_of(body: bytes) -> list[Seen]:
    request = ExportTraceServiceRequest()
    request.ParseFromString(body)
    return [
        Seen(
            service=str(_values(resource.resource.attributes).get("service.name")),
            name=span.name,
            trace_id=span.trace_id.hex(),
            span_id=span.span_id.hex(),
            parent_id=span.parent_span_id.hex(),
            attributes=_values(span.attributes),
            events=tuple(event.name for event in span.events),
            failed=span.status.code == span.status.STATUS_CODE_ERROR,
        )
        for resource in request.resource_spans
        for scope in resource.scope_spans
        for span in scope.spans
    ]


def _values(attributes: object) -> dict[str, object]:
    def value(one: AnyValue) -> object:
        return getattr(one, str(one.WhichOneof("value")))

    return {pair.key: value(pair.value) for pair in attributes}  # type: ignore[attr-defined]


class TracingEngine:
    """`app`, with a span for each request, joined to its caller's. `headers` are those of the last request of a client."""

    def __init__(self, app: ASGIApp, collector_url: str) -> None:
        self.headers: dict[str, str] = {}
        self._app = app
        self._provider = TracerProvider(resource=Resource({"service.name": "engine"}), shutdown_on_exit=False)
        exporter = OTLPSpanExporter(f"{collector_url}/v1/traces", timeout=5)
        self._provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50))
        self._tracer = self._provider.get_tracer("engine")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = {name.decode(): value.decode() for name, value in scope.get("headers", ())}
        if "x-request-id" not in headers:  # a control call, or a warm-up: no client's
            await self._app(scope, receive, send)
            return
        self.headers = headers
        parent = TraceContextTextMapPropagator().extract(self.headers, Context())
        with self._tracer.start_as_current_span("prefill and decode", context=parent):
            await self._app(scope, receive, send)

    async def close(self) -> None:
        """What it has is sent. In a thread: it would wait for a collector on this very loop."""
        await asyncio.to_thread(self._provider.shutdown)
