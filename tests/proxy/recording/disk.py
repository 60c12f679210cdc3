"""A disk that may be full."""

from __future__ import annotations

import errno
import os


class Disk:
    """Takes `room` bytes of real writes, then cuts one short and refuses the rest. Give it more room at any time."""

    def __init__(self, room: int) -> None:
        self.room = room

    def write(self, fd: int, data: memoryview) -> int:
        if not self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        done = os.write(fd, data[: self.room])
        self.room -= done
        return done
