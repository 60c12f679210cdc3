"""How many connections clients may hold, and how long they may take to say what they want. Pure: who closes is told whom."""

from __future__ import annotations

from collections import Counter

HEAD_S = 20.0
"""For the whole head of a request. A connection that waits for its next one is closed sooner, by the server."""
BODY_S = 20.0
"""For its body, and besides ..."""
BODY_BYTES_PER_S = 500
"""... a second more for each so many bytes that came: who goes on slowly is served, who drips is not."""


class Connections:
    """Counts them. `origin` is the name under which a client's address is counted."""

    def __init__(self, *, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._open = 0
        self._of: Counter[str] = Counter()

    def limit(self, *, most: int, most_of_one: int) -> None:
        """Of those that come from now on."""
        self._most, self._most_of_one = most, most_of_one

    def __len__(self) -> int:
        return self._open

    @property
    def origins(self) -> int:
        return len(self._of)

    def open(self, origin: str) -> str | None:
        """None: it is counted, and `close` must be told of its end. Else why it is refused."""
        if self._open >= self._most:
            return f"the proxy has {self._open} connections, and takes no more at a time"
        if self._of[origin] >= self._most_of_one:
            return f"there are {self._of[origin]} connections from this address, and it may have no more at a time"
        self._open += 1
        self._of[origin] += 1
        return None

    def close(self, origin: str) -> None:
        self._open -= 1
        self._of[origin] -= 1
        if not self._of[origin]:
            del self._of[origin]


def head_is_late(waited_s: float) -> bool:
    return waited_s > HEAD_S


def body_is_late(waited_s: float, size_bytes: int) -> bool:
    """`waited_s`: since the head was there, without the time in which we did not read."""
    return waited_s > BODY_S + size_bytes / BODY_BYTES_PER_S
