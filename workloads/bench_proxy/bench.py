"""Starts all contestants in front of one mock engine, and measures them in turn, round after round.

The proxy that is measured has a core to itself; mock and load generator share another. All other proxies are stopped
meanwhile (SIGSTOP), so that what they do by themselves takes nothing from it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from scalesim.workloads.program import Impossible
from scalesim.workloads.servers import Installation, Server, ServerFailed, Servers, free_port, on_core

from . import generator
from .contestants import Contestant, NotThere
from .figures import Sample
from .loads import Load
from .racers import HOST, Racer, all_going_on_at_the_end, cores, running, started
from .results import DIRECT, Measured, as_json, show

MOCK_S = 30.0
"""For the mock to come up."""
LATE_S = 60.0
"""That a load generator may take beyond what it was told, before it is given up."""


class MeasuringFailed(Exception):
    """The load generator did not say what it found; the text has what it said instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """What is to be measured, and where the results go."""

    contestants: Sequence[Contestant]
    """Without the direct way, which is always measured."""
    loads: Sequence[Load]
    rounds: int
    seconds: float
    """Of each measurement, after its warm-up."""
    warm_up_s: float
    grace_s: float
    """For answers to come after that."""
    seed: int
    named: bool
    """Whether requests say in a header whose they are."""
    out_dir: Path
    json_path: Path

    def __post_init__(self) -> None:
        if (
            not self.loads
            or self.rounds < 1
            or not self.seconds > 0.0
            or min(self.warm_up_s, self.grace_s) < 0.0
        ):
            raise Impossible("there has to be a load, a round and some time")
        if not sys.platform.startswith("linux"):
            raise Impossible("what a proxy uses is read from Linux's /proc, and there is none")


async def bench_proxy(order: Order, console: Console) -> bool:
    """Whether all who were started were there to the end and answered rightly. Raises `ServerFailed` if the mock does not start."""
    which = cores(sorted(os.sched_getaffinity(0)))
    if which.proxy is None:
        console.print(
            "One core alone: proxy, mock and load generator take it from each other.", style="yellow"
        )
    measured = Measured([DIRECT, *(one.name for one in order.contestants)], order.loads)
    with Servers(Installation(), order.out_dir) as servers:
        mock_port = free_port(HOST)
        command = [sys.executable, "-m", "scalesim.workloads.bench_proxy.mock", HOST, str(mock_port)]
        mock = servers.spawn("mock", on_core(which.ends, command), {}, f"http://{HOST}:{mock_port}")
        await servers.healthy(mock, f"{mock.url}/health", MOCK_S)
        racers = [Racer(DIRECT, mock_port, to_the_byte=True, server=None)]
        with all_going_on_at_the_end(racers):
            for contestant in order.contestants:
                with console.status(f"starting {contestant.name}"):
                    try:
                        racer = await started(
                            contestant, servers, _folder(order, contestant), mock.url, which.proxy
                        )
                    except NotThere as exc:
                        measured.missing[contestant.name] = str(exc)
                        continue
                    except ServerFailed as exc:
                        measured.failed[contestant.name] = str(exc)
                        continue
                racer.stop()
                racers.append(racer)
            await _rounds(order, racers, mock, which.ends, measured, console)
    show(measured, order.contestants, console)
    settings = {
        "rounds": order.rounds,
        "seconds": order.seconds,
        "warm_up_s": order.warm_up_s,
        "named": order.named,
    }
    order.json_path.parent.mkdir(parents=True, exist_ok=True)
    order.json_path.write_text(json.dumps(as_json(measured, order.seed, settings), indent=2) + "\n")
    console.print(f"written: {order.json_path}", soft_wrap=True)
    return measured.all_well


async def _rounds(
    order: Order,
    racers: Sequence[Racer],
    mock: Server,
    core: int | None,
    measured: Measured,
    console: Console,
) -> None:
    """Under each load all in turn, each round in an order of its own, so that nobody always comes behind the same one."""
    random = Random(order.seed)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    # By hand: a bar that moves by itself would do so on the core of the load generator.
    with Progress(*columns, console=console, auto_refresh=False) as progress:
        bar = progress.add_task("", total=order.rounds * len(order.loads) * len(racers))
        for _ in range(order.rounds):
            for load in order.loads:
                for racer in random.sample(racers, len(racers)):
                    progress.update(bar, description=f"{racer.name}, {load.name}", refresh=True)
                    measured.add(racer.name, load, await _sample(order, racer, load, mock, core, measured))
                    progress.update(bar, advance=1, refresh=True)


async def _sample(
    order: Order, racer: Racer, load: Load, mock: Server, core: int | None, measured: Measured
) -> Sample | None:
    """None if there is nobody to be measured any more."""
    if racer.name in measured.failed:
        return None
    told = generator.Order(
        host=HOST,
        port=racer.port,
        load=load,
        seed=order.seed,
        named=order.named,
        to_the_byte=racer.to_the_byte,
        warm_up_s=order.warm_up_s,
        seconds=order.seconds,
        grace_s=order.grace_s,
        proxy_pid=racer.pid,
        mock_pid=mock.process.pid,
    )
    sample = None
    with running(racer):
        try:
            sample = await generate(told, core)
        except MeasuringFailed as exc:
            measured.failed[racer.name] = str(exc)
    if (why := racer.end()) is not None:
        measured.failed[racer.name] = why
    return sample


async def generate(order: generator.Order, core: int | None) -> Sample:
    """In a process of its own. Raises `MeasuringFailed`."""
    process = await asyncio.create_subprocess_exec(
        *on_core(core, [sys.executable, "-m", "scalesim.workloads.bench_proxy.generator"]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(order.warm_up_s + order.seconds + order.grace_s + LATE_S):
            found, complaint = await process.communicate(order.to_json().encode())
    except TimeoutError:
        raise MeasuringFailed("the load generator did not end") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        last = complaint.decode(errors="replace").strip().rpartition("\n")[2]
        raise MeasuringFailed(f"the load generator ended with status {process.returncode}: {last}")
    return Sample(**json.loads(found))


def _folder(order: Order, contestant: Contestant) -> Path:
    name = "".join(mark if mark.isalnum() else "-" for mark in contestant.name.lower())
    folder = order.out_dir / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder
