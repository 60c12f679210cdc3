"""Plays a recorded trace: at its own pace, faster, or each caller's calls one after the other with the pauses they had.

Nothing is told but who calls: a trace holds no distances. Prompts are as long as the trace says, in its own tokens.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from scalesim.workloads.program import Impossible

from .foresight import Foresight
from .paths import Path, Pieces
from .results import Results
from .rules import FORESEEN
from .traces import Trace, TracedCall, by_caller
from .world import Asked, Setting, World


@dataclass(frozen=True, slots=True)
class Pace:
    speed: float = 1.0
    """Times as fast as it was recorded."""
    closed: bool = False
    """A caller's next call waits for the answer to the one before, and for the pause that was between them."""

    def __post_init__(self) -> None:
        if not 0 < self.speed <= 1e6:
            raise Impossible(f"speed is {self.speed:g}, and has to be above 0 and at most 1e6")


def play_trace(
    trace: Trace,
    setting: Setting,
    pace: Pace | None = None,
    progress: Callable[[int, float], None] = lambda calls, seconds: None,
) -> Results:
    """Raises `Impossible` for a rule that has to know a program, and for calls that fit nowhere."""
    if setting.policy in FORESEEN:
        raise Impossible(f"{setting.policy} knows the future of a program, and not of a trace")
    return _Play(trace, setting, pace or Pace(), progress).run()


class _Play:
    def __init__(
        self, trace: Trace, setting: Setting, pace: Pace, progress: Callable[[int, float], None]
    ) -> None:
        self._trace = trace
        self._pace = pace
        self._pieces = Pieces()
        agents = {call.agent for call in trace.calls}
        self._agents = len(agents)
        self._world = World(setting, len(agents), Foresight((), {}), progress)

    def run(self) -> Results:
        trace, world = self._trace, self._world
        if self._pace.closed:
            for calls in by_caller(trace.calls):
                self._await_next(calls, 0.0)
        else:
            arrivals = iter(trace.calls)
            self._await_arrival(arrivals)
        world.clock.run_until(lambda: world.ended == len(trace.calls))
        played: dict[str, Any] = {
            "scenario": "trace",
            "agents": self._agents,
            "steps": 0,
            "told": "none",
            "speed": self._pace.speed,
            "closed": self._pace.closed,
            "skipped": dict(sorted(trace.skipped.items())),
        }
        return world.results((), played)

    def _await_arrival(self, arrivals: Iterator[TracedCall]) -> None:
        """One after the other, so that no more than one waits in the clock."""
        call = next(arrivals, None)
        if call is None:
            return

        def came() -> None:
            self._world.call(self._asked(call), lambda ended: None)
            self._await_arrival(arrivals)

        self._world.clock.at((call.arrived_s - self._trace.calls[0].arrived_s) / self._pace.speed, came)

    # Closed loop

    def _await_next(self, calls: deque[TracedCall], ended_s: float) -> None:
        """`ended_s`: when the caller's last answer came in the recorded run."""
        if not calls:
            return
        call = calls.popleft()
        first_s = self._trace.calls[0].arrived_s
        pause_s = max(0.0, call.arrived_s - max(ended_s, first_s)) / self._pace.speed

        def came() -> None:
            took_s = call.took_s or 0.0
            self._world.call(
                self._asked(call), lambda ended: self._await_next(calls, call.arrived_s + took_s)
            )

        self._world.clock.after(pause_s, came)

    def _asked(self, call: TracedCall) -> Asked:
        return Asked(call.agent, self._path(call), call.output_tokens, call.adapter)

    def _path(self, call: TracedCall) -> Path:
        size, blocks = self._trace.block_tokens, call.blocks
        last = call.input_tokens - size * (len(blocks) - 1)
        # The id of a block tells all that is before it: pieces with other beginnings never have the same.
        runs = [((block, size), size) for block in blocks[:-1]]
        return self._pieces.path([*runs, ((blocks[-1], last), last)])
