"""How long calls take, and what of it the proxy itself took. Kept for each engine that is registered, never for an agent."""

from __future__ import annotations

from .core.model import EngineId, Outcome
from .histogram import MOMENTS, WAITS, Histogram


class EngineTimings:
    """Seconds, of the calls that went to one engine last."""

    __slots__ = ("calls", "first_token", "queue_wait", "sent_again")

    def __init__(self) -> None:
        self.first_token = Histogram(WAITS)
        """From when a streamed call was there whole until the first piece of its answer."""
        self.queue_wait = Histogram(WAITS)
        """For a place at the engine; 0 of those that had one at once. Nothing where there is no queue."""
        self.calls = {outcome: Histogram(WAITS) for outcome in Outcome}
        """From when they were there whole until they ended."""
        self.sent_again = 0
        """How often a request that failed there was sent again, there or elsewhere."""


class Timings:
    def __init__(self) -> None:
        self.added = Histogram(MOMENTS)
        """From when a call was there whole until it was first sent, without its wait for a place."""
        self.engines: dict[EngineId, EngineTimings] = {}

    def of(self, engine: EngineId) -> EngineTimings:
        timings = self.engines.get(engine)
        if timings is None:
            timings = self.engines[engine] = EngineTimings()
        return timings

    def forget(self, engine: EngineId) -> None:
        """It has left, and so has its last call."""
        self.engines.pop(engine, None)

    def sizes(self) -> dict[str, int]:
        return {"timed_engines": len(self.engines)}
