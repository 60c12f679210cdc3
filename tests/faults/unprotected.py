"""The proxy with one of its protections switched off: PROTECTION, and then what `scalesim` is told.

So that a test which shows that a fault does no harm can be seen to fail. Each patches the place where the protection is.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any

from scalesim.proxy.__main__ import main
from scalesim.proxy.core.placer import Placer
from scalesim.proxy.data_plane.http_protocol import BoundedHttpProtocol
from scalesim.proxy.data_plane.upstream.answer import Answer
from scalesim.proxy.errors import UpstreamBroke
from scalesim.proxy.recording import Recorder


def half_answers_are_told() -> None:
    """An answer that broke off ends as if it were whole."""
    honest = Answer.__anext__

    async def hushed(self: Answer) -> bytes:
        try:
            return await honest(self)
        except UpstreamBroke:
            raise StopAsyncIteration from None

    Answer.__anext__ = hushed  # type: ignore[method-assign]


def leaving_is_noticed() -> None:
    """Nobody hears that a client has gone."""
    honest = BoundedHttpProtocol.connection_lost

    def unheard(self: BoundedHttpProtocol, exc: Exception | None) -> None:
        cycle, self.cycle = self.cycle, None  # type: ignore[assignment]
        honest(self, exc)
        self.cycle = cycle

    BoundedHttpProtocol.connection_lost = unheard  # type: ignore[method-assign]


def recorder_is_apart() -> None:
    """Each call waits for the disk, which takes its time to say that it is full."""
    Recorder.note = lambda self, call: time.sleep(0.1)  # type: ignore[method-assign]


def own_clock() -> None:
    """Time is that of the wall clock, which may be set."""
    time.monotonic = lambda: time.time()


def places_are_shared() -> None:
    """Each of several proxies finds places for agents by itself."""
    Placer._settled_as_known = lambda self, key, caller: None  # type: ignore[method-assign]


PROTECTIONS: dict[str, Callable[[], Any]] = {
    one.__name__: one
    for one in (
        half_answers_are_told,
        leaving_is_noticed,
        recorder_is_apart,
        own_clock,
        places_are_shared,
    )
}

if __name__ == "__main__":
    PROTECTIONS[sys.argv.pop(1)]()
    main()
