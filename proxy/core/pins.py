"""What operators pin: agents' prefixes, and adapters. It lasts until it is taken back, or its time is over.

Such a pin goes before those that plans make, within a part of the same budget, so that activations keep the rest. It is as
soft as they are: what is pinned leaves last, and never blocks a running call. As all that is done for an agent, it is sent
only while its simulation is on; of one that rests it lasts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice

from .adapters import Adapter
from .agent import Agent
from .config import ControllerConfig
from .engine import Engine
from .model import AdapterName, Mode, Owner, Part
from .simulation import Simulation

LIMIT = 1_024
"""Pins of operators in all, of agents and adapters each."""
SHARE = 0.5
"""Of an engine's budget for pins, and of the slots that may be pinned."""


class Refusal(StrEnum):
    """Why an operator's pin is not taken."""

    NO_MEMORY = "no_memory"
    """No engine has memory of the agent whose size is known."""
    CANNOT_PIN = "cannot_pin"
    """The engine takes no pins, or cannot be reached; or pins are switched off."""
    FULL = "full"
    """The budget is spent."""
    TOO_MANY = "too_many"


@dataclass(frozen=True, slots=True)
class OperatorPin:
    since: float
    until: float
    """May be inf."""
    reason: str
    number: int
    """One more than that of the pin before it."""


@dataclass(frozen=True, slots=True)
class PinRoom:
    """Of operators, where one more pin would be: tokens of an agent's engine, or slots for adapters."""

    pinned: int = 0
    budget: int = 0
    asked: int = 0
    """What the pin in question takes, beyond `pinned`."""
    refusal: Refusal | None = None


class Pins:
    def __init__(self, config: ControllerConfig) -> None:
        self._config = config
        self._agents: dict[Agent, OperatorPin] = {}
        self._of_adapters: dict[Adapter, OperatorPin] = {}
        self._number = 0
        self.next_end = math.inf
        """When time alone ends one."""

    def sizes(self) -> dict[str, int]:
        return {"operator_pins": len(self._agents), "operator_adapter_pins": len(self._of_adapters)}

    # Telling

    def pin(self, agent: Agent, until: float, reason: str, at: float) -> bool:
        """Again: with another end and reason. False if it is refused."""
        if self.room_of(agent).refusal is not None:
            return False
        self._number += 1
        known = self._agents.get(agent)
        number, since = (self._number, at) if known is None else (known.number, known.since)
        self._agents[agent] = OperatorPin(since, until, reason, number)
        self.next_end = min(self.next_end, until)
        agent.pin(True)
        agent.mark()
        return True

    def restore(self, agent: Agent, since: float, until: float, reason: str, at: float) -> None:
        """It was pinned before this process began. Whether there is room its engine will say: all that is granted fits in."""
        if until > at and len(self._agents) < LIMIT:
            self._agents[agent] = self._restored(since, until, reason)
            agent.pin(True)
            agent.mark()

    def restore_adapter(self, adapter: Adapter, since: float, until: float, reason: str, at: float) -> None:
        if until > at and len(self._of_adapters) < LIMIT:
            self._of_adapters[adapter] = self._restored(since, until, reason)

    def _restored(self, since: float, until: float, reason: str) -> OperatorPin:
        self._number += 1
        self.next_end = min(self.next_end, until)
        return OperatorPin(since, until, reason, self._number)

    def unpin(self, agent: Agent) -> None:
        """Nothing if it is not pinned, as after the agent was forgotten."""
        if self._agents.pop(agent, None) is not None:
            agent.pin(False)
            agent.mark()

    def forget(self, simulation: Simulation) -> None:
        """It ended: its agents are forgotten bit by bit."""
        for agent in [one for one in self._agents if one.simulation is simulation]:
            self.unpin(agent)

    def pin_adapter(
        self, adapter: Adapter, engines: Iterable[Engine], until: float, reason: str, at: float
    ) -> bool:
        if self.room_for(adapter, engines).refusal is not None:
            return False
        self._number += 1
        known = self._of_adapters.get(adapter)
        number, since = (self._number, at) if known is None else (known.number, known.since)
        self._of_adapters[adapter] = OperatorPin(since, until, reason, number)
        self.next_end = min(self.next_end, until)
        return True

    def unpin_adapter(self, adapter: Adapter) -> bool:
        return self._of_adapters.pop(adapter, None) is not None

    def tidy(self, at: float) -> bool:
        """Ends those whose time is over. True if a plan is due for that."""
        if at < self.next_end:
            return False
        for agent in [one for one, pin in self._agents.items() if pin.until <= at]:
            self.unpin(agent)
        over = [one for one, pin in self._of_adapters.items() if pin.until <= at]
        for adapter in over:
            del self._of_adapters[adapter]
        left = [*self._agents.values(), *self._of_adapters.values()]
        self.next_end = min((pin.until for pin in left), default=math.inf)
        return bool(over)

    # Asking

    def of(self, agent: Agent) -> OperatorPin | None:
        return self._agents.get(agent)

    def of_adapter(self, adapter: Adapter) -> OperatorPin | None:
        return self._of_adapters.get(adapter)

    def agents_after(self, number: int, limit: int) -> list[tuple[Agent, OperatorPin]]:
        """In the order in which they were pinned first."""
        return list(islice((one for one in self._agents.items() if one[1].number > number), limit))

    @property
    def agents(self) -> Mapping[Agent, OperatorPin]:
        return self._agents

    @property
    def adapters(self) -> dict[Adapter, OperatorPin]:
        return self._of_adapters

    def room_of(self, agent: Agent) -> PinRoom:
        """Whether the agent may be pinned where its memory is."""
        engine = agent.engine
        if engine is None or agent.size_tokens is None:
            return PinRoom(refusal=Refusal.NO_MEMORY)
        if "pin" not in engine.features or Part.PIN not in self._config.parts:
            return PinRoom(refusal=Refusal.CANNOT_PIN)
        budget = self.budget_tokens(engine)
        pinned = sum(
            one.size_tokens or 0 for one in self._agents if one.engine is engine and one is not agent
        )
        refusal = Refusal.FULL if pinned + agent.size_tokens > budget else None
        if agent not in self._agents and len(self._agents) >= LIMIT:
            refusal = Refusal.TOO_MANY
        return PinRoom(pinned, budget, agent.size_tokens, refusal)

    def room_for(self, adapter: Adapter, engines: Iterable[Engine]) -> PinRoom:
        """Whether the adapter may be pinned: on every engine that has slots, since all of them may get it."""
        if Part.PIN not in self._config.parts:
            return PinRoom(refusal=Refusal.CANNOT_PIN)
        slots = [_slots(engine) for engine in engines if "adapters" in engine.features]
        budget = min(slots, default=0)
        if not budget:
            return PinRoom(refusal=Refusal.CANNOT_PIN)
        pinned = sum(one is not adapter for one in self._of_adapters)
        return PinRoom(pinned, budget, 1, Refusal.FULL if pinned >= budget else None)

    def budget_tokens(self, engine: Engine) -> int:
        """Of operators' pins on it."""
        return int(SHARE * int(self._config.pin_share * (engine.capacity_tokens or 0)))

    # Planning

    def granted(self, engine: Engine, modes: Set[Mode]) -> dict[Owner, int]:
        """Who is pinned on the engine now, with their tokens, in the order in which they were pinned. Memory may have grown
        beyond the budget since: then not all are."""
        if not self._agents or Part.PIN not in self._config.parts:
            return {}
        left = self.budget_tokens(engine)
        granted: dict[Owner, int] = {}
        for agent in self._agents:
            size = agent.size_tokens or 0
            if agent.engine is engine and agent.simulation.mode in modes and 0 < size <= left:
                granted[agent.owner] = size
                left -= size
        return granted

    def granted_adapters(self) -> list[AdapterName]:
        """As engines call them, in the order in which they were pinned."""
        return [adapter.key for adapter in self._of_adapters if not adapter.forgotten]


def _slots(engine: Engine) -> int:
    """That operators may pin: one is left for whoever needs another adapter."""
    slots = None if engine.capabilities is None else engine.capabilities.adapter_slots
    return 0 if slots is None or slots < 2 else max(1, int(SHARE * (slots - 1)))
