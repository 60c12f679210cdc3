"""Of whom something else is known by an event: whoever is to be written down anew. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping

from scalesim.proxy.core.events import (
    ActionStarted,
    Activated,
    AdapterAssigned,
    AgentLeft,
    CallStarted,
    DistanceHinted,
    Event,
    HostCopySet,
    Interacted,
    Moved,
    Rehomed,
    SimulationEnded,
)
from scalesim.proxy.core.model import AgentName, SimulationId

Whom = tuple[SimulationId, AgentName]

WAITING = 400_000


def concerned(event: Event) -> Iterable[AgentName]:
    """Agents of its simulation; of ended calls the caller knows them."""
    match event:
        case CallStarted(agent=agent) if agent is not None:
            return (agent,)
        case ActionStarted(agent=agent) | Rehomed(agent=agent) | AgentLeft(agent=agent):
            return (agent,)
        case AdapterAssigned(agent=agent):
            return (agent,)
        case HostCopySet(agent=agent) if agent is not None:
            return (agent,)
        case DistanceHinted(distances=told):
            return told
        case Moved(motions=motions):
            return motions
        case Interacted(pairs=pairs):
            return [name for pair in pairs for name in pair]
        case Activated(agents=agents):
            return agents
    return ()


class Changed:
    """Agents and simulations that wait to be written down, who changed first comes first. Beyond the limit the first are written when
    they change again."""

    def __init__(self, limit: int = WAITING) -> None:
        self._limit = limit
        self._agents: OrderedDict[Whom, None] = OrderedDict()
        self._simulations: dict[SimulationId, None] = {}

    def __len__(self) -> int:
        return len(self._agents)

    def note(self, simulation: SimulationId, agents: Iterable[AgentName] = ()) -> None:
        self._simulations[simulation] = None
        for agent in agents:
            self._agents.setdefault((simulation, agent))
        while len(self._agents) > self._limit:
            self._agents.popitem(last=False)

    def follow(self, event: Event) -> None:
        simulation: SimulationId | None = getattr(event, "simulation", None)
        if isinstance(event, SimulationEnded):
            self.end(event.simulation)
        elif simulation is not None:
            self.note(simulation, concerned(event))

    def end(self, simulation: SimulationId) -> None:
        for whom in [one for one in self._agents if one[0] == simulation]:
            del self._agents[whom]
        self._simulations[simulation] = None

    def everybody(self, known: Mapping[SimulationId, Iterable[AgentName]]) -> None:
        for simulation, agents in known.items():
            self.note(simulation, agents)

    def take_agents(self, most: int) -> list[Whom]:
        taken: list[Whom] = []
        while self._agents and len(taken) < most:
            taken.append(self._agents.popitem(last=False)[0])
        return taken

    def simulations(self) -> list[SimulationId]:
        return list(self._simulations)

    def written(self, simulation: SimulationId) -> None:
        self._simulations.pop(simulation, None)
