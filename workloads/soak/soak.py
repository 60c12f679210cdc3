"""Starts an emulated engine and a proxy, has clients ask for a long time, and watches what the proxy holds."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.console import Console

from scalesim.workloads.asking import Asker, Place
from scalesim.workloads.bench_proxy.processes import usage
from scalesim.workloads.builds import Flavour
from scalesim.workloads.checked_calls import Ending, Kind
from scalesim.workloads.emulated import EmulatedInstallation
from scalesim.workloads.engines import http_client
from scalesim.workloads.program import Impossible
from scalesim.workloads.servers import Server, Servers

from .growth import Look, WarmUp, open_files
from .mixture import Sort, Turn, is_as_it_should_be, turns
from .picture import draw
from .results import Rest, Soaked, as_json, show

CAPACITY_TOKENS = 400_000
SMALL = {"SCALESIM_WARM_UP_STORE_MB": "2"}
"""What may fill up is full before growth is looked for: 64 MB of texts would not be."""
PATIENCE_S = 120.0
LOOK_EVERY_S = 10.0
SETTLES_S = 30
"""For what is under way to end, when all clients have gone."""
PAUSE_S = 0.2
"""Of a client whose call was not as it should be, so that a proxy that is gone is not asked a million times."""
MOST_FAULTS = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    minutes: float
    warm_up: WarmUp
    clients: int
    agents: int
    """For which all of them speak."""
    seed: int
    out_dir: Path
    json_path: Path
    png_path: Path
    installation: EmulatedInstallation

    def __post_init__(self) -> None:
        over_s = self.warm_up.seconds or 0.0
        if not 0 <= over_s < self.minutes * 60 or self.clients < 1 or self.agents < 1:
            raise Impossible("there has to be a client, an agent, and some time after the warm-up")
        if missing := self.installation.missing():
            raise Impossible(f"{missing[0]} is missing; `make .venv/.ready` makes it")


@dataclass(slots=True)
class Tally:
    ended: Counter[Sort] = field(default_factory=Counter)
    lost: Counter[Sort] = field(default_factory=Counter)
    """Not as they should be."""
    faults: Counter[str] = field(default_factory=Counter)
    """Why, for some."""
    whole: Counter[int] = field(default_factory=Counter)
    """Answers, by agent."""
    over: bool = False

    def least(self, agents: int) -> int:
        """Whole answers, of the agent that has the fewest."""
        return min(self.whole.values()) if len(self.whole) == agents else 0

    def add(self, turn: Turn, ending: Ending) -> bool:
        self.ended[turn.sort] += 1
        if turn.agent is not None and ending.kind is Kind.RIGHT:
            self.whole[turn.agent] += 1
        well = is_as_it_should_be(turn, ending)
        if not well:
            self.lost[turn.sort] += 1
            fault = f"{turn.sort.value}: {ending.kind.value} {ending.status or ''} {ending.told}"
            if fault in self.faults or len(self.faults) < MOST_FAULTS:
                self.faults[fault] += 1
        return well


async def soak(order: Order, console: Console) -> bool:
    """Whether nothing was lost and nothing grew. Raises `ServerFailed`."""
    with Servers(order.installation, order.out_dir) as servers:
        engine = servers.start_engine("engine", Flavour.EXTENDED, CAPACITY_TOKENS)
        await servers.engine_is_up(engine)
        proxy = await servers.proxy("proxy", engine.url, "on", environment=SMALL)
        began = time.monotonic()
        tally = Tally()
        before = await _rest(proxy)
        looks: list[Look] = []
        place = Place.of(proxy.url)
        asking = [
            asyncio.create_task(_client(place, order, client, tally)) for client in range(order.clients)
        ]
        try:
            until = began + order.minutes * 60
            while (left := until - time.monotonic()) > 0:
                await asyncio.sleep(min(LOOK_EVERY_S, left))
                looks.append(await _look(proxy, began, tally, order.agents))
                _progress(console, looks[-1], tally)
            tally.over = True
            await asyncio.wait(asking, timeout=PATIENCE_S)
        finally:
            for one in asking:
                one.cancel()
            gone = await asyncio.gather(*asking, return_exceptions=True)
        bugs = [one for one in gone if isinstance(one, Exception)]
        if bugs:
            raise bugs[0]
        after = await _settled(proxy, before)
        tracebacks = proxy.log.read_text(errors="replace").count("Traceback")
    soaked = Soaked(
        looks=looks,
        warm_up=order.warm_up,
        ended={one.value: tally.ended[one] for one in Sort},
        lost={one.value: tally.lost[one] for one in Sort},
        faults=dict(tally.faults.most_common()),
        before=before,
        after=after,
        tracebacks=tracebacks,
    )
    show(soaked, console)
    told = as_json(
        soaked,
        order.seed,
        {
            "minutes": order.minutes,
            "clients": order.clients,
            "agents": order.agents,
            "engine": order.installation.notes(),
        },
    )
    for path in (order.json_path, order.png_path):
        path.parent.mkdir(parents=True, exist_ok=True)
    order.json_path.write_text(json.dumps(told, indent=2) + "\n")
    draw(told, soaked, order.png_path)
    console.print(f"written: {order.json_path} and {order.png_path}", soft_wrap=True)
    return soaked.is_well


async def _client(place: Place, order: Order, client: int, tally: Tally) -> None:
    """One call after the other, until it is over."""
    async with Asker(place) as asker:
        for turn in turns(str(place), order.seed, client, order.agents):
            ending = await asker.ask(turn.call, PATIENCE_S, turn.manner, leaves_after_s=turn.leaves_after_s)
            if not tally.add(turn, ending):
                await asyncio.sleep(PAUSE_S)
            if tally.over:
                return


async def _sizes(proxy: Server) -> Mapping[str, int]:
    assert proxy.admin_url is not None
    async with http_client(proxy.admin_url) as http:
        told: dict[str, int] = (
            await http.get(f"{proxy.admin_url}/admin/v1/status", timeout=PATIENCE_S)
        ).json()["sizes"]
        return told


async def _look(proxy: Server, began: float, tally: Tally, agents: int) -> Look:
    try:
        sizes = await _sizes(proxy)
    except httpx.HTTPError as exc:
        tally.faults[f"the admin API: {exc!r}"] += 1
        sizes = {}
    pid = proxy.process.pid
    return Look(
        at_s=time.monotonic() - began,
        rss_mb=usage(pid).rss_mb,
        fds=open_files(pid),
        tables=sizes,
        ended=tally.ended.total(),
        least=tally.least(agents),
    )


async def _rest(proxy: Server) -> Rest:
    sizes = await _sizes(proxy)
    idle = sizes.get("connections_idle", 0)
    in_flight = sum(size for name, size in sizes.items() if name.endswith("_in_flight"))
    return Rest(open_files(proxy.process.pid) - idle, in_flight)


async def _settled(proxy: Server, before: Rest) -> Rest:
    """What it holds when all have gone, once that is as little as before or it had its time."""
    rest = await _rest(proxy)
    for _ in range(SETTLES_S):
        if not rest.leaks_since(before):
            break
        await asyncio.sleep(1.0)
        rest = await _rest(proxy)
    return rest


def _progress(console: Console, look: Look, tally: Tally) -> None:
    console.print(
        f"{look.at_s / 60:6.1f} min  {look.ended:9,} calls  {look.rss_mb:7.1f} MB  {look.fds:5} files"
        f"  {look.least:4} answers at least  {tally.lost.total()} lost",
        highlight=False,
    )
