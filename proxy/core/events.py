"""What the core is told. Past tense; `at` is in seconds on the proxy's monotonic clock, and never goes back.

The shell posts these with `Controller.handle`. An event for an unknown simulation or agent creates it. Nobody changes one; those
of calls are not frozen nevertheless, as to make a frozen one takes six times as long.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from .actions import Action
from .durations import Reading
from .model import (
    AdapterName,
    AgentName,
    CallId,
    Capabilities,
    Clock,
    EngineId,
    EngineReport,
    LoadResult,
    Mode,
    Outcome,
    SimulationId,
    Usage,
)
from .space import Motion, SpaceRules


@dataclass(slots=True)
class CallStarted:
    """A request has come and was recognised, and is meant for `engine`. `agent` is None for an unknown caller."""

    at: float
    call: CallId
    simulation: SimulationId
    agent: AgentName | None
    engine: EngineId
    adapter: AdapterName | None = None
    """What the request runs on; None: the base model."""
    moves: bool = True
    """The agent's memory is to be on that engine from now on. Else this call alone goes there, and it stays where it is."""
    beginning: str | None = None
    """A name for how its prompt begins, as far as others may begin alike."""


@dataclass(slots=True)
class CallSent:
    """A call that runs is sent only now, as it had to wait for its turn, or to another engine, as the first one failed: what
    its `CallStarted` said holds no more. Most calls are sent at once, and this is not told of them."""

    at: float
    call: CallId
    engine: EngineId
    adapter: AdapterName | None = None
    moves: bool = True


@dataclass(slots=True)
class CallEnded:
    """Ends exactly one `CallStarted`. `acts_for` is what the request said of the time after it, if it did; `said`, what
    was read of it in the text of the answer, after which more calls may follow at once, unless the activation `ends`."""

    at: float
    call: CallId
    outcome: Outcome
    usage: Usage | None = None
    acts_for: tuple[float, Clock] | None = None
    said: tuple[float, Clock] | None = None
    ends: bool = False


@dataclass(frozen=True, slots=True)
class DistanceHinted:
    """The simulation says how soon agents call next: distances from now (`at`, or the current step), >= 0, may be inf."""

    at: float
    simulation: SimulationId
    clock: Clock
    distances: Mapping[AgentName, float]


@dataclass(frozen=True, slots=True)
class ActionStarted:
    """The agent acts in the simulated world for `duration` from now on and does not call meanwhile."""

    at: float
    simulation: SimulationId
    agent: AgentName
    duration: float
    clock: Clock


@dataclass(frozen=True, slots=True)
class StepTicked:
    """The simulation is now in step `step` (None: the next one)."""

    at: float
    simulation: SimulationId
    step: float | None = None


@dataclass(frozen=True, slots=True)
class ReadingSet:
    """How the answers of the simulation are read. None: as those of all for which nothing was set."""

    at: float
    simulation: SimulationId
    reading: Reading | None


@dataclass(frozen=True, slots=True)
class SpaceSet:
    """The simulation's agents have places. Other rules than before: all positions are forgotten."""

    at: float
    simulation: SimulationId
    rules: SpaceRules


@dataclass(frozen=True, slots=True)
class SpaceCleared:
    """The simulation's agents have no places any more."""

    at: float
    simulation: SimulationId


@dataclass(frozen=True, slots=True)
class Moved:
    """Where these agents are now, and where they head for."""

    at: float
    simulation: SimulationId
    motions: Mapping[AgentName, Motion]


@dataclass(frozen=True, slots=True)
class Interacted:
    """These have just interacted, and will not do so again before their cooldown is over."""

    at: float
    simulation: SimulationId
    pairs: Sequence[tuple[AgentName, AgentName]]


@dataclass(frozen=True, slots=True)
class EdgesGiven:
    """Along these edges activations spread, a hop a step. They add to those that were given before."""

    at: float
    simulation: SimulationId
    edges: Sequence[tuple[AgentName, AgentName]]
    directed: bool = False
    """Only from the first of each pair to the second."""


@dataclass(frozen=True, slots=True)
class GraphCleared:
    """The simulation's graph is forgotten, with all waves on it."""

    at: float
    simulation: SimulationId


@dataclass(frozen=True, slots=True)
class Activated:
    """A wave reaches these agents in the current step, or begins with them: they call now, and those that their edges
    lead to in the steps after. Within one wave an agent is expected once."""

    at: float
    simulation: SimulationId
    agents: Sequence[AgentName]
    wave: str = ""


@dataclass(frozen=True, slots=True)
class Rehomed:
    """An agent that calls late got another home while it did not call: its next call goes there, and what it has elsewhere is of
    no use any more. Nothing happens to one that calls meanwhile."""

    at: float
    simulation: SimulationId
    agent: AgentName
    engine: EngineId


@dataclass(frozen=True, slots=True)
class AgentLeft:
    at: float
    simulation: SimulationId
    agent: AgentName


@dataclass(frozen=True, slots=True)
class SimulationEnded:
    at: float
    simulation: SimulationId


@dataclass(frozen=True, slots=True)
class AdapterRegistered:
    """An operator says where an adapter lies. A new path for a known name is a new version of it."""

    at: float
    name: str
    path: str


@dataclass(frozen=True, slots=True)
class AdapterForgotten:
    """Nobody shall use it any more: it is dropped from the engines once no call runs on it."""

    at: float
    name: str


@dataclass(frozen=True, slots=True)
class AdapterAssigned:
    """An operator says on which registered adapter an agent's calls run. None: none is assigned any more."""

    at: float
    simulation: SimulationId
    agent: AgentName
    name: str | None


@dataclass(frozen=True, slots=True)
class HostCopySet:
    """Whether memory of this kind has a copy in the engine's host memory, for one agent or (None) all of a simulation."""

    at: float
    simulation: SimulationId
    agent: AgentName | None
    kind: str
    wanted: bool


@dataclass(frozen=True, slots=True)
class AgentPinned:
    """An operator wants the agent's memory to leave its engine last, for `for_s` (which may be inf) or until `AgentUnpinned`.
    Again: the time begins anew. Of an unknown agent, or where there is no room for it: nothing."""

    at: float
    simulation: SimulationId
    agent: AgentName
    for_s: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AgentUnpinned:
    at: float
    simulation: SimulationId
    agent: AgentName


@dataclass(frozen=True, slots=True)
class AdapterPinned:
    """The same of a registered adapter's slot, on every engine that has it in one."""

    at: float
    name: str
    for_s: float
    reason: str = ""


@dataclass(frozen=True, slots=True)
class AdapterUnpinned:
    at: float
    name: str


@dataclass(frozen=True, slots=True)
class PrefetchAsked:
    """An operator wants the agent's memory on the device now: for `for_s`, or until it calls, it is taken to call next. 0 takes
    that back. Of an unknown agent: nothing."""

    at: float
    simulation: SimulationId
    agent: AgentName
    for_s: float


@dataclass(frozen=True, slots=True)
class AdapterAsked:
    """The same of a registered adapter, on every engine: in its host memory, and in a slot."""

    at: float
    name: str
    for_s: float


@dataclass(frozen=True, slots=True)
class AdapterLetGo:
    """An operator wants the adapter out of the engines' memory: within `for_s`, once no call runs on it. It stays registered,
    and comes back for whoever needs it."""

    at: float
    name: str
    for_s: float


@dataclass(frozen=True, slots=True)
class ModeSet:
    at: float
    simulation: SimulationId
    mode: Mode


@dataclass(frozen=True, slots=True)
class EstimatorSet:
    """An operator says who is asked when the simulation's agents call: one of `choosing.names()`."""

    at: float
    simulation: SimulationId
    estimator: str


@dataclass(frozen=True, slots=True)
class PolicySet:
    """An operator says by which of `policies.names()` memory leaves an engine, or (None) all that have none of their own.
    A policy of None takes back an engine's own."""

    at: float
    engine: EngineId | None
    policy: str | None


@dataclass(frozen=True, slots=True)
class PreviewAsked:
    """Somebody wants to know what would be done for the engine now. It is worked out with its next plan, or at once where none is
    due; `Controller.preview` then has it. Nothing is sent for that."""

    at: float
    engine: EngineId
    shadow: bool = False
    """As if the simulations in shadow were on."""
    limit: int = 100
    """Of the agents and adapters that are named."""


@dataclass(frozen=True, slots=True)
class EngineFound:
    """The engine answered after it was unknown or lost."""

    at: float
    engine: EngineId
    capabilities: Capabilities


@dataclass(frozen=True, slots=True)
class EngineLost:
    at: float
    engine: EngineId
    why: str


@dataclass(frozen=True, slots=True)
class EngineRemoved:
    """After it was lost, and the last call there has ended: it is not there any more."""

    at: float
    engine: EngineId


@dataclass(frozen=True, slots=True)
class Reported:
    at: float
    engine: EngineId
    report: EngineReport


@dataclass(frozen=True, slots=True)
class Settled:
    """An action was carried out, or failed (`error` says how)."""

    at: float
    action: Action
    error: str | None = None
    result: LoadResult | None = None
    """Of a `Load` that did not fail."""
    name_taken: bool = False
    """A `FetchAdapter` failed because the engine has that name from another path."""


@dataclass(frozen=True, slots=True)
class Idled:
    """There is time for a piece of what earlier events left to be worked out. Nothing is planned."""

    at: float
    pieces: int = 1
    """So many at once, up to where actions follow, of whoever keeps nobody waiting by that."""


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time passed: the only event that plans. A piece of what `Idled` does is done first."""

    at: float


Event = (
    CallStarted
    | CallSent
    | CallEnded
    | DistanceHinted
    | ActionStarted
    | StepTicked
    | ReadingSet
    | SpaceSet
    | SpaceCleared
    | Moved
    | Interacted
    | EdgesGiven
    | GraphCleared
    | Activated
    | Rehomed
    | AgentLeft
    | SimulationEnded
    | AdapterRegistered
    | AdapterForgotten
    | AdapterAssigned
    | HostCopySet
    | AgentPinned
    | AgentUnpinned
    | AdapterPinned
    | AdapterUnpinned
    | PrefetchAsked
    | AdapterAsked
    | AdapterLetGo
    | ModeSet
    | EstimatorSet
    | PolicySet
    | PreviewAsked
    | EngineFound
    | EngineLost
    | EngineRemoved
    | Reported
    | Settled
    | Idled
    | Ticked
)
