"""A row of files that is bounded: `trace.jsonl` is written, `trace.1.jsonl` was before it, and the oldest goes for a new one.

Lines are written whole or not at all, as far as the disk lets us: what a full disk cut off is taken back.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from scalesim.proxy.errors import ScaleSimError

from .trace import MAX_LINE_BYTES

_WRITE_BYTES = 1 << 20

Write = Callable[[int, memoryview], int]
"""As `os.write`."""


class CannotRecord(ScaleSimError):
    """The trace cannot be begun: give another path, or mend what the text says."""


class Series:
    """Not for several threads at once. `header` gives the first line of each file, by its number from 0 on."""

    def __init__(
        self,
        path: Path,
        *,
        max_bytes: int,
        files: int,
        header: Callable[[int], bytes],
        write: Write = os.write,
    ) -> None:
        self.path = path
        self.written_bytes = 0
        """Since the start, of all files."""
        self.problem = ""
        """Why the last `write` did not write everything; empty if it did."""
        self._limit = max_bytes // files
        self._files = files
        self._header = header
        self._os_write = write
        self._fd = -1
        self._size = 0
        self._part = 0
        self._torn = False

    def open(self) -> None:
        """What is there from an earlier run is kept as the file before this one. Raises `CannotRecord`."""
        try:
            self._look_at_what_is_there()
            self._begin()
        except OSError as exc:
            raise CannotRecord(f"{self.path}: cannot be written: {exc.strerror}") from exc

    def write(self, lines: Sequence[bytes]) -> int:
        """How many were written: those before the first that failed, which `problem` then explains, but for those that are
        too long for a file."""
        done = size = 0
        waiting: list[bytes] = []
        self.problem = ""
        try:
            for line in lines:
                if len(line) > min(self._limit // 2, MAX_LINE_BYTES):
                    continue
                if self._size + size + len(line) > self._limit:
                    done += self._flush(waiting)
                    waiting, size = [], 0
                    self._begin()
                waiting.append(line)
                size += len(line)
            done += self._flush(waiting)
        except OSError as exc:
            self.problem = exc.strerror or str(exc)
        return done

    def close(self) -> None:
        """Raises `OSError`."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            try:
                os.fsync(fd)
            finally:
                os.close(fd)

    def _look_at_what_is_there(self) -> None:
        try:
            fd = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            if not stat.S_ISREG(os.fstat(fd).st_mode):
                raise CannotRecord(f"{self.path}: is there, and no plain file")
            fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotRecord(f"{self.path}: another proxy is writing it; give another path") from None
        finally:
            os.close(fd)

    def _begin(self) -> None:
        """The new file is there, with its header, before an old one is given up for it."""
        header = self._header(self._part)
        new = self.path.with_name(f"{self.path.name}.new")
        with contextlib.suppress(FileNotFoundError):
            os.unlink(new)  # from a run that was killed right here
        fd = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._write_whole(fd, header)
            self._rotate()
            os.rename(new, self.path)
        except OSError:
            os.close(fd)
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise
        old, self._fd = self._fd, fd
        self._size, self._torn = len(header), False
        self._part += 1
        self.written_bytes += len(header)
        if old >= 0:
            try:
                os.fsync(old)
            finally:
                os.close(old)

    def _rotate(self) -> None:
        for number in range(self._files - 2, -1, -1):
            with contextlib.suppress(FileNotFoundError):
                os.replace(numbered(self.path, number), numbered(self.path, number + 1))

    def _flush(self, lines: Sequence[bytes]) -> int:
        if lines:
            self._put(b"".join(lines))
        return len(lines)

    def _put(self, data: bytes) -> None:
        if self._torn:
            data = b"\n" + data  # so that what could not be taken back spoils no other line
        try:
            self._write_whole(self._fd, data)
        except OSError:
            self._take_back()
            raise
        self._torn = False
        self._size += len(data)
        self.written_bytes += len(data)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            self._torn = True

    def _write_whole(self, fd: int, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._os_write(fd, view[:_WRITE_BYTES]) :]


def numbered(path: Path, number: int) -> Path:
    """The file so many before the newest, which is number 0."""
    return path.with_name(f"{path.stem}.{number}{path.suffix}") if number else path


def parts_of(path: Path) -> list[Path]:
    """The files of a series that are there, the oldest first."""
    parts = [path]
    while (older := numbered(path, len(parts))).exists():
        parts.append(older)
    return parts[::-1]


def lines_of(path: Path) -> Iterator[bytes]:
    """For a `Reading`, in bounded memory: of a line that is too long only the beginning comes. Raises `OSError`."""
    with path.open("rb") as file:
        while line := file.readline(MAX_LINE_BYTES + 1):
            yield line
            rest = line if len(line) > MAX_LINE_BYTES else b""
            while rest and not rest.endswith(b"\n"):
                rest = file.readline(MAX_LINE_BYTES)
