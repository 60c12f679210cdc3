"""What a simulation tells of its agents, as events for the proxy's core: for plays in virtual time, where `player` is not there
to tell it over HTTP. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator

from scalesim.proxy.core.durations import RULES, Reading, Scale
from scalesim.proxy.core.events import (
    ActionStarted,
    Activated,
    DistanceHinted,
    EdgesGiven,
    Event,
    Interacted,
    Moved,
    SpaceSet,
    StepTicked,
)
from scalesim.proxy.core.model import AgentName, Clock, SimulationId
from scalesim.proxy.core.space import HORIZON, Motion, SpaceRules

from .plans import STEP_MINUTES
from .program import Activation, Call, Program, Step, Told

STEPS = Clock.STEPS
READING = Reading(RULES, Scale(STEPS, 1 / STEP_MINUTES))
"""How the proxy reads answers."""

Duration = tuple[float, Clock]


class Teller:
    """One simulation, once from its beginning to its end. Of actions it tells only what is news."""

    def __init__(self, program: Program, told: Told, simulation: SimulationId) -> None:
        """Raises `Impossible`."""
        program.must_tell(told)
        self._program = program
        self._told = told
        self._simulation = simulation
        self._ends: dict[str, float] = {}
        """By agent: the step in which its action ends, as was told last."""

    def begin(self, at: float) -> Iterator[Event]:
        space, graph = self._program.space, self._program.graph
        if self._told is Told.SPATIAL and space is not None:
            rules = SpaceRules(STEPS, space.radius, space.speed, space.cooldown, HORIZON[STEPS])
            yield SpaceSet(at, self._simulation, rules)
        if self._told is Told.PATH and graph is not None:
            yield EdgesGiven(
                at, self._simulation, [(AgentName(one), AgentName(other)) for one, other in graph]
            )

    def begin_step(self, at: float, step: Step) -> Iterator[Event]:
        if self._told is not Told.NONE:
            yield StepTicked(at, self._simulation, step.index)

    def tell(self, at: float, step: Step) -> Iterator[Event]:
        """What is known of agents when the step begins."""
        told, simulation, known = self._told, self._simulation, step.known
        if told is Told.EXACT:
            distances = step.distances if step.hints is None else step.hints.distances
            if distances:
                named = {AgentName(agent): distance for agent, distance in distances.items()}
                yield DistanceHinted(at, simulation, STEPS, named)
        if told in (Told.PLAN, Told.SPATIAL):
            for agent, left in known.actions.items():
                if self._ends.get(agent) != step.index + left:
                    self._ends[agent] = step.index + left
                    yield ActionStarted(at, simulation, AgentName(agent), left, STEPS)
        if told is Told.SPATIAL:
            motions = {
                AgentName(agent): Motion(place, known.destinations[agent], speed=known.speeds[agent])
                for agent, place in known.positions.items()
            }
            yield Moved(at, simulation, motions)
            if known.met:
                yield Interacted(
                    at, simulation, [(AgentName(one), AgentName(other)) for one, other in known.met]
                )
        if told is Told.PATH:
            for wave, agents in known.reached.items():
                yield Activated(at, simulation, [AgentName(agent) for agent in agents], str(wave))

    def acts_for(self, step: Step, activation: Activation) -> Duration | None:
        """What the last call of an activation says of the time after it."""
        match self._told:
            case Told.EXACT if step.hints is not None:
                steps = step.hints.acts_for_steps.get(activation.agent)
            case Told.EXACT:
                steps = activation.acts_for_steps
            case Told.PLAN | Told.SPATIAL:
                steps = activation.planned_steps
            case Told.ANSWERS | Told.PATH | Told.TICKS | Told.NONE:
                steps = None
        if steps is None or math.isinf(steps):
            return None
        self._ends[activation.agent] = step.index + steps
        return steps, STEPS

    def said(self, call: Call) -> Duration | None:
        """What the proxy reads in the answer of a call."""
        return READING.acts_for(call.says) if self._told is Told.ANSWERS and call.says is not None else None
