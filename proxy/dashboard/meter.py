"""What is measured while somebody looks on, from the events that the core is told: where the time of calls goes, and what
loads ahead were good for. Nothing is measured while nobody does."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, NamedTuple

from scalesim.proxy.core.actions import Load
from scalesim.proxy.core.events import CallEnded, CallSent, CallStarted, Event, Settled
from scalesim.proxy.core.model import KV_PREFIX, AgentName, CallId, LoadState, Owner, SimulationId, owner_of

CALLS = 65_536
"""That are followed at a time."""
LOADS = 8_192
"""Whose use is waited for; beyond it the oldest is taken for unused."""


class _Running(NamedTuple):
    simulation: SimulationId
    agent: AgentName | None
    started_at: float
    sent_at: float


class Meter:
    def __init__(self) -> None:
        self._calls: OrderedDict[CallId, _Running] = OrderedDict()
        self._loaded: OrderedDict[Owner, None] = OrderedDict()
        """Prefixes that were brought to a device and of which no call has come since."""
        self.ended = 0
        """Calls that were followed from beginning to end."""
        self.waited_s = 0.0
        """Of these: until they were sent to the engine that answered them."""
        self.served_s = 0.0
        """From then until their end."""
        self.brought = 0
        """Prefixes that loads ahead have brought."""
        self.used = 0
        """Of these: their agent called while they were there."""
        self.unused = 0
        """They left before that."""

    def hear(self, event: Event) -> tuple[SimulationId, AgentName] | None:
        """Who called, if this is the beginning or the end of a call."""
        match event:
            case CallStarted(at=at, call=call, simulation=simulation, agent=agent):
                self._calls[call] = _Running(simulation, agent, at, at)
                if len(self._calls) > CALLS:
                    self._calls.popitem(last=False)
                if agent is None:
                    return None
                if self._loaded and owner_of(simulation, agent) in self._loaded:
                    del self._loaded[owner_of(simulation, agent)]
                    self.used += 1
                return simulation, agent
            case CallSent(at=at, call=call) if call in self._calls:
                self._calls[call] = self._calls[call]._replace(sent_at=at)
            case CallEnded(at=at, call=call) if call in self._calls:
                running = self._calls.pop(call)
                self.ended += 1
                self.waited_s += running.sent_at - running.started_at
                self.served_s += at - running.sent_at
                return None if running.agent is None else (running.simulation, running.agent)
            case Settled(action=Load(memory=memory), result=result) if (
                result is not None and result.state is LoadState.LOADED and memory.kind == KV_PREFIX
            ):
                self._bring(Owner(memory.key))
        return None

    def left(self, owner: Owner) -> None:
        """Its prefix is on the device no more."""
        if owner in self._loaded:
            del self._loaded[owner]
            self.unused += 1

    def told(self) -> dict[str, Any]:
        return {
            "calls": self.ended,
            "waited_s": round(self.waited_s, 3),
            "served_s": round(self.served_s, 3),
            "brought": self.brought,
            "used": self.used,
            "unused": self.unused,
        }

    def sizes(self) -> dict[str, int]:
        return {"watched_calls": len(self._calls), "watched_loads": len(self._loaded)}

    def _bring(self, owner: Owner) -> None:
        if owner in self._loaded:
            return
        self.brought += 1
        self._loaded[owner] = None
        if len(self._loaded) > LOADS:
            self._loaded.popitem(last=False)
            self.unused += 1
