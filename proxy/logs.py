"""What a log line looks like, and how many of a kind are written.

Each line that is written while a request is served names it. Lines hold what our own code says: never a prompt, and never an
agent's name. What repeats itself is cut short, since a failure that comes with every request must not fill the disk.
"""

from __future__ import annotations

import logging
import sys
import time
from collections import OrderedDict
from collections.abc import Callable
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TextIO

import orjson

FORMATS = ("text", "json")
LINES = 20
"""Of one kind (the same place in the code) ..."""
WINDOW_S = 10.0
"""... within so many seconds. The others are counted, and the next line of that kind says how many they were."""
KINDS = 512
"""Places in the code that are remembered."""

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Of the request that is served; empty where there is none. A context variable, since it is the only thing that follows a request
through tasks and into code that knows nothing of requests."""


class RateLimit(logging.Filter):
    """Of a handler. Errors are limited like all else: the first lines say what there is to say."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.suppressed = 0
        self._clock = clock
        self._kinds: OrderedDict[tuple[str, int], list[float]] = OrderedDict()
        """By file and line: when its window began, how many lines came, how many of them were not written."""

    def filter(self, record: logging.LogRecord) -> bool:
        kind, now = (record.pathname, record.lineno), self._clock()
        seen = self._kinds.get(kind)
        if seen is None:
            seen = self._kinds[kind] = [now, 0, 0]
            if len(self._kinds) > KINDS:
                self._kinds.popitem(last=False)
        if now >= seen[0] + WINDOW_S:
            record.suppressed = int(seen[2])
            seen[:] = [now, 0, 0]
        seen[1] += 1
        if seen[1] > LINES:
            seen[2] += 1
            self.suppressed += 1
            return False
        return True


class TextFormat(logging.Formatter):
    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:
        line = super().formatMessage(record)
        if name := request_id.get():
            line += f" [request {name}]"
        if suppressed := getattr(record, "suppressed", 0):
            line += f" [{suppressed} such lines before it were not written]"
        return line


class JsonFormat(logging.Formatter):
    """One object a line, in UTF-8."""

    def format(self, record: logging.LogRecord) -> str:
        said: dict[str, object] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if name := request_id.get():
            said["request_id"] = name
        if suppressed := getattr(record, "suppressed", 0):
            said["suppressed"] = suppressed
        if record.exc_info:
            said["traceback"] = self.formatException(record.exc_info)
        return orjson.dumps(said, option=orjson.OPT_NON_STR_KEYS).decode()


def log_to(stream: TextIO | None, level: str, form: str) -> RateLimit:
    """From now on all that is logged in this process goes there (None: standard error). The filter says how much was too much."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormat() if form == "json" else TextFormat())
    limit = RateLimit()
    handler.addFilter(limit)
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line for every look at the engine
    return limit
