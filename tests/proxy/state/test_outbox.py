from __future__ import annotations

from scalesim.proxy.state import outbox
from scalesim.proxy.state.outbox import Outbox


def test_records_leave_in_order_and_once() -> None:
    box = Outbox()
    for number in range(1, 1201):
        assert box.put(b"%d" % number) == number
    left = []
    while len(box):
        batch = box.batch()
        assert batch.first == len(left) + 1
        left += batch.records
        box.sent(batch)
    assert left == [b"%d" % number for number in range(1, 1201)]
    assert box.size_bytes == 0
    assert box.batch().records == ()
    assert box.batch().first == box.next == 1201


def test_what_was_not_sent_is_sent_again() -> None:
    box = Outbox()
    box.put(b"one")
    assert box.batch() == box.batch()


def test_the_oldest_are_dropped_and_counted() -> None:
    box = Outbox(records=3, size_bytes=1000)
    for number in range(5):
        box.put(b"%d" % number)
    assert box.dropped == 2
    assert box.batch() == (3, (b"2", b"3", b"4"))
    box = Outbox(records=100, size_bytes=10)
    for number in range(5):
        box.put(b"%d---" % number)
    assert box.size_bytes <= 10
    assert box.batch() == (4, (b"3---", b"4---"))


def test_what_was_dropped_while_it_was_on_its_way_is_not_taken_out_twice() -> None:
    box = Outbox(records=3, size_bytes=1000)
    for number in range(3):
        box.put(b"%d" % number)
    batch = box.batch()
    box.put(b"3")
    box.put(b"4")
    box.sent(batch)
    assert box.batch() == (4, (b"3", b"4"))


def test_batches_are_bounded_in_bytes_but_never_empty() -> None:
    box = Outbox()
    box.put(bytes(outbox.BATCH_BYTES * 2))
    box.put(b"small")
    assert len(box.batch().records) == 1
