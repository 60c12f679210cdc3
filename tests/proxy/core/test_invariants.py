"""Random histories, also such as should not be: nothing raises, every invariant holds after every event, and whatever
was lost or failed on the way, an engine ends up with what is wanted.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesim.proxy.core import choosing
from scalesim.proxy.core import guard as guards
from scalesim.proxy.core.actions import (
    Action,
    DropAdapter,
    Evict,
    FetchAdapter,
    Load,
    Order,
    Pin,
    Renew,
    StopLoad,
    Unpin,
)
from scalesim.proxy.core.controller import Controller, ControllerConfig
from scalesim.proxy.core.events import (
    ActionStarted,
    AdapterAsked,
    AdapterAssigned,
    AdapterForgotten,
    AdapterLetGo,
    AdapterPinned,
    AdapterRegistered,
    AdapterUnpinned,
    AgentLeft,
    AgentPinned,
    AgentUnpinned,
    CallEnded,
    CallStarted,
    DistanceHinted,
    EngineFound,
    EngineLost,
    EngineRemoved,
    EstimatorSet,
    Event,
    HostCopySet,
    ModeSet,
    PolicySet,
    PrefetchAsked,
    PreviewAsked,
    Rehomed,
    Reported,
    Settled,
    SimulationEnded,
    StepTicked,
    Ticked,
)
from scalesim.proxy.core.model import (
    KV_PREFIX,
    LORA,
    AdapterName,
    AgentName,
    CallId,
    Capabilities,
    Clock,
    EngineId,
    EngineReport,
    LoadResult,
    LoadState,
    MemoryId,
    MemoryReport,
    Mode,
    Outcome,
    Owner,
    Pool,
    SimulationId,
    Usage,
)
from scalesim.proxy.core.policies import find
from scalesim.proxy.core.reconciler import ranks_of
from scalesim.proxy.core.wanted import Policy, View, Wanted

GPU = EngineId("gpu")
FEATURES = frozenset(
    {"order", "pin", "load_kv_prefix", "host_copy", "warm_up"}
    | {"adapters", "load_lora", "fetch_adapters", "ready_first", "by_recency"}
)
NEEDS = {
    Order: "order",
    Pin: "pin",
    Unpin: "pin",
    FetchAdapter: "fetch_adapters",
    DropAdapter: "fetch_adapters",
}
SLOTS, SLOT_BYTES = 3, 100
ANSWERING = (Ticked, Reported, EngineFound, ModeSet, SimulationEnded)


class _Engine:
    """What an engine would hold that carries out what it is asked."""

    def __init__(self) -> None:
        self.boot = 0
        self.features = FEATURES
        self.found = False
        self.restart()

    def restart(self) -> None:
        self.boot += 1
        self.order: tuple[tuple[Owner, float], ...] = ()
        self.wanted = Order(GPU, ())
        self.pins: set[Owner] = set()
        self.memories: dict[MemoryId, MemoryReport] = {}
        self.waiting: list[Action] = []

    @property
    def pools(self) -> tuple[Pool, ...]:
        used = dict.fromkeys((KV_PREFIX, LORA), 0)
        for memory, (device_bytes, _) in self.memories.items():
            used[memory.kind] += device_bytes
        return tuple(
            Pool(kind, frozenset({kind}), capacity, max(0, capacity - used[kind]))
            for kind, capacity in ((KV_PREFIX, 1000), (LORA, SLOTS * SLOT_BYTES))
        )

    def load(self, memory: MemoryId) -> LoadState:
        known = self.memories.get(memory)
        pool = next(pool for pool in self.pools if memory.kind in pool.kinds)
        if known is None:
            return LoadState.ABSENT
        if not known.missing_bytes:
            return LoadState.RESIDENT
        if known.missing_bytes > pool.free_bytes:
            return LoadState.NO_ROOM
        self.memories[memory] = MemoryReport(sum(known), 0)
        return LoadState.LOADED

    def carry_out(self, action: Action) -> None:
        match action:
            case Order():
                self.order, self.wanted = action.distances, action
            case FetchAdapter():
                self.memories.setdefault(MemoryId(LORA, action.adapter), MemoryReport(0, SLOT_BYTES))
            case DropAdapter():
                self.memories.pop(MemoryId(LORA, action.adapter), None)
            case Load():
                self.load(action.memory)
            case StopLoad():
                pass
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
                agent_limit=4,
                total_agent_limit=6,
                simulation_limit=2,
                call_limit=5,
                plan_limit=3,
                adapter_limit=2,
                loads_in_flight=2,
                load_budget_bytes=150,
            ),
            policy=policy,
        )
        self.engine = _Engine()
        self.at = 0.0
        self.calls: OrderedDict[CallId, CallStarted] = OrderedDict()
        self.registered: set[AdapterName] = set()

    def post(self, event: Event) -> None:
        before = self.core.totals()
        actions = self.core.handle(event)
        after = self.core.totals()
        match event:
            case CallEnded():
                self.calls.pop(event.call, None)
            case CallStarted() if event.call not in self.calls and self.core.knows(event.simulation):
                if after.lost_calls > before.lost_calls:
                    self.calls.popitem(last=False)
                self.calls[event.call] = event
        self.core.check()
        self.registered.update(adapter.key for adapter in self.core.adapters())
        assert not actions or isinstance(event, ANSWERING)
        for action in actions:
            assert action.engine == GPU
            assert self.engine.found
            self.check_step(action)
        self.engine.waiting += actions
        if any(isinstance(action, Pin) for action in actions):
            self.check_budget()

    def check_step(self, action: Action) -> None:
        waiting = self.engine.waiting
        match action:
            case Load() | StopLoad():
                same = [one for one in waiting if type(one) is type(action)]
                assert action.memory not in [one.memory for one in same], "one load per memory"
            case FetchAdapter() | DropAdapter():
                assert not any(isinstance(one, FetchAdapter | DropAdapter) for one in waiting)
                assert action.adapter not in self.running() or isinstance(action, FetchAdapter)
            case _:
                assert type(action) not in map(type, waiting), "one step per kind in flight"
        if isinstance(action, Load):
            loads = [one for one in waiting if isinstance(one, Load)]
            assert len(loads) < 3, "two copies and one computation"
            assert action.within_s > 0
        elif not isinstance(action, Renew | StopLoad):
            assert NEEDS[type(action)] in self.engine.features
        if isinstance(action, Order) and action.pinned_adapters:
            assert len(self.running().union(action.pinned_adapters)) <= SLOTS - 1

    def left_behind(self) -> list[AdapterName]:
        """Registered once, and neither now nor running."""
        current = {adapter.key for adapter in self.core.adapters()}
        return [key for key in self.registered if key not in current | self.running()]

    def running(self) -> set[AdapterName]:
        return {call.adapter for call in self.calls.values() if call.adapter is not None}

    def begin(self, call: CallId, simulation: SimulationId, agent: AgentName, tokens: int) -> None:
        """An activation that goes on, of an agent whose size is known."""
        self.post(CallStarted(self.at, call, simulation, agent, GPU))
        self.post(CallEnded(self.at, call, Outcome.DONE, Usage(tokens, 0, 0)))
        self.post(CallStarted(self.at, call, simulation, agent, GPU))

    def mislead(self, simulation: SimulationId) -> None:
        """Two fit, and three call, of whom those that call in turn are told far."""
        call = CallId(9)
        for agent, away in (("Ann", 1.0), ("Bob", 50.0), ("Cem", 50.0), ("Bob", 50.0), ("Cem", 50.0)):
            self.post(CallStarted(self.at, call, simulation, AgentName(agent), GPU))
            acts_for = away, Clock.SECONDS
            self.post(CallEnded(self.at, call, Outcome.DONE, Usage(400, 0, 0), acts_for))
            self.post(Ticked(self.at))

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
            if isinstance(action, Load) and error is None:
                result = LoadResult(self.engine.load(action.memory))
                self.post(Settled(self.at, action, None, result))
                return
            if error is None or arrived:
                self.engine.carry_out(action)
            self.post(Settled(self.at, action, error))

    def settle_load(self, state: LoadState) -> None:
        """However it looks to the engine."""
        loads = [action for action in self.engine.waiting if isinstance(action, Load)]
        if loads:
            self.engine.waiting.remove(loads[0])
            self.post(Settled(self.at, loads[0], None, LoadResult(state, 10)))

    def put(self, memory: MemoryId, device_bytes: int, missing_bytes: int) -> None:
        """Evicted, copied, brought back by calls: it is as it is. Only a stray adapter comes by itself."""
        if memory.kind == KV_PREFIX or memory in self.engine.memories or memory.key == "stray":
            self.engine.memories[memory] = MemoryReport(device_bytes, missing_bytes)

    def find(self) -> None:
        engine = self.engine
        capabilities = Capabilities(
            "fake", "1", True, engine.features, f"boot-{engine.boot}", 1000, SLOTS, host_adapters=2
        )
        self.engine.found = True
        self.post(EngineFound(self.at, GPU, capabilities))

    def lose(self) -> None:
        self.engine.restart()
        self.engine.found = False
        self.post(EngineLost(self.at, GPU, "unplugged"))

    def remove(self) -> None:
        self.lose()
        self.post(EngineRemoved(self.at, GPU))

    def report(self) -> None:
        engine = self.engine
        if engine.found:
            report = EngineReport(
                f"boot-{engine.boot}",
                engine.wanted != Order(GPU, ()),
                frozenset(engine.pins),
                0,
                1000,
                engine.pools,
                dict(engine.memories),
                frozenset(action.memory for action in engine.waiting if isinstance(action, Load)),
                frozenset(self.running()),
            )
            self.post(Reported(self.at, GPU, report))

    def age_out(self) -> None:
        self.engine.order, self.engine.wanted = (), Order(GPU, ())
        self.engine.pins.clear()

    def come_to_rest(self) -> None:
        """Everything is carried out from now on, in order, and the engine says what it holds."""
        if not self.engine.found:
            self.find()
        for _ in range(8):
            self.at += 40.0  # longer than any restraint after failures
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

NAMES = st.sampled_from(["poet", "poet@2", "clerk"])
ADAPTERS = NAMES.map(AdapterName) | st.just(AdapterName("stray"))
MEMORIES = st.one_of(
    st.builds(lambda s, a: MemoryId(KV_PREFIX, f"{s}/{a}"), SIMULATIONS, AGENTS),
    st.builds(lambda name: MemoryId(LORA, name), ADAPTERS),
)

Command = Callable[[_History], None]


def _post(build: Callable[..., Event], *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Command]:
    return st.tuples(*arguments).map(lambda values: lambda history: history.post(build(history.at, *values)))


def _do(name: str, *arguments: st.SearchStrategy[object]) -> st.SearchStrategy[Command]:
    return st.tuples(*arguments).map(lambda values: lambda history: getattr(history, name)(*values))


def _wait(seconds: float) -> Command:
    def wait(history: _History) -> None:
        history.at += seconds

    return wait


def _start(
    at: float,
    call: CallId,
    simulation: SimulationId,
    agent: AgentName | None,
    adapter: AdapterName | None,
) -> Event:
    return CallStarted(at, call, simulation, agent, GPU, adapter)


COMMANDS: st.SearchStrategy[Command] = st.one_of(
    st.sampled_from([-5.0, 0.0, 0.1, 1.0, 3.0, 60.0]).map(_wait),
    _post(_start, CALLS, SIMULATIONS, st.none() | AGENTS, st.none() | ADAPTERS),
    _post(AdapterRegistered, NAMES, st.sampled_from(["/a", "/b"])),
    _post(AdapterRegistered, NAMES, st.sampled_from(["/a", "/b"])),
    _post(AdapterForgotten, NAMES),
    _post(AdapterAssigned, SIMULATIONS, AGENTS, st.none() | NAMES),
    _post(AdapterAssigned, SIMULATIONS, AGENTS, NAMES),
    _post(HostCopySet, SIMULATIONS, st.none() | AGENTS, st.just(KV_PREFIX), st.booleans()),
    _do("put", MEMORIES, st.integers(0, 200), st.integers(0, 200)),
    _do("put", MEMORIES, st.integers(0, 200), st.integers(0, 200)),
    _do("settle_load", st.sampled_from(LoadState)),
    _do("begin", CALLS, SIMULATIONS, AGENTS, TOKENS),
    _do("begin", CALLS, SIMULATIONS, AGENTS, TOKENS),
    _do("mislead", SIMULATIONS),
    _do("mislead", SIMULATIONS),
    _post(CallEnded, CALLS, st.sampled_from(Outcome), USAGES, st.none() | st.tuples(VALUES, CLOCKS)),
    _post(CallEnded, CALLS, st.just(Outcome.DONE), USAGES, st.none() | st.tuples(VALUES, CLOCKS)),
    _post(CallEnded, CALLS, st.sampled_from(Outcome), USAGES, st.none(), st.tuples(VALUES, CLOCKS)),
    _post(DistanceHinted, SIMULATIONS, CLOCKS, st.dictionaries(AGENTS, VALUES)),
    _post(ActionStarted, SIMULATIONS, AGENTS, VALUES, CLOCKS),
    _post(StepTicked, SIMULATIONS, st.none() | VALUES),
    _post(AgentLeft, SIMULATIONS, AGENTS),
    _post(Rehomed, SIMULATIONS, AGENTS, st.sampled_from([GPU, EngineId("unknown")])),
    _post(SimulationEnded, SIMULATIONS),
    _post(ModeSet, SIMULATIONS, st.sampled_from(Mode)),
    _post(EstimatorSet, SIMULATIONS, st.sampled_from([*choosing.names(), "horoscope"])),
    _post(AgentPinned, SIMULATIONS, AGENTS, st.sampled_from([0.0, 2.0, math.inf])),
    _post(AgentPinned, SIMULATIONS, AGENTS, st.just(math.inf)),
    _post(AgentUnpinned, SIMULATIONS, AGENTS),
    _post(AdapterPinned, NAMES, st.sampled_from([2.0, math.inf])),
    _post(AdapterUnpinned, NAMES),
    _post(PrefetchAsked, SIMULATIONS, AGENTS, st.sampled_from([0.0, 2.0, 100.0])),
    _post(AdapterAsked, NAMES, st.sampled_from([0.0, 2.0, 100.0])),
    _post(PreviewAsked, st.just(GPU), st.booleans()),
    _post(PolicySet, st.just(GPU), st.sampled_from(["lru", "cost_aware", None, None])),
    _post(AdapterLetGo, NAMES, st.sampled_from([2.0, 100.0])),
    _post(Ticked),
    _post(Ticked),
    _do("settle", st.integers(0, 3), st.none() | st.just("no answer"), st.booleans()),
    _do("settle", st.just(0), st.none(), st.just(True)),
    _do("find"),
    _do("find"),
    _do("lose"),
    _do("remove"),
    _do("report"),
    _do("age_out"),
)


@pytest.fixture(autouse=True, scope="module")
def _a_guard_that_changes_its_mind_at_once() -> Iterator[None]:
    """In short histories nobody else would ever take charge."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guards, "_STAKE_MIN", 1)
        yield


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
    assert ranks_of(history.engine.wanted.adapters) == ranks_of(engine.wanted.adapters)
    assert set(history.engine.wanted.pinned_adapters) == set(engine.wanted.pinned_adapters)
    assert set(history.engine.wanted.no_host_copy) == set(engine.wanted.no_host_copy)
    assert not any(MemoryId(LORA, key) in history.engine.memories for key in history.left_behind()), (
        "what nobody shall use is dropped"
    )
    assert history.engine.pins == set(engine.wanted.pins)
    sent = history.core.totals()
    history.report()
    history.post(Ticked(history.at))
    after = history.core.totals()
    assert replace(after, plans=0, shadow_plans=0, corrected_plans=0) == replace(
        sent, plans=0, shadow_plans=0, corrected_plans=0
    ), "at rest"


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
        assert sizes["adapters"] <= 2
        assert sizes["loads_in_flight"] <= 3
        assert sizes["guard_running"] <= 5
        assert sizes["guard_ordered"] <= 3
        assert sizes["loads_waiting"] <= 6
