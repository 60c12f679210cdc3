"""Keeps what clients do from filling the log: of lines that come with every bad request, one a second is written."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

EVERY_S = 1.0

_OF_REQUESTS = ("uvicorn", "scalesim.proxy.data_plane")
"""Who writes them. All others write as much as they have to say."""


class FewLines(logging.Filter):
    """For a handler. Lines are alike if the same statement writes them, so it remembers no more than there are statements.

    The next one that is written says how many were not.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._due: dict[tuple[str, int], float] = {}
        self._left_out: dict[tuple[str, int], int] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(_OF_REQUESTS):
            return True
        statement, now = (record.pathname, record.lineno), self._clock()
        if now < self._due.get(statement, now):
            self._left_out[statement] = self._left_out.get(statement, 0) + 1
            return False
        self._due[statement] = now + EVERY_S
        left_out = self._left_out.pop(statement, 0)
        if left_out:
            record.msg, record.args = f"{record.getMessage()} ({left_out:,} more like it were left out)", ()
        return True
