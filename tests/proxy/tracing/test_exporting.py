from __future__ import annotations

from scalesim.proxy.observed import SpanCounts
from scalesim.proxy.tracing.exporting import Backlog


class Exporter:
    exported = 0
    failed = 0


def test_while_too_many_wait_no_spans_are_made() -> None:
    exporter = Exporter()
    backlog = Backlog(exporter, most=2)
    for _ in range(2):
        assert backlog.has_room()
        backlog.ended()
    assert not backlog.has_room()
    assert backlog.counts() == SpanCounts(exported=0, lost=1, waiting=2)
    exporter.exported += 1
    assert backlog.has_room()
    assert backlog.counts() == SpanCounts(exported=1, lost=1, waiting=1)


def test_what_the_collector_refuses_waits_no_more_and_is_lost() -> None:
    exporter = Exporter()
    backlog = Backlog(exporter, most=1)
    backlog.ended()
    exporter.failed += 1
    assert backlog.has_room()
    assert backlog.counts() == SpanCounts(exported=0, lost=1, waiting=0)
