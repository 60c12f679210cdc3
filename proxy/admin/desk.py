"""What the routes of the admin API work with."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Protocol
from weakref import WeakValueDictionary

from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.events import Event, Idled
from scalesim.proxy.core.model import AgentName, SimulationId
from scalesim.proxy.core.snapshot import SimulationSnapshot
from scalesim.proxy.engine_status import EngineStatus, LoadTotal
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.recording_status import RecordingStatus
from scalesim.proxy.settings import Settings

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
    tables: Sequence[Sized]
    settings: Settings
    clock: Callable[[], float]
    began: float
    is_ending: Callable[[], bool] = lambda: False
    """No new calls are taken."""
    recording: Callable[[], RecordingStatus] | None = None
    """None: calls are not recorded."""
    uploads: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(UPLOADS))
    """Bodies in lines that are read at a time."""
    _turns: WeakValueDictionary[SimulationId, asyncio.Lock] = field(default_factory=WeakValueDictionary)

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
            simulation=name,
        )

    def check_simulation(self, name: SimulationId) -> None:
        """As above, for those who only want to know whether there is one."""
        if not self.controller.knows(name):
            self.simulation(name)

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
                simulation=simulation,
                agents=unknown[:SHOWN],
            )

    def check_taken(self, simulation: SimulationId, agents: Iterable[str] = ()) -> None:
        """After something was told of them: raises `Problem` where the core had no room for it."""
        if not self.controller.knows(simulation):
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"there is no room for the simulation {simulation!r}: all that are known have calls running",
                simulation=simulation,
            )
        refused = [name for name in agents if not self.controller.knows(simulation, AgentName(name))]
        if refused:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"there is no room in the simulation {simulation!r} for {some(refused)}; the others were taken",
                simulation=simulation,
                agents=refused[:SHOWN],
            )

    def catch_up(self) -> None:
        """Works out what follows from what was told: in a small town at once, else the planner goes on with it."""
        self.runtime.post(Idled(self.clock()))

    def sizes(self) -> dict[str, int]:
        sizes = {**self.controller.sizes(), **self.runtime.sizes(), **self.fleet.sizes()}
        for table in self.tables:
            sizes.update(table.sizes())
        return sizes
