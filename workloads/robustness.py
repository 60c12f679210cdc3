"""`robustness`: what wrong distances cost, with the guard and without it, and whether the guard keeps its promise."""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import signal
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scalesim.proxy.core.config import ControllerConfig

from .machine import command, commit, machine
from .noise import noisy
from .program import Program, Wishes
from .robustness_lies import CURVES, Curve, Lie, all_lies
from .robustness_picture import draw
from .robustness_play import PARTS, Played, Prompts, play
from .robustness_report import Robustness
from .robustness_results import Pair, Yardstick
from .room import Room, room
from .scenarios import scenario


@dataclass(frozen=True, slots=True)
class Order:
    scenario: str
    wishes: Wishes
    room: float
    """Share of the agents' prefixes that fits."""
    jobs: int
    """Lies that are played at a time, each in a process of its own."""
    json_path: Path
    png_path: Path
    curves: tuple[Curve, ...] = CURVES


@dataclass(frozen=True, slots=True)
class Ground:
    """What is played, whatever is told. Each process makes it anew from the order: that is quicker than to send it."""

    program: Program
    prompts: Prompts
    room: Room
    fits: int
    """Memories."""

    @classmethod
    def of(cls, order: Order) -> Ground:
        """Raises `Impossible`."""
        program = scenario(order.scenario).generate(order.wishes)
        fits = int(order.room * len(program.agents))
        return cls(program, Prompts(), room(program, order.wishes, order.room), fits)

    @property
    def capacity_tokens(self) -> int:
        return self.room.capacity_tokens

    def told(self, lie: Lie, *, guard: bool) -> Played:
        wrong = noisy(self.program, lie.noise)
        config = ControllerConfig(guard=guard, parts=PARTS, distance="hinted" if lie.believed else "blend")
        told, against = (self.program, wrong) if lie.flips else (wrong, None)
        return play(told, self.prompts, self.capacity_tokens, config, against)


def measure_untold(order: Order) -> Yardstick:
    ground = Ground.of(order)
    recency = play(ground.program, ground.prompts, ground.capacity_tokens, None)
    return Yardstick(ground.program, ground.prompts, ground.capacity_tokens, ground.fits, recency)


def play_both(order: Order, lie: Lie) -> tuple[Played, Played]:
    """With the guard and without it."""
    ground = Ground.of(order)
    return ground.told(lie, guard=True), ground.told(lie, guard=False)


async def robustness(order: Order, console: Console) -> bool:
    """Plays, prints and writes everything. True if the guard kept its promise in every play. Raises `Impossible`."""
    ground = Ground.of(order)
    lies = all_lies(order.curves, order.wishes.seed)
    console.print(
        f"{len(lies)} ways to tell distances, each with the guard and without it. Room: {ground.room}."
    )
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    loop = asyncio.get_running_loop()
    pool = ProcessPoolExecutor(order.jobs, initializer=_end_at_once)
    try:
        with Progress(*columns, console=console) as progress:
            bar = progress.add_task("playing", total=len(lies) + 1)
            measuring = loop.run_in_executor(pool, measure_untold, order)
            playing = {lie: loop.run_in_executor(pool, play_both, order, lie) for lie in lies}
            measuring.add_done_callback(lambda _: progress.advance(bar))
            for future in playing.values():
                future.add_done_callback(lambda _: progress.advance(bar))
            yardstick = await measuring
            played = {lie: await future for lie, future in playing.items()}
    except asyncio.CancelledError:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    result = Robustness(
        command=command(),
        commit=commit(),
        machine=machine(),
        scenario=order.scenario,
        wishes=order.wishes,
        capacity_tokens=ground.capacity_tokens,
        capacity=str(ground.room),
        fits=ground.fits,
        curves=order.curves,
        recency=yardstick.recency,
        told={lie: Pair(*map(yardstick.measure, both)) for lie, both in played.items()},
    )
    order.json_path.parent.mkdir(parents=True, exist_ok=True)
    order.json_path.write_text(json.dumps(result.as_json(), indent=2) + "\n")
    order.png_path.parent.mkdir(parents=True, exist_ok=True)
    draw(result, order.png_path)
    result.print(console)
    for path in (order.json_path, order.png_path):
        console.print(f"written: {path}", soft_wrap=True)
    return result.ok


def _end_at_once() -> None:
    """For a process of the pool, which inherits handlers that end nothing there."""
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
