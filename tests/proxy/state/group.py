"""Members of one group in one process, each with a core and a Redis connection of its own."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import CallEnded, CallStarted, EngineFound, EngineLost, Event
from scalesim.proxy.core.model import (
    AgentName,
    CallId,
    Capabilities,
    EngineId,
    Outcome,
    SimulationId,
    Usage,
)
from scalesim.proxy.core.snapshot import AgentSnapshot
from scalesim.proxy.state.facts import OneModel
from scalesim.proxy.state.member import Member
from scalesim.proxy.state.store import Command, StateAway, Store
from tests.support.patience import PATIENCE_S

TOWN = SimulationId("town")
GPU = EngineId("gpu")
EXTENDED = Capabilities("emulated", "1", True, frozenset({"order", "pin"}), "boot-1", 10_000)


class CutStore(Store):
    """Its connection can be cut, as a network does it to one machine."""

    cut = False
    cuts: str | None = None
    """What is written to such a key does not arrive."""
    writes = 0
    """Of heads, which end each writing."""

    async def write(self, token: int, commands: Sequence[Command]) -> None:
        if self.cuts is not None and any(self.cuts in str(key) for _, key, *_ in commands):
            raise StateAway("cut")
        await super().write(token, commands)
        self.writes += commands[0][1] == self.keys.head

    async def _connected(self) -> None:
        if self.cut:
            raise StateAway("cut")
        await super()._connected()


@dataclass
class Engine:
    """Refuses whoever has a lower fence than one that it has seen."""

    highest: int = 0
    commands: list[tuple[int, str]] = field(default_factory=list)

    def command(self, token: int, who: str) -> bool:
        if token < self.highest:
            return False
        self.highest = token
        self.commands.append((token, who))
        return True


@dataclass
class Fleet(OneModel):
    parts: dict[EngineId, dict[str, object]]
    heard: Mapping[EngineId, Mapping[str, object]] = field(default_factory=dict)
    keys: set[str] = field(default_factory=set)
    """Of those who were said to have moved."""

    def known(self) -> Mapping[EngineId, Mapping[str, object]]:
        return self.parts

    def told(self, engines: Mapping[EngineId, Mapping[str, object]]) -> None:
        self.heard = engines

    def moved(self, keys: Iterable[str]) -> None:
        self.keys.update(keys)


class Proxy:
    """What the runtime is to a member. Its lease lasts longer than usual, unless that is what is tested: the machine may be busy with
    other things."""

    def __init__(
        self,
        name: str,
        url: str,
        group: str = "test",
        ttl_s: float = 4.0,
        number: int | None = None,
        edges: int = 1_000,
    ) -> None:
        self.name = name
        self.controller = Controller(ControllerConfig(guard=False, edge_limit=edges))
        self.events: list[Event] = []
        self.roles: list[tuple[float, int | None]] = []
        self.fleet = Fleet({GPU: {"part": 1.0}})
        self.ahead_s = 0.0
        """Of the time, for the member."""
        self.store = CutStore(url, group, name)
        self.member = Member(
            self.store,
            self.controller,
            self.handle,
            self,
            lambda: time.monotonic() + self.ahead_s,
            engines=self.fleet,
            url=f"http://{name}",
            ttl_s=ttl_s,
            number=number,
        )
        self.task: asyncio.Task[None] | None = None
        self._calls = self.member.first_call

    def handle(self, event: Event) -> None:
        self.events.append(event)
        self.controller.handle(event)

    def take(self, token: int) -> None:
        self.roles.append((time.monotonic(), token))
        self.handle(EngineFound(time.monotonic(), GPU, EXTENDED))

    def release(self, why: str) -> None:
        self.roles.append((time.monotonic(), None))
        self.handle(EngineLost(time.monotonic(), GPU, why))

    # What a relay does

    def start(self, agent: str, engine: EngineId = GPU) -> CallId:
        self._calls += 1
        call = CallId(self._calls)
        self.member.post(CallStarted(time.monotonic(), call, TOWN, AgentName(agent), engine))
        return call

    def end(self, call: CallId, prompt: int = 90) -> None:
        self.member.post(CallEnded(time.monotonic(), call, Outcome.DONE, Usage(prompt, 0, 10)))

    def call(self, agent: str, prompt: int = 90, engine: EngineId = GPU) -> None:
        self.end(self.start(agent, engine), prompt)

    # Reading

    def heard(self, *kinds: type[Any]) -> list[Any]:
        return [one for one in self.events if isinstance(one, kinds)]

    def names(self) -> set[str]:
        return set(self.controller.keeping.agents(TOWN))

    def agents(self) -> dict[str, AgentSnapshot]:
        """All of them: not to be asked for again and again."""
        return {one.name: one for one in self.controller.agents(TOWN)}

    def runs(self, agent: str) -> int | None:
        known = self.controller.agent(TOWN, AgentName(agent))
        return None if known is None else known.running_calls

    async def crash(self) -> None:
        """As kill -9 does it: nobody is told."""
        self.store.cut = True
        assert self.task is not None
        self.task.cancel()
        await asyncio.wait({self.task})


async def until(met: Callable[[], object], what: str = "") -> None:
    """Waits for a condition that other processes bring about."""
    end = time.monotonic() + PATIENCE_S
    while not met():
        assert time.monotonic() < end, f"it never came: {what}"
        await asyncio.sleep(0.002)


@asynccontextmanager
async def running(*proxies: Proxy) -> AsyncIterator[None]:
    try:
        for one in proxies:
            one.task = asyncio.create_task(one.member.run())
        yield
    finally:
        for one in proxies:
            if one.task is not None:
                one.task.cancel()
        await asyncio.wait({one.task for one in proxies if one.task is not None})
        for one in proxies:
            await one.store.close()


def leaders(proxies: Sequence[Proxy]) -> list[Proxy]:
    return [one for one in proxies if one.member.may_command()]


async def leader_of(*proxies: Proxy) -> Proxy:
    await until(lambda: leaders(proxies), "a leader")
    found = leaders(proxies)
    assert len(found) == 1
    return found[0]
