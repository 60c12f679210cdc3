"""What the routes of the admin API work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol
from weakref import WeakValueDictionary

from scalesim.proxy.action_log import ActionLog
from scalesim.proxy.configuration import Configuration
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.events import Event, Idled
from scalesim.proxy.core.model import AgentName, EngineId, SimulationId
from scalesim.proxy.core.snapshot import AdapterSnapshot, AgentSnapshot, SimulationSnapshot
from scalesim.proxy.engine_status import EngineStatus, LoadTotal
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.engines.registry import Entry
from scalesim.proxy.group_status import MemberStatus
from scalesim.proxy.histogram import Histogram
from scalesim.proxy.observed import Observed
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.recording_status import RecordingStatus
from scalesim.proxy.settings import Settings

from .operations import Operations
from .problem_types import ProblemType
from .problems import SHOWN, Problem, some


class Loop(Protocol):
    """The runtime, as far as it concerns the admin API."""

    @property
    def plans(self) -> int: ...

    @property
    def planning_s(self) -> float: ...

    @property
    def actions(self) -> Mapping[tuple[str, str], int]:
        """By kind and result."""
        ...

    @property
    def loads(self) -> Mapping[tuple[str, str], LoadTotal]:
        """By kind of memory, and state or result."""
        ...

    @property
    def rounds(self) -> Histogram: ...

    @property
    def load_times(self) -> Mapping[str, Histogram]:
        """By kind of memory."""
        ...

    @property
    def failures(self) -> Mapping[str, int]: ...

    def post(self, event: Event) -> None: ...

    def overhear(self, listener: Callable[[Event], None]) -> Callable[[], None]:
        """Tells `listener` each event, until what is returned is called."""
        ...

    def engines(self) -> Sequence[EngineStatus]: ...

    def sizes(self) -> Mapping[str, int]: ...


class Sized(Protocol):
    def sizes(self) -> Mapping[str, int]: ...


UPLOADS = 4


@dataclass(frozen=True, slots=True)
class Desk:
    runtime: Loop
    controller: Controller
    fleet: Fleet
    callers: Ladder
    relay: Sized
    """Which carries the calls."""
    tables: Sequence[Sized]
    """All others."""
    configuration: Configuration
    clock: Callable[[], float]
    began: float
    operations: Operations
    action_log: ActionLog
    is_ending: Callable[[], bool] = lambda: False
    """No new calls are taken."""
    recording: Callable[[], RecordingStatus | None] = lambda: None
    """None: calls are not recorded."""
    group: Callable[[], MemberStatus] | None = None
    """None: this process serves alone."""
    tell: Callable[[Event], None] | None = None
    """Takes what operators and simulations tell, if it is not the loop."""
    observed: Observed = field(default_factory=Observed)
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS))
    """Bodies in lines that are read at a time."""
    _turns: WeakValueDictionary[SimulationId, asyncio.Lock] = field(default_factory=WeakValueDictionary)

    def post(self, event: Event) -> None:
        (self.tell or self.runtime.post)(event)

    @property
    def settings(self) -> Settings:
        """In force."""
        return self.configuration.settings

    def turn(self, simulation: SimulationId) -> asyncio.Lock:
        """What is told of a simulation in many pieces is taken one call after the other: a step that began in between
        would give the rest another meaning."""
        turn = self._turns.get(simulation)
        if turn is None:
            turn = self._turns[simulation] = asyncio.Lock()
        return turn

    def simulation(self, name: str) -> SimulationSnapshot:
        """Raises `Problem` for one that neither called nor was created."""
        known = self.controller.simulation(SimulationId(name))
        if known is not None:
            return known
        raise Problem(
            HTTPStatus.NOT_FOUND,
            f"the simulation {name!r} is not known: it has made no call, and nobody has created it with "
            f"PUT /admin/v1/simulations/{name}",
            ProblemType.UNKNOWN_SIMULATION,
            simulation=name,
        )

    def check_simulation(self, name: SimulationId) -> None:
        """As above, for those who only want to know whether there is one."""
        if not self.controller.knows(name):
            self.simulation(name)

    def agent(self, simulation: SimulationId, name: str) -> AgentSnapshot:
        """Raises `Problem` for an unknown one, or an unknown simulation."""
        self.check_simulation(simulation)
        known = self.controller.agent(simulation, AgentName(name))
        if known is None:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                f"not known in the simulation {simulation!r}: {name!r}",
                ProblemType.UNKNOWN_AGENT,
                simulation=simulation,
                agents=[name],
            )
        return known

    def adapter(self, name: str) -> AdapterSnapshot:
        """Raises `Problem` for one that is not registered."""
        known = self.controller.adapter(name)
        if known is None:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                f"the adapter {name!r} is not registered; PUT /admin/v1/adapters/{name} does that",
                ProblemType.UNKNOWN_ADAPTER,
                adapters=[name],
            )
        return known

    def check_engine(self, name: str) -> Entry:
        """Raises `Problem` for one that is not registered."""
        entry = self.fleet.registry.get(EngineId(name))
        if entry is None:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                f"no engine is called {name!r}; POST /admin/v1/engines registers one",
                ProblemType.UNKNOWN_ENGINE,
                engine=name,
            )
        return entry

    def check_known(self, simulation: SimulationId, agents: Iterable[str], *, create: bool) -> None:
        """Raises `Problem`: for an unknown simulation, and for unknown agents unless they are to be created."""
        self.check_simulation(simulation)
        if create:
            return
        unknown = [name for name in agents if not self.controller.knows(simulation, AgentName(name))]
        if unknown:
            raise Problem(
                HTTPStatus.NOT_FOUND,
                f"not known in the simulation {simulation!r}: {some(unknown)}; nothing was changed "
                '("create_agents": true takes them)',
                ProblemType.UNKNOWN_AGENT,
                simulation=simulation,
                agents=unknown[:SHOWN],
            )

    def check_taken(self, simulation: SimulationId, agents: Iterable[str] = ()) -> None:
        """After something was told of them: raises `Problem` where the core had no room for it."""
        if not self.controller.knows(simulation):
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"there is no room for the simulation {simulation!r}: all that are known have calls running",
                ProblemType.NO_ROOM,
                simulation=simulation,
            )
        refused = [name for name in agents if not self.controller.knows(simulation, AgentName(name))]
        if refused:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"there is no room in the simulation {simulation!r} for {some(refused)}; the others were taken",
                ProblemType.NO_ROOM,
                simulation=simulation,
                agents=refused[:SHOWN],
            )

    def catch_up(self) -> None:
        """Works out what follows from what was told: in a small town at once, else the planner goes on with it."""
        self.runtime.post(Idled(self.clock()))

    def sizes(self) -> dict[str, int]:
        sizes = {**self.controller.sizes(), **self.runtime.sizes(), **self.fleet.sizes()}
        for table in (self.relay, *self.tables):
            sizes.update(table.sizes())
        return sizes
