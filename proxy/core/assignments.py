"""What operators tell: adapters, the agents to which they are assigned, pins, and copies in host memory."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from .adapters import Adapter, Adapters
from .agent import Agent
from .asks import Asks
from .counters import Totals
from .engine import Engine
from .events import (
    AdapterAsked,
    AdapterAssigned,
    AdapterForgotten,
    AdapterLetGo,
    AdapterPinned,
    AdapterRegistered,
    AdapterUnpinned,
    AgentPinned,
    AgentUnpinned,
    HostCopySet,
)
from .model import LORA, AdapterName, EngineId, MemoryId
from .pins import Pins
from .population import Population


class Assignments:
    def __init__(
        self,
        adapters: Adapters,
        population: Population,
        pins: Pins,
        engines: Mapping[EngineId, Engine],
        kinds: Collection[str],
        totals: Totals,
    ) -> None:
        self._adapters = adapters
        self._population = population
        self._pins = pins
        self._engines = engines
        self._kinds = frozenset(kinds)
        """Of memory: their names."""
        self._totals = totals

    def register(self, event: AdapterRegistered) -> None:
        adapter = self._adapters.register(event.name, event.path)
        if adapter is None:
            self._totals.refused += 1
            return
        for engine in self._engines.values():
            engine.loads.renew(MemoryId(LORA, adapter.key))
            engine.hosting.renew(adapter.key)
        self._population.mark_all()
        if adapter.assigned:
            self._ask_for(adapter)

    def forget_adapter(self, event: AdapterForgotten) -> None:
        adapter = self._adapters.forget(event.name)
        if adapter is None:
            return
        # Operators seldom do that: it may cost as much as there are agents.
        for simulation in [*self._population.simulations.values(), *self._population.leaving]:
            for agent in simulation.agents.values() if simulation.assigned else ():
                if agent.assigned is adapter:
                    agent.assign(None)
        self._pins.unpin_adapter(adapter)
        self._population.mark_all()

    def rename_adapter(self, engine: Engine, key: AdapterName) -> None:
        """The engine has that name from another path, so ours must be called something else."""
        adapter = self._adapters.by_key.get(key)
        if adapter is None or not self._adapters.rename(adapter, engine.hosting.held):
            return
        engine.hosting.renew(key)
        self._population.mark_all()
        if adapter.assigned:
            self._ask_for(adapter)

    def assign(self, event: AdapterAssigned, at: float) -> None:
        adapter = None if event.name is None else self._adapters.current.get(event.name)
        if adapter is None and event.name is not None:
            self._totals.refused += 1
            return
        simulation = self._population.simulation(event.simulation, at)
        agent = None if simulation is None else self._population.agent(simulation, event.agent)
        if agent is None or agent.assigned is adapter:
            return
        agent.assign(adapter)
        self.expect(agent)
        agent.mark()
        if adapter is not None:
            self._ask_for(adapter)

    def expect(self, agent: Agent) -> None:
        """Where there is but one engine, an agent with an assigned adapter has memory on it before its first call."""
        if agent.engine is None and agent.assigned is not None and len(self._engines) == 1:
            agent.move(next(iter(self._engines.values())))

    def _ask_for(self, adapter: Adapter) -> None:
        """It is to be fetched by every engine: nobody knows to which its agents' first calls go."""
        for engine in self._engines.values():
            if "fetch_adapters" in engine.features and not engine.hosting.has(adapter):
                engine.hosting.ask(adapter.key)
                engine.dirty = True

    def ask_for_assigned(self) -> None:
        for adapter in self._adapters.current.values():
            if adapter.assigned:
                self._ask_for(adapter)

    def let_adapters_go(self) -> None:
        """Forgets those that were to be dropped and are on no engine any more."""
        engines = self._engines.values()
        gone = [key for key in self._adapters.leaving if not any(engine.may_hold(key) for engine in engines)]
        self._adapters.gone(gone)

    def set_host_copy(self, event: HostCopySet, at: float) -> None:
        if event.kind not in self._kinds:
            self._totals.refused += 1
            return
        simulation = self._population.simulation(event.simulation, at)
        if simulation is None:
            return
        if event.agent is None:
            simulation.host_copy[event.kind] = event.wanted
            self._population.mark_all()
            return
        agent = self._population.agent(simulation, event.agent)
        if agent is not None:
            agent.host_copy = {**(agent.host_copy or {}), event.kind: event.wanted}
            agent.mark()

    def pin(self, event: AgentPinned, at: float) -> None:
        """Whoever asks for it looks first whether there is room."""
        simulation = self._population.seen(event.simulation, at)
        agent = None if simulation is None else simulation.agents.get(event.agent)
        if agent is None or not self._pins.pin(agent, at + event.for_s, event.reason, at):
            self._totals.refused += 1

    def unpin(self, event: AgentUnpinned) -> None:
        simulation = self._population.simulations.get(event.simulation)
        agent = None if simulation is None else simulation.agents.get(event.agent)
        if agent is not None:
            self._pins.unpin(agent)

    def pin_adapter(self, event: AdapterPinned, at: float) -> None:
        adapter = self._adapters.current.get(event.name)
        engines = self._engines.values()
        if adapter is None or not self._pins.pin_adapter(
            adapter, engines, at + event.for_s, event.reason, at
        ):
            self._totals.refused += 1
        else:
            self._population.mark_all()

    def unpin_adapter(self, event: AdapterUnpinned) -> None:
        adapter = self._adapters.current.get(event.name)
        if adapter is not None and self._pins.unpin_adapter(adapter):
            self._population.mark_all()

    def ask_for_adapter(self, event: AdapterAsked, asks: Asks, at: float) -> None:
        adapter = self._adapters.current.get(event.name)
        if adapter is None or not asks.ask_for(adapter, at, event.for_s):
            self._totals.refused += 1
            return
        if event.for_s > 0.0:
            for engine in self._engines.values():
                engine.loads.renew(MemoryId(LORA, adapter.key))
                engine.hosting.renew(adapter.key)
        self._population.mark_all()

    def let_adapter_go(self, event: AdapterLetGo, at: float) -> None:
        """Nothing of one that is assigned: a call that names an adapter which the engine does not know fails."""
        adapter = self._adapters.current.get(event.name)
        if adapter is None or adapter.assigned:
            self._totals.refused += 1
            return
        for engine in self._engines.values():
            if adapter.key in engine.hosting.held:
                engine.hosting.unwanted[adapter.key] = at + event.for_s
                engine.dirty = True
