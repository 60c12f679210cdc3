"""A machine whose times can be worked out by hand: a millisecond for a token of a prompt, 10 ms for a step that reads the weights,
40 ns more for each token that the calls of a step of decoding hold, and a link of 4 kB (a thousand tokens) in a millisecond."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import replace

from scalesim.workloads.replay.clock import Clock
from scalesim.workloads.replay.costs import Costs
from scalesim.workloads.replay.engine import Call, Engine, Sizes
from scalesim.workloads.replay.foresight import Foresight
from scalesim.workloads.replay.paths import Path, Pieces
from scalesim.workloads.replay.profiles import Gpu, Model, Server

GPU = Gpu("toy", 1e9, 1e8, 2e9, 4e6, 1e12)
MODEL = Model("toy", 1e6, 1e6, 1, 0, 1, 1, 1, 1, 2)
SERVER = Server("toy", 1.0, 1000, 8, 1, 1.0, 1.0, 0.0, 0.005, 0.0, 0.5, 0.002)
COSTS = Costs(GPU, MODEL, SERVER)
TOKEN_S = 1e-3
STEP_S = 1e-2
HELD_S = 4e-8
COPY_S = 1e-6
"""For a token."""
OVERHEAD_S = 5e-3


def costs(**server: float) -> Costs:
    return replace(COSTS, server=replace(SERVER, **server))  # type: ignore[arg-type]


def engine(
    clock: Clock, capacity: int, *, costs: Costs = COSTS, rule: str | None = "stock", **sizes: int
) -> Engine:
    return Engine("toy", clock, costs, Sizes(capacity, **sizes), rule, Foresight((), {}))  # type: ignore[arg-type]


class Asking:
    """Makes calls, and keeps them in the order in which they end."""

    def __init__(self, clock: Clock, asked: Engine) -> None:
        self.clock = clock
        self.engine = asked
        self.pieces = Pieces()
        self.ended: list[Call] = []
        self.made = 0

    def path(self, *runs: tuple[Hashable, int]) -> Path:
        return self.pieces.path(runs)

    def call(
        self,
        runs: Sequence[tuple[Hashable, int]],
        output: int,
        owner: str = "ann",
        adapter: str | None = None,
    ) -> Call:
        call = Call(self.made, owner, self.path(*runs), output, adapter, self.ended.append)
        self.made += 1
        self.engine.submit(call)
        return call

    def call_at(
        self,
        moment: float,
        runs: Sequence[tuple[Hashable, int]],
        output: int,
        owner: str,
        adapter: str | None = None,
    ) -> None:
        def comes() -> None:
            self.call(runs, output, owner, adapter)

        self.clock.at(moment, comes)

    def finish(self) -> None:
        self.clock.run_until(lambda: len(self.ended) == self.made)
