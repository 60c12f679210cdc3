"""Loads ahead after KVFlow: what is to be used within two steps is brought back while the link is free, the nearest step first.

Only prefixes: KVFlow knows no adapters. What finds no room that farther memory could make is tried again when an activation ends.
"""

from __future__ import annotations

from collections import deque

from scalesim.proxy.core.model import KV_PREFIX, LoadResult, LoadState, MemoryId

from .clock import Clock
from .engine import Engine
from .foresight import Foresight

STEPS = 2.0
"""KVFlow's own, and that of the paper's release."""
WITHIN_S = 60.0
"""A load that takes longer is given up."""


class StepPrefetch:
    """Of one engine. One load at a time."""

    def __init__(self, clock: Clock, engine: Engine, foresight: Foresight) -> None:
        self._clock = clock
        self._engine = engine
        self._foresight = foresight
        self._due: deque[str] = deque()
        self._waits = False
        """For the end of a load, or for room."""
        self._loading = False

    def begin_step(self) -> None:
        self._due = deque(self._foresight.due(STEPS))
        self._look_again()

    def end_activation(self) -> None:
        """Its memory is given back in a moment."""
        self._clock.after(0.0, self._look_again)

    def _look_again(self) -> None:
        if not self._loading:
            self._waits = False
            self._go_on()

    def _go_on(self) -> None:
        while self._due and not self._waits:
            owner = self._due.popleft()
            # It may have been active meanwhile, and be far by now.
            step = self._foresight.told_step(owner)
            if step <= self._foresight.now + STEPS and self._engine.prefixes.sizes(owner)[1]:
                self._load(step, owner)

    def _load(self, step: float, owner: str) -> None:
        self._waits = self._loading = True

        def settled(result: LoadResult) -> None:
            self._loading = False
            if result.state is LoadState.NO_ROOM:
                self._due.appendleft(owner)
            else:
                self._clock.after(0.0, self._look_again)

        self._engine.ahead.load(MemoryId(KV_PREFIX, owner), step, WITHIN_S, settled)
