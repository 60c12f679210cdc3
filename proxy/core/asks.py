"""What operators ask to have on the device now: an agent's memory, or an adapter.

For a while it is taken to be needed next, so all that follows from a distance follows from that: its place in the order, the
load ahead, its adapter. It may take the room of what is farther, as any load may, and no other.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from .adapters import Adapter
from .agent import Agent, Asked
from .model import AdapterName, LoadState, MemoryId

LIMIT = 64
"""Agents, and adapters, at a time."""


@dataclass(slots=True)
class Ask:
    asked: Asked
    memories: Sequence[MemoryId]
    results: dict[MemoryId, LoadState | None] = field(default_factory=dict)
    """How the last load of each ended since; None: it failed."""


class Asks:
    def __init__(self) -> None:
        self._agents: dict[Agent, Ask] = {}
        self._adapters: dict[Adapter, Asked] = {}
        self.next_end = math.inf
        """When time alone ends one."""

    def sizes(self) -> dict[str, int]:
        return {"asked_agents": len(self._agents), "asked_adapters": len(self._adapters)}

    def ask(self, agent: Agent, memories: Sequence[MemoryId], at: float, for_s: float) -> bool:
        """0 seconds take it back. False if there are too many."""
        self._agents.pop(agent, None)
        agent.asked = None
        if for_s <= 0.0:
            return True
        self.tidy(at)
        if len(self._agents) >= LIMIT:
            return False
        agent.asked = Asked(at, at + for_s)
        self._agents[agent] = Ask(agent.asked, memories)
        self._set_next_end()
        return True

    def ask_for(self, adapter: Adapter, at: float, for_s: float) -> bool:
        self._adapters.pop(adapter, None)
        if for_s > 0.0:
            self.tidy(at)
            if len(self._adapters) >= LIMIT:
                return False
            self._adapters[adapter] = Asked(at, at + for_s)
        self._set_next_end()
        return True

    def of(self, agent: Agent) -> Ask | None:
        """None as well where its agent has called since."""
        ask = self._agents.get(agent)
        return ask if ask is not None and ask.asked is agent.asked else None

    def adapters(self, at: float) -> list[AdapterName]:
        """As engines call them."""
        asked = self._adapters.items()
        return [adapter.key for adapter, one in asked if at < one.until and not adapter.forgotten]

    def settled(self, memory: MemoryId, state: LoadState | None) -> None:
        for ask in self._agents.values():
            if memory in ask.memories:
                ask.results[memory] = state

    def tidy(self, at: float) -> None:
        """Ends those whose time is over, and forgets those of agents that called since."""
        for agent, ask in list(self._agents.items()):
            if agent.gone or ask.asked.until <= at or agent.asked is not ask.asked:
                del self._agents[agent]
                if agent.asked is ask.asked:
                    agent.asked = None
                    agent.mark()
        for adapter, asked in list(self._adapters.items()):
            if adapter.forgotten or asked.until <= at:
                del self._adapters[adapter]
        self._set_next_end()

    def _set_next_end(self) -> None:
        asked = [*(one.asked for one in self._agents.values()), *self._adapters.values()]
        self.next_end = min((one.until for one in asked), default=math.inf)
