"""Random histories, also such as should not be: nothing raises, every invariant holds after every event, and whatever
was lost or failed on the way, an engine ends up with what is wanted.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.actions import Action, Evict, Order, Pin, Renew, Unpin
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import (
    ActionStarted,
    AgentLeft,
    CallEnded,
    CallStarted,
    DistanceHinted,
    EngineFound,
    EngineLost,
    Event,
    ModeSet,
    Reported,
    Settled,
    SimulationEnded,
    StepTicked,
    Ticked,
)
from scalesim.proxy.core.model import (
    AgentName,
    CallId,
    Capabilities,
    Clock,
    EngineId,
    EngineReport,
    Mode,
    Outcome,
    Owner,
    SimulationId,
    Usage,
)
from scalesim.proxy.core.policies import find
from scalesim.proxy.core.reconciler import ranks_of
from scalesim.proxy.core.wanted import Policy, View, Wanted

GPU = EngineId("gpu")
ANSWERING = (Ticked, Reported, EngineFound, ModeSet, SimulationEnded)


class _Engine:
    """What an engine would hold that carries out what it is asked."""

    def __init__(self) -> None:
        self.boot = 0
        self.features = frozenset({"order", "pin"})
        self.found = False
        self.restart()

    def restart(self) -> None:
        self.boot += 1
        self.order: tuple[tuple[Owner, float], ...] = ()
        self.pins: set[Owner] = set()
        self.waiting: list[Action] = []

    def carry_out(self, action: Action) -> None:
        match action:
            case Order():
                self.order = action.distances
            case Pin():
                self.pins.update(action.owners)
            case Unpin():
                self.pins.difference_update(action.owners)
            case Renew():
                pass
            case Evict():
                raise AssertionError("nobody asked for that")


class _History:
    """Plays commands into a controller and plays the engine that answers it."""

    def __init__(self, policy: Policy) -> None:
        self.core = Controller(
            ControllerConfig(
                agent_limit=4, total_agent_limit=6, simulation_limit=2, call_limit=5, plan_limit=3
            ),
            policy=policy,
        )
        self.engine = _Engine()
        self.at = 0.0

    def post(self, event: Event) -> None:
        actions = self.core.handle(event)
        self.core.check()
        assert not actions or isinstance(event, ANSWERING)
        kinds = [type(action) for action in self.engine.waiting]
        for action in actions:
            assert action.engine == GPU
            assert self.engine.found
            assert type(action) not in kinds, "one step per kind in flight"
            assert type(action) is Renew or {Order: "order", Pin: "pin", Unpin: "pin"}[type(action)] in (
                self.engine.features
            )
        self.engine.waiting += actions
        if any(isinstance(action, Pin) for action in actions):
            self.check_budget()

    def begin(self, call: CallId, simulation: SimulationId, agent: AgentName, tokens: int) -> None:
        """An activation that goes on, of an agent whose size is known."""
        self.post(CallStarted(self.at, call, simulation, agent, GPU))
        self.post(CallEnded(self.at, call, Outcome.DONE, Usage(tokens, 0, 0)))
        self.post(CallStarted(self.at, call, simulation, agent, GPU))

    def check_budget(self) -> None:
        """Whichever of what is in flight fails: what is pinned then, by the sizes that the plan saw, fits."""
        (engine,) = self.core.engines()
        pinned = set(self.engine.pins)
        for action in self.engine.waiting:
            if isinstance(action, Pin):
                pinned.update(action.owners)
        sizes = {
            agent.owner: agent.size_tokens or 0
            for simulation in self.core.simulations()
            for agent in self.core.agents(simulation.id)
        }
        assert sum(sizes.get(owner, 0) for owner in pinned) <= engine.pin_budget_tokens

    def settle(self, place: int, error: str | None, arrived: bool) -> None:
        if self.engine.waiting:
            action = self.engine.waiting.pop(place % len(self.engine.waiting))
            if error is None or arrived:
                self.engine.carry_out(action)
            self.post(Settled(self.at, action, error))

    def find(self) -> None:
        capabilities = Capabilities("fake", "1", True, self.engine.features, f"boot-{self.engine.boot}", 1000)
        self.engine.found = True
        self.post(EngineFound(self.at, GPU, capabilities))

    def lose(self) -> None:
        self.engine.restart()
        self.engine.found = False
        self.post(EngineLost(self.at, GPU, "unplugged"))

    def report(self) -> None:
        engine = self.engine
        if engine.found:
            in_force = bool(engine.order)
            pins = frozenset(engine.pins)
            self.post(Reported(self.at, GPU, EngineReport(f"boot-{engine.boot}", in_force, pins, 0, 1000)))

    def age_out(self) -> None:
        self.engine.order = ()
        self.engine.pins.clear()

    def come_to_rest(self) -> None:
        """Everything is carried out from now on, in order, and the engine says what it holds."""
        if not self.engine.found:
            self.find()
        for _ in range(4):
            self.at += 10.0  # longer than any restraint after failures
            while self.engine.waiting:
                self.settle(0, None, True)
            self.report()
            self.post(Ticked(self.at))
        while self.engine.waiting:
            self.settle(0, None, True)


SIMULATIONS = st.sampled_from([SimulationId(name) for name in ("a", "b", "c")])
AGENTS = st.sampled_from([AgentName(name) for name in ("Ann", "Bob", "Cem", "Dee", "Eve", "Fay")])
CALLS = st.integers(0, 5).map(CallId)
CLOCKS = st.sampled_from(Clock)
VALUES = st.one_of(
    st.floats(0, 20), st.sampled_from([0.0, 1.0, 3.0, math.inf, math.nan, -1.0, 1e308, 5e-324])
)
TOKENS = st.integers(0, 600)
USAGES = st.none() | st.builds(Usage, TOKENS, st.none() | TOKENS, TOKENS)

Command = Callable[[_History], None]


def _post(build: Callable[..., Event], *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Command]:
    return st.tuples(*arguments).map(lambda values: lambda history: history.post(build(history.at, *values)))


def _do(name: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Command]:
    return st.tuples(*arguments).map(lambda values: lambda history: getattr(history, name)(*values))


def _wait(seconds: float) -> Command:
    def wait(history: _History) -> None:
        history.at += seconds

    return wait


def _start(at: float, call: CallId, simulation: SimulationId, agent: AgentName | None) -> Event:
    return CallStarted(at, call, simulation, agent, GPU)


COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.sampled_from([-5.0, 0.0, 0.1, 1.0, 3.0, 60.0]).map(_wait),
    _post(_start, CALLS, SIMULATIONS, st.none() | AGENTS),
    _do("begin", CALLS, SIMULATIONS, AGENTS, TOKENS),
    _do("begin", CALLS, SIMULATIONS, AGENTS, TOKENS),
    _post(CallEnded, CALLS, st.sampled_from(Outcome), USAGES, st.none() | st.tuples(VALUES, CLOCKS)),
    _post(CallEnded, CALLS, st.just(Outcome.DONE), USAGES, st.none() | st.tuples(VALUES, CLOCKS)),
    _post(DistanceHinted, SIMULATIONS, CLOCKS, st.dictionaries(AGENTS, VALUES)),
    _post(ActionStarted, SIMULATIONS, AGENTS, VALUES, CLOCKS),
    _post(StepTicked, SIMULATIONS, st.none() | VALUES),
    _post(AgentLeft, SIMULATIONS, AGENTS),
    _post(SimulationEnded, SIMULATIONS),
    _post(ModeSet, SIMULATIONS, st.sampled_from(Mode)),
    _post(Ticked),
    _post(Ticked),
    _do("settle", st.integers(0, 3), st.none() | st.just("no answer"), st.booleans()),
    _do("settle", st.just(0), st.none(), st.just(True)),
    _do("find"),
    _do("find"),
    _do("lose"),
    _do("report"),
    _do("age_out"),
)


def _greedy(view: View) -> Wanted:
    """Wants all that is forbidden."""
    owners = [candidate.owner for candidate in view.candidates]
    order = [(owner, float(-place)) for place, owner in enumerate(owners)]
    nowhere = (Owner("stranger"), math.nan)
    return Wanted((*order, *order, nowhere), (*owners, *owners, Owner("stranger")))


@pytest.mark.slow
@pytest.mark.parametrize("policy", [find("nearest_first"), _greedy])
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(commands=st.lists(COMMANDS, min_size=20, max_size=80))
def test_random_histories_break_nothing_and_come_to_rest(policy: Policy, commands: list[Command]) -> None:
    history = _History(policy)
    history.find()
    for command in commands:
        command(history)
    history.come_to_rest()

    (engine,) = history.core.engines()
    assert not engine.plan_due
    assert engine.in_flight == ()
    assert ranks_of(history.engine.order) == ranks_of(engine.wanted.order)
    assert history.engine.pins == set(engine.wanted.pins)
    sent = history.core.totals()
    history.report()
    history.post(Ticked(history.at))
    after = history.core.totals()
    assert (after.orders, after.pins, after.unpins) == (sent.orders, sent.pins, sent.unpins), "at rest"


@pytest.mark.slow
@settings(max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(commands=st.lists(COMMANDS, min_size=20, max_size=80))
def test_tables_stay_within_their_limits(commands: list[Command]) -> None:
    history = _History(find("nearest_first"))
    for command in commands:
        command(history)
        sizes = history.core.sizes()
        assert sizes["simulations"] <= 2
        assert sizes["agents"] <= 6
        assert sizes["calls"] <= 5
        assert sizes["ordered_owners"] <= 3
        assert sizes["pinned_owners"] <= 2 * 18
