"""What waits to be told to the group: bounded, and gone without a trace but a count when Redis is away for long. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

RECORDS = 50_000
BYTES = 16_000_000
BATCH_RECORDS = 512
BATCH_BYTES = 256_000


class Batch(NamedTuple):
    first: int
    """The number of its first record; they follow each other."""
    records: tuple[bytes, ...]

    @property
    def next(self) -> int:
        return self.first + len(self.records)


class Outbox:
    def __init__(self, records: int = RECORDS, size_bytes: int = BYTES) -> None:
        self.next = 1
        """The number that the next record gets."""
        self.dropped = 0
        """The oldest, for want of room."""
        self.size_bytes = 0
        self._limits = records, size_bytes
        self._waiting: deque[bytes] = deque()

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def first(self) -> int:
        """The number of the oldest that waits; of the next one, if none does."""
        return self.next - len(self._waiting)

    def put(self, record: bytes) -> int:
        """Returns its number."""
        self._waiting.append(record)
        self.size_bytes += len(record)
        self.next += 1
        records, size_bytes = self._limits
        while len(self._waiting) > records or (self.size_bytes > size_bytes and len(self._waiting) > 1):
            self._pop()
            self.dropped += 1
        return self.next - 1

    def batch(self) -> Batch:
        """The oldest that fit into one entry of the stream; none if nothing waits."""
        taken: list[bytes] = []
        size = 0
        for record in self._waiting:
            size += len(record)
            if taken and (size > BATCH_BYTES or len(taken) >= BATCH_RECORDS):
                break
            taken.append(record)
        return Batch(self.first, tuple(taken))

    def sent(self, batch: Batch) -> None:
        """It is in the stream. Some of it may have been dropped meanwhile."""
        while self._waiting and self.first < batch.next:
            self._pop()

    def _pop(self) -> None:
        self.size_bytes -= len(self._waiting.popleft())
