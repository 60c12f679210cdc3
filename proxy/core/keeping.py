"""What is worth keeping of the world, so that another process (or the same one, started anew) goes on where this one stopped.

Written are values as `plain.py` has them: of each agent some hundred bytes, of each simulation what was learned of all its
agents together. `shift` leads from the clock of `at` to one that the reader has, too.

Not kept are: what engines hold and were told (they report it, and are told anew), graphs and the waves on them (the events that
told them can be kept), who met whom in space and how many meetings came, what the guards have judged, what operators asked to have
loaded now, stories, and the totals.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from typing import NamedTuple, cast

from . import choices
from .accuracy import Accuracy, Followed, Measured
from .adapters import Kept
from .agent import Agent, Told
from .authority import Authority
from .average import Average
from .barriers import Barriers
from .bursts import Bursts
from .call import Call
from .clock import StepClock
from .counters import Counters
from .durations import Reading
from .events import CallStarted
from .handovers import Handovers
from .mean import Mean
from .misses import LastCall
from .model import (
    AdapterName,
    AgentName,
    CallId,
    Clock,
    EngineId,
    Mode,
    Moment,
    SimulationId,
    Source,
)
from .periods import Hours, Period
from .plain import At, Fields, Form, Forms, Garbled, Plain
from .planner import Planner
from .recent import Recent
from .residuals import Residuals
from .simulation import Simulation
from .space import Motion, Space, SpaceRules
from .turns import Habit, Turns
from .world import World


def _told(moments: Form) -> Form:
    """Since when it stands is on the clock of its moment."""

    def write(told: Told, shift: float) -> Plain:
        since = None if told.since is None else moments.write(Moment(told.moment.clock, told.since), shift)
        return [moments.write(told.moment, shift), told.number, since]

    def read(plain: Plain, shift: float) -> Told:
        if not isinstance(plain, list) or len(plain) != 3 or type(plain[1]) is not int:
            raise Garbled(f"nothing that was told: {str(plain)[:60]!r}")
        since = None if plain[2] is None else moments.read(plain[2], shift).value
        return Told(moments.read(plain[0], shift), plain[1], since)

    return Form(write, read)


LEARNED: dict[type, Fields] = {
    StepClock: Fields(
        {
            "passed": float,
            "step": float,
            "ticked": bool,
            "pace_s": float | None,
            "_ticked_at": At,
            "_intervals": deque[float],
        },
        StepClock,
    ),
    Bursts: Fields(
        {
            "clock": StepClock,
            "size": Average,
            "opened_turn": int,
            "opened_at": At,
            "_before_turn": int,
            "_last_at": At,
            "_within": Mean,
            "_barrier_s": float,
            "_span": Average,
            "_repeats": Mean,
        },
        Bursts,
    ),
    Turns: Fields(
        {
            "turn": int,
            "steps": Bursts,
            "_at": At,
            "_last": AgentName | None,
            "_pace": Mean,
            "_round": Average,
            "_round_error": Mean,
            "_round_holds": bool,
            "_step_error": Mean,
            "_place_error": Mean,
            "_hits": Mean,
            "_held": tuple[bool, bool, bool],
            "tells": bool,
        },
        Turns,
    ),
    Residuals: Fields(
        {
            "_classes": dict[int, tuple[float, float]],
            "_count": float,
            "_due": float,
            "_points": list[float],
            "_moments": list[float],
        },
        Residuals,
    ),
    Period: Fields({"day": int | None, "_lags": list[float], "_beginnings": int, "_fits": bool}, Period),
    Handovers: Fields({"calls": int, "count": int, "_needed": int, "_few": Mean, "_near": int}, Handovers),
    Barriers: Fields(
        {
            "count": int,
            "_bursts": Bursts,
            "_ticks": bool,
            "_called": bool,
            "_in_a_row": int,
            "_silent_at": At,
        },
        Barriers,
    ),
    Accuracy: Fields(
        {
            "_sample": dict[AgentName, Followed],
            "_sources": dict[Source, Measured],
            "_refused": int,
            "_patience": int,
            "_began": int,
        },
        Accuracy,
    ),
    Authority: Fields(
        {"before": dict[Source, tuple[Source, ...]], "errors": dict[Source, tuple[Clock, float]]}, Authority
    ),
    Recent: Fields({"half_life_s": float, "_count": float, "_at": At}, lambda: Recent(1.0)),
}
"""Of what is learned, the fields; all but the tables of agents in `Turns`, which goes with each agent."""

OF_SIMULATION: dict[str, object] = {
    "mode": Mode,
    "seen_at": At,
    "resting": bool,
    "epoch": int,
    "told_before": int,
    "host_copy": dict[str, bool],
    "reading": Reading | None,
    "steps": StepClock,
    "pause_s": float,
    "lull_s": float,
    "_pause": Average,
    "counters": Counters,
    "turns": Turns,
    "gaps": Residuals,
    "period": Period,
    "handovers": Handovers,
    "barriers": Barriers,
    "accuracy": Accuracy,
    "authority": Authority,
    "use": Recent,
}

OF_AGENT: dict[str, object] = {
    "activated": bool,
    "acts_next": bool,
    "activations": int,
    "called": int | None,
    "barrier": int,
    "began": Moment | None,
    "gap": Average | None,
    "hours": Hours | None,
    "hinted": Told | None,
    "action": Told | None,
    "said": Told | None,
    "used_at": At,
    "ended_at": At,
    "size_tokens": int | None,
    "requested": AdapterName | None,
    "beginning": str | None,
    "host_copy": dict[str, bool] | None,
    "last_call": LastCall | None,
}


class _Beside(NamedTuple):
    """What is known of an agent, and not in it."""

    engine: EngineId | None
    assigned: str | None
    """The registered name of its adapter."""
    habit: int | Habit | None
    """Of its turns."""
    motion: Motion | None
    """In the space of its simulation."""


class Settings(NamedTuple):
    """What operators set for all of a simulation."""

    mode: Mode
    reading: Reading | None
    host_copy: dict[str, bool]


class _Running(NamedTuple):
    simulation: SimulationId
    agent: AgentName | None
    engine: EngineId
    adapter: AdapterName | None
    first: bool


def running(started: CallStarted) -> Plain:
    """A call that is known by its beginning alone, as `restore_call` takes it."""
    known = _Running(started.simulation, started.agent, started.engine, started.adapter, False)
    return _RUNNING.write(known, 0.0)


_MOMENTS = Forms().of(Moment)
_FORMS = Forms(LEARNED, {Told: _told(_MOMENTS)})
_SIMULATION = {name: _FORMS.of(kind) for name, kind in OF_SIMULATION.items()}
_AGENT = {name: _FORMS.of(kind) for name, kind in OF_AGENT.items()}
_BESIDE, _RUNNING = _FORMS.of(_Beside), _FORMS.of(_Running)
_RULES, _ADAPTERS = _FORMS.of(SpaceRules | None), _FORMS.of(Kept)


def used_at(plain: Plain) -> float:
    """Of an agent that was written down: when it was last used, on the common clock. Agents are to be restored in that
    order. 0 of what is no agent."""
    try:
        known = cast("list[list[object]]", plain)[0][_USED_AT]
    except (TypeError, IndexError):
        return 0.0
    return known if isinstance(known, float) else 0.0


_USED_AT = list(OF_AGENT).index("used_at")


class Keeping:
    """Of one world. What is read is checked by its form alone: whoever writes it commands the engines anyway. Each `restore_`
    answers whether there was room for it, and raises `Garbled` where it cannot be read."""

    def __init__(self, world: World, planner: Planner) -> None:
        self._world = world
        self._planner = planner
        self._population = world.population

    # Writing

    def simulations(self) -> list[SimulationId]:
        return list(self._population.simulations)

    def settings(self, simulation: SimulationId) -> Settings | None:
        """None of an unknown one."""
        known = self._population.simulations.get(simulation)
        return None if known is None else Settings(known.mode, known.reading, dict(known.host_copy))

    def engine_of(self, simulation: SimulationId, agent: AgentName) -> EngineId | None:
        """Where its memory is; None if that is not known, or was on an engine that is gone: another may have its name by now."""
        known = self._population.find(simulation, agent)
        if known is None or known.engine is None:
            return None
        name = known.engine.id
        return name if self._world.engines.get(name) is known.engine else None

    def has_beginning(self, simulation: SimulationId, agent: AgentName) -> bool:
        """Whether others may be drawn to where it is, and it to where they are."""
        known = self._population.find(simulation, agent)
        return known is not None and known.beginning is not None

    def edges(self, simulation: SimulationId) -> int | None:
        """Of its graph; None if it has none."""
        known = self._population.simulations.get(simulation)
        return None if known is None or known.graph is None else known.graph.edges

    def has_call(self, call: CallId) -> bool:
        return call in self._world.calls

    def agents(self, simulation: SimulationId) -> Collection[AgentName]:
        """To be used up before the next event."""
        known = self._population.simulations.get(simulation)
        return () if known is None else known.agents.keys()

    def calls(self) -> list[CallId]:
        return list(self._world.calls)

    def adapters(self) -> Plain:
        return _ADAPTERS.write(self._world.adapters.kept(), 0.0)

    def choices(self, shift: float) -> Plain:
        """Of operators: estimators, policies and pins."""
        return choices.written(self._world, self._planner, shift)

    def simulation(self, name: SimulationId, shift: float) -> Plain:
        """None of an unknown one."""
        known = self._population.simulations.get(name)
        if known is None:
            return None
        rules = None if known.space is None else known.space.rules
        return [_written(known, _SIMULATION, shift), _RULES.write(rules, shift)]

    def agent(self, simulation: SimulationId, name: AgentName, shift: float, at: float) -> Plain:
        """Without its running calls; None of an unknown one."""
        agent = self._population.find(simulation, name)
        if agent is None:
            return None
        of, assigned = agent.simulation, agent.assigned
        beside = _Beside(
            None if agent.engine is None else agent.engine.id,
            None if assigned is None or assigned.forgotten else assigned.name,
            of.turns.known_of(name),
            None if of.space is None else of.space.motion_of(name, of.now(of.space.rules.clock, at)),
        )
        return [_written(agent, _AGENT, shift), _BESIDE.write(beside, shift)]

    def calls_of(self, plain: Plain) -> tuple[SimulationId, AgentName | None, EngineId, AdapterName | None]:
        """What a call is known by that was written down."""
        known = cast("_Running", _RUNNING.read(plain, 0.0))
        return known.simulation, known.agent, known.engine, known.adapter

    def call(self, call: CallId) -> Plain:
        """None of one that does not run."""
        known = self._world.calls.get(call)
        if known is None:
            return None
        agent = None if known.agent is None else known.agent.name
        running = _Running(known.simulation.id, agent, known.engine.id, known.adapter, known.first)
        return _RUNNING.write(running, 0.0)

    # Reading

    def restore_adapters(self, plain: Plain) -> None:
        self._world.adapters.restore(_ADAPTERS.read(plain, 0.0))

    def restore_choices(self, plain: Plain, shift: float, at: float) -> bool:
        """To be done after all agents."""
        return choices.restore(plain, self._world, self._planner, shift, at)

    def restore_simulation(self, name: SimulationId, plain: Plain, shift: float, at: float) -> bool:
        """To be done before its agents."""
        of_it, of_rules = _items(plain, 2)
        values, rules = _values(of_it, _SIMULATION, shift), _RULES.read(of_rules, shift)
        simulation = self._population.simulation(name, at)
        if simulation is None:
            return False
        _set(simulation, values)
        simulation.seen_at = min(simulation.seen_at, at)
        if simulation.resting:
            self._population.quiet.pop(name, None)
        simulation.space = None if rules is None or not rules.are_sound else Space(rules)
        return True

    def restore_agent(
        self, simulation: SimulationId, name: AgentName, plain: Plain, shift: float, at: float
    ) -> bool:
        of_it, of_beside = _items(plain, 2)
        values, beside = _values(of_it, _AGENT, shift), cast("_Beside", _BESIDE.read(of_beside, shift))
        of = self._population.simulations.get(simulation)
        agent = None if of is None else self._population.agent(of, name)
        if of is None or agent is None:
            return False
        _set(agent, values)
        # The common clock may have been set back since.
        agent.used_at, agent.ended_at = min(agent.used_at, at), min(agent.ended_at, at)
        self._population.told = max(
            self._population.told, *(one.number for one in (agent.hinted, agent.action, agent.said) if one), 0
        )
        if beside.assigned is not None:
            agent.assign(self._world.adapters.current.get(beside.assigned))
        if beside.habit is not None:
            of.turns.restore(name, beside.habit)
        if beside.engine is not None:
            agent.move(self._world.engine(beside.engine))
        if of.space is not None and beside.motion is not None:
            of.space.move(name, beside.motion, of.now(of.space.rules.clock, at))
            self._population.note(of)
        if agent.activated:
            of.pausing[name] = of.lulling[name] = agent
        agent.mark(called=True)
        return True

    def restore_call(self, call: CallId, plain: Plain) -> bool:
        """To be done after all agents."""
        known = cast("_Running", _RUNNING.read(plain, 0.0))
        simulation = self._population.simulations.get(known.simulation)
        if simulation is None or call in self._world.calls:
            return False
        agent = None if known.agent is None else simulation.agents.get(known.agent)
        engine = self._world.engine(known.engine)
        engine.start(known.adapter)
        simulation.running += 1
        self._population.quiet.pop(simulation.id, None)
        if agent is not None:
            agent.running += 1
            simulation.idle.remove(agent)
            simulation.called_again(agent.name)
            agent.mark(called=True)
        self._world.calls[call] = Call(simulation, agent, engine, known.adapter, known.first)
        return True

    def restored(self) -> None:
        """All was restored that there is."""
        for simulation in self._population.simulations.values():
            for name in simulation.accuracy.sample:
                if name not in simulation.agents:
                    simulation.accuracy.forget(name)
        self._population.mark_all()


def _written(one: Simulation | Agent, forms: dict[str, Form], shift: float) -> Plain:
    return [form.write(getattr(one, name), shift) for name, form in forms.items()]


def _values(plain: Plain, forms: dict[str, Form], shift: float) -> dict[str, object]:
    items = _items(plain, len(forms))
    return {name: form.read(item, shift) for (name, form), item in zip(forms.items(), items, strict=True)}


def _set(one: Simulation | Agent, values: dict[str, object]) -> None:
    for name, value in values.items():
        setattr(one, name, value)


def _items(plain: Plain, count: int) -> list[Plain]:
    if not isinstance(plain, list) or len(plain) != count:
        raise Garbled(f"{count} items expected, not {str(plain)[:60]!r}")
    return plain
