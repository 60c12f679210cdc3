"""Measures one size after the other, prints and writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import uvloop
from rich.console import Console

from scalesim.proxy import collector
from scalesim.workloads.program import Impossible

from .core import bytes_per_idle_agent, rounds
from .held import held
from .recognition import recognition
from .results import Measured, as_json, p99, show, show_recognition


@dataclass(frozen=True, slots=True)
class Order:
    """What is to be measured, and where the results go."""

    agents: tuple[int, ...]
    active: int
    seed: int
    seconds: float
    """That the loop is watched, beside a bulk update."""
    json_path: Path

    def __post_init__(self) -> None:
        if not self.agents or min(self.agents) < 1 or self.active < 1:
            raise Impossible("there has to be an agent that acts")
        if not self.seconds > 0.0:
            raise Impossible(f"nothing can be seen in {self.seconds:g} s")


def bench_core(order: Order, console: Console) -> None:
    """Raises `BulkRefused`."""
    recognised = recognition(order.seed)
    measured = measure(order, console)
    show(measured, console)
    show_recognition(recognised, console)
    order.json_path.parent.mkdir(parents=True, exist_ok=True)
    order.json_path.write_text(
        json.dumps(as_json(measured, recognised, order.seed, order.active), indent=2) + "\n"
    )
    console.print(f"written: {order.json_path}", soft_wrap=True)


def measure(order: Order, console: Console) -> dict[int, Measured]:
    measured = {}
    for agents in sorted(set(order.agents)):
        active = min(order.active, agents)
        console.print(f"{agents:,} agents, of which {active:,} act in a step")
        # As `scalesim serve` does once it is up; what came before takes no part in what is measured.
        collector.keep_short()
        planned = rounds(agents, active, order.seed)
        console.print(f"  {len(planned.ticks_ms)} rounds of planning: p99 {p99(planned.ticks_ms):.2f} ms")
        collector.keep_short()
        # The loop that `scalesim serve` runs on.
        watched = uvloop.run(held(agents, active, order.seed, order.seconds))
        console.print(f"  loop held: p99 {p99(watched.lags_ms):.2f} ms; bulk update {watched.bulk_s:.2f} s")
        idle_bytes = bytes_per_idle_agent(agents, order.seed)
        console.print(f"  {idle_bytes:,.0f} bytes an idle agent")
        measured[agents] = Measured(planned, watched, idle_bytes)
    return measured


def sizes(told: str) -> tuple[int, ...]:
    """As `1000,10000`. Raises `Impossible`."""
    try:
        return tuple(int(one) for one in told.split(","))
    except ValueError as exc:
        raise Impossible(f"{told!r} is not a list of numbers of agents") from exc
