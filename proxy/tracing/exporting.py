"""Brings spans to a collector, behind the calls: a bounded number waits, and a collector that is not there costs nothing but them.

Batches are sent by the SDK's own thread. While so many wait that no more would be kept, no spans are made at all.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Protocol

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

import scalesim
from scalesim.proxy.core.model import EngineId
from scalesim.proxy.observed import SpanCounts
from scalesim.proxy.span import Agents

from .spans import Calls

MOST_WAITING = 4096
"""Spans for the collector; one takes some kilobytes."""
BATCH = 512
EVERY_S = 1.0
"""Between two batches, if they are not full before."""
TIMEOUT_S = 5.0
"""For a batch, with all attempts; then it is lost."""
CLOSING_S = 3.0
"""For what waits at the end."""

_LIBRARY = "opentelemetry"
_log = logging.getLogger(__name__)


class WatchedExporter(SpanExporter):
    """Says once that the collector takes nothing, and once that it does again. Used by the SDK's thread; its counts are read by
    others."""

    def __init__(self, inner: SpanExporter, endpoint: str, why: Callable[[], str]) -> None:
        """`why`: what was last said of what went wrong."""
        self.exported = 0
        self.failed = 0
        self._inner = inner
        self._endpoint = endpoint
        self._why = why
        self._fails = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        result = self._inner.export(spans)
        if result is SpanExportResult.SUCCESS:
            self.exported += len(spans)
            if self._fails:
                _log.info("the collector of traces at %s takes spans again", self._endpoint)
        else:
            self.failed += len(spans)
            if not self._fails:
                _log.warning(
                    "the collector of traces at %s takes no spans (%s): calls are served, and not traced",
                    self._endpoint,
                    self._why(),
                )
        self._fails = result is not SpanExportResult.SUCCESS
        return result

    def shutdown(self) -> None:
        self._inner.shutdown()


class _LastWord(logging.Handler):
    """Of the library, which says the same at every batch. We say it once."""

    said = "no reason given"

    def emit(self, record: logging.LogRecord) -> None:
        self.said = record.getMessage()[:200]


class _HasSpans(Protocol):
    exported: int
    failed: int


class Backlog:
    """How many spans are made and not yet exported or given up. `refused` are those that were not made."""

    def __init__(self, exporter: _HasSpans, most: int) -> None:
        self._exporter = exporter
        self._most = most
        self._made = 0
        self._refused = 0

    @property
    def waiting(self) -> int:
        return self._made - self._exporter.exported - self._exporter.failed

    def has_room(self) -> bool:
        if self.waiting < self._most:
            return True
        self._refused += 1
        return False

    def ended(self) -> None:
        self._made += 1

    def counts(self) -> SpanCounts:
        return SpanCounts(self._exporter.exported, self._exporter.failed + self._refused, self.waiting)


@asynccontextmanager
async def exporting(
    endpoint: str,
    *,
    sample: float,
    agents: Agents,
    provider_of: Callable[[EngineId], str],
    exporter: SpanExporter | None = None,
    most_waiting: int = MOST_WAITING,
) -> AsyncIterator[tuple[Calls, Callable[[], SpanCounts]]]:
    """What begins spans, and how many there were. `sample`: the share of the calls that are drawn, where their clients have not drawn
    already. Left, it waits a few seconds for what has not been sent."""
    with _quiet_library() as last_word:
        inner = exporter or OTLPSpanExporter(endpoint, timeout=TIMEOUT_S)
        watched = WatchedExporter(inner, endpoint, lambda: last_word.said)
        backlog = Backlog(watched, most_waiting)
        processor = BatchSpanProcessor(
            watched,
            # It never overflows: spans that would not fit are not made, but for those of calls that run already.
            max_queue_size=16 * most_waiting,
            schedule_delay_millis=EVERY_S * 1000,
            max_export_batch_size=min(BATCH, most_waiting),
        )
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(sample)),
            resource=Resource.create({"service.name": "scalesim", "service.version": scalesim.__version__}),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(processor)
        calls = Calls(
            provider.get_tracer("scalesim", scalesim.__version__),
            agents=agents,
            key=secrets.token_bytes(32),
            provider_of=provider_of,
            has_room=backlog.has_room,
            ended=backlog.ended,
        )
        try:
            yield calls, backlog.counts
        finally:
            await _closed(processor, watched)


async def _closed(processor: BatchSpanProcessor, exporter: SpanExporter) -> None:
    """In a thread that nobody has to wait for at the end: a collector that hangs must not keep the proxy from ending."""
    loop, done = asyncio.get_running_loop(), asyncio.Event()

    def close() -> None:
        processor.shutdown()  # type: ignore[no-untyped-call]
        if not loop.is_closed():
            loop.call_soon_threadsafe(done.set)

    threading.Thread(target=close, name="the end of traces", daemon=True).start()
    try:
        async with asyncio.timeout(CLOSING_S):
            await done.wait()
    except TimeoutError:
        _log.warning("the collector of traces does not answer; the last spans are lost")
        exporter.shutdown()  # ends its waiting between two attempts


@contextmanager
def _quiet_library() -> Iterator[_LastWord]:
    library, last_word = logging.getLogger(_LIBRARY), _LastWord()
    before = library.propagate
    library.propagate = False
    library.addHandler(last_word)
    try:
        yield last_word
    finally:
        library.removeHandler(last_word)
        library.propagate = before
