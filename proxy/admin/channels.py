"""Who looks on: pages that listen, and all of them that look at one simulation together."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass, field

from scalesim.proxy.core.model import AgentName, EngineId, SimulationId, owner_of
from scalesim.proxy.dashboard.field import Field

QUEUED = 30
"""Messages that wait for one listener; with one more it is dropped."""
KEPT = 30
"""Messages that are kept for those who come again."""
AGENTS = 20_000
"""Of one simulation that are shown: those that became known first."""


class Listener:
    """One page that looks on."""

    def __init__(self, first: Iterable[bytes]) -> None:
        """`first` is made bit by bit, as it is taken: a whole field at once would hold up everybody else."""
        self.first = first
        self._queue: asyncio.Queue[bytes | None] = asyncio.Queue(QUEUED + 1)
        self.is_over = False

    def put(self, message: bytes) -> bool:
        """False: it takes too little, and gets no more."""
        if self._queue.qsize() >= QUEUED:
            self.end()
            return False
        self._queue.put_nowait(message)
        return True

    def end(self) -> None:
        """What waits is given up if there is no room even for the end."""
        self.is_over = True
        if self._queue.empty():
            self._queue.put_nowait(None)

    async def messages(self) -> AsyncIterator[bytes]:
        for piece in self.first:
            yield piece
            await asyncio.sleep(0)
        while not self.is_over:
            message = await self._queue.get()
            if message is None:
                return
            yield message


@dataclass(slots=True, eq=False)
class Channel:
    """All who look at one simulation, or (None) at none."""

    simulation: SimulationId | None
    shown: Field = field(default_factory=Field)
    listeners: list[Listener] = field(default_factory=list)
    kept: deque[tuple[int, bytes]] = field(default_factory=lambda: deque(maxlen=KEPT))
    touched: dict[AgentName, None] = field(default_factory=dict)
    """Agents to be looked at."""
    residents: dict[EngineId, frozenset[str]] = field(default_factory=dict)
    """Owners of prefixes on each device, by the last beat."""
    round: Iterator[AgentName] = field(default_factory=lambda: iter(()))
    left_at: float = 0.0
    """When the last listener left."""
    identity: object = None
    """Of the simulation: another one may have the same name."""

    @property
    def prefix(self) -> str:
        """Of its owners."""
        return "" if self.simulation is None else owner_of(self.simulation, AgentName(""))

    def touch(self, names: Iterable[AgentName]) -> None:
        """Whom there is no room for comes in turn, or is not shown at all."""
        for name in names:
            if len(self.touched) < AGENTS and self.may_show(name):
                self.touched[name] = None

    def may_show(self, name: AgentName) -> bool:
        return name in self.shown or len(self.shown) < AGENTS

    def tell(self, number: int, message: bytes) -> None:
        """All who listen, and whoever comes again."""
        self.kept.append((number, message))
        self.listeners = [one for one in self.listeners if one.put(message)]
