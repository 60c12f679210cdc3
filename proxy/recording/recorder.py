"""Is told of calls and writes them down later, in a thread of its own: no call waits for the disk, nor for the hashing.

What cannot be written is counted, and the trace itself says how much of it is missing.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from scalesim.proxy.recording_status import RecordingStatus
from scalesim.proxy.served_call import ServedCall

from .files import Series, Write
from .hashing import Hasher
from .lines import Lines
from .salt import key_in

log = logging.getLogger(__name__)

T = TypeVar("T")

MAX_CALLS = 8192
MAX_WAITING_BYTES = 64 * 1024 * 1024
"""Of requests and answers that wait to be written down: what comes beyond one of the two is lost to the trace."""
FLUSH_S = 0.5
"""Nothing that can be written waits longer."""
BATCH = 256
BATCH_BYTES = 1 << 20
"""So many calls, or bytes of lines, are written at a time."""
BREATH_S = 50e-6
"""Python runs one thread at a time, and takes 5 ms to make one give way that does not do so by itself."""
CLOSING_S = 5.0
"""For a disk that does not answer. The process then ends without it."""


class Recorder:
    """To be entered before calls come, and left when the last has ended."""

    def __init__(
        self,
        path: Path,
        salt: Path,
        *,
        full_text: bool,
        max_bytes: int,
        files: int,
        clock: Callable[[], float],
        max_calls: int = MAX_CALLS,
        max_waiting_bytes: int = MAX_WAITING_BYTES,
        write: Write = os.write,
    ) -> None:
        """`clock` is that of the calls' times. `max_bytes` is for all `files` together."""
        self._salt = salt
        self._full_text = full_text
        self._clock = clock
        self._max_calls = max_calls
        self._max_waiting_bytes = max_waiting_bytes
        self._lines: Lines | None = None
        self._series = Series(path, max_bytes=max_bytes, files=files, header=self._header, write=write)
        self._thread = threading.Thread(target=self._run, name="recorder", daemon=True)
        self._wake = threading.Event()
        self._stopping = False
        self._waiting: deque[ServedCall] = deque()
        # Each of these is changed by one thread alone.
        self._came_bytes = self._overflowed = 0
        self._went_bytes = self._written = self._unwritten = self._told_lost = 0
        self._problem = ""
        self._bugs = 0

    async def __aenter__(self) -> Self:
        """Raises `CannotRecord`."""
        await asyncio.to_thread(self._open)
        self._thread.start()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._stopping = True
        self._wake.set()
        await asyncio.to_thread(self._thread.join, CLOSING_S)
        if self._thread.is_alive():
            log.error("%s: the disk does not answer; the end of the trace may be missing", self._series.path)

    def note(self, call: ServedCall) -> None:
        """Never raises and never waits."""
        weight = _weight(call)
        waiting, waiting_bytes = len(self._waiting), self._came_bytes - self._went_bytes + weight
        if waiting >= self._max_calls or waiting_bytes > self._max_waiting_bytes:
            self._overflowed += 1
            return
        self._came_bytes += weight
        self._waiting.append(call)
        if 4 * waiting >= self._max_calls or 4 * waiting_bytes >= self._max_waiting_bytes:
            self._wake.set()

    def status(self) -> RecordingStatus:
        return RecordingStatus(
            path=str(self._series.path),
            full_text=self._full_text,
            calls=self._written,
            lost=self._overflowed + self._unwritten,
            written_bytes=self._series.written_bytes,
            waiting=len(self._waiting),
            problem=self._problem,
        )

    def sizes(self) -> dict[str, int]:
        return {"trace_calls_waiting": len(self._waiting)}

    def _open(self) -> None:
        self._lines = Lines(
            Hasher(key_in(self._salt)),
            full_text=self._full_text,
            started_at=self._clock(),
            start_unix_s=time.time(),
        )
        self._series.open()

    def _header(self, part: int) -> bytes:
        assert self._lines is not None
        return self._lines.header(part)

    def _run(self) -> None:
        while not self._stopping:
            self._wake.wait(FLUSH_S)
            self._wake.clear()
            self._survivable(self._write_all)
        self._survivable(self._write_all)
        self._survivable(self._close)

    def _survivable(self, part: Callable[[], T]) -> T | None:
        try:
            return part()
        except Exception:  # the task runner of this thread: calls are served without a trace
            self._bugs += 1
            if self._bugs & (self._bugs - 1) == 0:
                log.exception("writing the trace failed (seen %d times); going on", self._bugs)
            return None

    def _write_all(self) -> None:
        while self._waiting:
            lines, calls = self._batch()
            self._tell_lost()
            written = self._series.write(lines)
            self._written += written
            self._unwritten += calls - written
            self._has(self._series.problem)
        self._tell_lost()

    def _batch(self) -> tuple[list[bytes], int]:
        """Lines, and of how many calls."""
        lines: list[bytes] = []
        size = calls = 0
        while self._waiting and calls < BATCH and size < BATCH_BYTES:
            line = self._survivable(self._next_line)
            calls += 1
            if line is not None:
                lines.append(line)
                size += len(line)
            time.sleep(BREATH_S)
        return lines, calls

    def _next_line(self) -> bytes:
        call = self._waiting.popleft()
        try:
            assert self._lines is not None
            return self._lines.call(call, lambda: time.sleep(BREATH_S))
        finally:
            self._went_bytes += _weight(call)

    def _tell_lost(self) -> None:
        lost = self._overflowed + self._unwritten
        if self._lines is None or lost <= self._told_lost:
            return
        # That there is room for this line says nothing of calls, so it ends no problem.
        if self._series.write([self._lines.lost(lost - self._told_lost)]):
            self._told_lost = lost

    def _close(self) -> None:
        try:
            self._series.close()
        except OSError as exc:
            self._has(exc.strerror or str(exc))

    def _has(self, problem: str) -> None:
        if problem == self._problem:
            return
        self._problem = problem
        if problem:
            log.warning("%s: %s: calls are served, and not recorded", self._series.path, problem)
        else:
            log.info("%s: calls are recorded again", self._series.path)


def _weight(call: ServedCall) -> int:
    return len(call.raw) + (0 if call.answer is None else call.answer.held_bytes)
