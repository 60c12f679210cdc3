"""Agents that call late leave engines that hold too much, whatever happens meanwhile; on a real core and a real fleet, without engines."""

from __future__ import annotations

import math
from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.app.engines import Moves
from scalesim.proxy.core.config import ControllerConfig
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.events import (
    AgentPinned,
    CallEnded,
    CallStarted,
    DistanceHinted,
    EngineFound,
    Event,
    Rehomed,
    Ticked,
)
from scalesim.proxy.core.model import (
    AgentName,
    CallId,
    Capabilities,
    Clock,
    EngineId,
    Outcome,
    SimulationId,
    Usage,
    owner_of,
)
from scalesim.proxy.core.placement import DEFAULT, find
from scalesim.proxy.core.placer import Caller, Placer
from scalesim.proxy.core.placing import Bounds, Why
from scalesim.proxy.engines.breaker import BreakerRules, Breakers
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.engines.models import Models
from scalesim.proxy.engines.registry import Address, Registry
from tests.support.fake_adapter import FakeAdapter
from tests.support.lines import NoLines

TOWN = SimulationId("town")
NAMES = tuple(map(AgentName, "ABCDEFGH"))
FAR_S = 60.0
BOUNDS = Bounds()


class _Proxy:
    """Time goes on by a second with each thing that happens."""

    def __init__(self, *engines: str, model: str = "llama") -> None:
        self.at = 0.0
        self.controller = Controller(ControllerConfig())
        self.fleet = Fleet(
            registry=Registry(drain_s=100.0),
            models=Models({}),
            breakers=Breakers(BreakerRules()),
            placer=Placer(find(DEFAULT), BOUNDS, ramp_s=0.0),
            adapter_for=lambda address: FakeAdapter(address.base_url, engine=address.name),
            lines=NoLines(),
        )
        self.leads = True
        self.moved: list[Rehomed] = []
        self.moves = Moves(self.fleet, self.controller, self._post, lambda: self.leads, FAR_S)
        self.calls: list[tuple[CallId, AgentName, EngineId]] = []
        self._number = 0
        for engine in engines:
            self.come(engine, model)

    def come(self, name: str, model: str = "llama") -> None:
        engine = EngineId(name)
        self.fleet.add(Address(engine, f"http://{name}:30000"), self.at)
        self.fleet.listed(engine, [{"id": model}])
        self.fleet.answered(engine, "1", 10_000, self.at)
        features = frozenset({"order", "pin"})
        self.tell(EngineFound(self.at, engine, Capabilities("fake", "1", True, features, "1", 10_000)))

    def tell(self, event: Event) -> None:
        for action in self.controller.handle(event):
            assert action  # an engine that never answers: nothing of that matters here
        self.controller.check()

    def _post(self, event: Event) -> None:
        """What must hold whenever somebody moves."""
        assert isinstance(event, Rehomed)
        snapshot = self.controller.agent(TOWN, event.agent)
        assert snapshot is not None
        assert snapshot.running_calls == 0
        assert not snapshot.in_activation
        assert snapshot.pin is None
        assert snapshot.distance is not None
        assert snapshot.distance > FAR_S
        before = snapshot.engine
        self.tell(event)
        assert self.home(event.agent) == event.engine != before
        self.moved.append(event)

    def home(self, agent: AgentName, model: str = "llama") -> EngineId | None:
        """Where the core knows its memory to be, and its next call goes."""
        snapshot = self.controller.agent(TOWN, agent)
        assert snapshot is not None
        serving = self.fleet.serving(model)
        assert self.fleet.placer.home_of(self.fleet.key_of(owner_of(TOWN, agent), serving)) == snapshot.engine
        return snapshot.engine

    def begin(self, agent: AgentName, model: str = "llama") -> Why:
        self.at += 1.0
        self._number += 1
        call, serving = CallId(self._number), self.fleet.serving(model)
        key = self.fleet.key_of(owner_of(TOWN, agent), serving)
        engine, why = self.fleet.place(Caller(key), serving, self.at)
        self.calls.append((call, agent, engine))
        self.tell(CallStarted(self.at, call, TOWN, agent, engine, None, why is not Why.DETOUR))
        return why

    def end(self, which: int, tokens: int, model: str = "llama") -> None:
        self.at += 1.0
        call, agent, engine = self.calls.pop(which)
        key = self.fleet.key_of(owner_of(TOWN, agent), self.fleet.serving(model))
        self.fleet.end(engine, key, tokens)
        self.tell(CallEnded(self.at, call, Outcome.DONE, Usage(tokens, 0, 0)))

    def call(self, agent: AgentName, tokens: int = 100, model: str = "llama") -> Why:
        why = self.begin(agent, model)
        self.end(len(self.calls) - 1, tokens, model)
        return why

    def hint(self, away_s: float, *agents: AgentName) -> None:
        self.tell(DistanceHinted(self.at, TOWN, Clock.SECONDS, dict.fromkeys(agents, away_s)))

    def look(self) -> list[Rehomed]:
        self.at += 1.0
        self.tell(Ticked(self.at))
        self.moved = []
        self.moves(self.at)
        return self.moved

    def held(self) -> dict[str, int]:
        return {name: tokens for name, (_, tokens) in self.fleet.placer.loads().items()}


def _full(*, away_s: float = 600.0) -> _Proxy:
    """Eight agents on one engine; another one has come up since."""
    proxy = _Proxy("a")
    for agent in NAMES:
        proxy.call(agent)
    proxy.hint(away_s, *NAMES)
    proxy.come("b")
    return proxy


def test_an_engine_that_comes_up_gets_its_share_of_those_who_call_late() -> None:
    proxy = _full()
    assert {one.engine for one in proxy.look()} == {"b"}
    assert proxy.held() == {"a": 400, "b": 400}
    assert proxy.fleet.placer.moved == 4
    assert proxy.look() == [], "once is enough"
    assert Counter(proxy.call(agent) for agent in NAMES) == {Why.HOME: 8}
    assert Counter(map(proxy.home, NAMES)) == {"a": 4, "b": 4}


def test_nobody_moves_who_calls_soon() -> None:
    assert _full(away_s=30.0).look() == []


def test_who_is_pinned_or_calls_stays() -> None:
    proxy = _full()
    for agent in NAMES[:4]:
        proxy.tell(AgentPinned(proxy.at, TOWN, agent, math.inf))
    for agent in NAMES[4:7]:
        proxy.begin(agent)
    proxy.at += 1.0
    assert [one.agent for one in proxy.look()] == [NAMES[7]]


def test_who_does_not_lead_moves_nobody() -> None:
    proxy = _full()
    proxy.leads = False
    assert proxy.look() == []
    proxy.leads = True
    assert len(proxy.look()) == 4


def test_nobody_moves_to_an_engine_with_another_model() -> None:
    proxy = _Proxy("a")
    proxy.come("q", "qwen")
    for agent in NAMES:
        proxy.call(agent)
    proxy.hint(600.0, *NAMES)
    assert proxy.look() == []
    proxy.come("b")
    assert {one.engine for one in proxy.look()} == {"b"}
    assert proxy.held() == {"a": 400, "b": 400, "q": 0}


def test_what_an_agent_has_for_each_model_lives_by_itself() -> None:
    proxy = _Proxy("a")
    proxy.come("q", "qwen")
    for agent in NAMES:
        proxy.call(agent, model="qwen")
        proxy.call(agent)
    proxy.hint(600.0, *NAMES)
    proxy.come("r", "qwen")
    assert proxy.look() == [], "the core knows of the last one alone"
    proxy.come("b")
    assert {one.engine for one in proxy.look()} == {"b"}
    assert proxy.held() == {"a": 400, "b": 400, "q": 800, "r": 0}


_WHO = st.sampled_from(NAMES)
_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("call"), _WHO, st.integers(1, 400)),
        st.tuples(st.just("begin"), _WHO, st.just(0)),
        st.tuples(st.just("end"), _WHO, st.integers(1, 400)),
        st.tuples(st.just("hint"), _WHO, st.sampled_from([1, 61, 600, 6000])),
        st.tuples(st.just("pin"), _WHO, st.sampled_from([2, 100])),
        st.tuples(st.just("lose"), _WHO, st.integers(0, 2)),
        st.tuples(st.just("look"), _WHO, st.just(0)),
    ),
    max_size=60,
)


@given(steps=_STEPS)
@settings(max_examples=25, deadline=None)
def test_only_those_move_that_nothing_holds_and_only_to_where_there_is_room(
    steps: list[tuple[str, AgentName, int]],
) -> None:
    """That nobody is active, pinned or near is asserted at each move; here, that no engine gets more than its share."""
    proxy = _Proxy("a")
    for agent in NAMES:
        proxy.call(agent)
    proxy.hint(600.0, *NAMES)
    for engine in "bc":
        proxy.come(engine)
    for what, who, number in [*steps, ("look", NAMES[0], 0)]:
        match what:
            case "call":
                proxy.call(who, number)
            case "begin":
                proxy.begin(who)
            case "end" if proxy.calls:
                proxy.end(number % len(proxy.calls), number)
            case "hint" if proxy.controller.knows(TOWN, who):
                proxy.hint(float(number), who)
            case "pin":
                proxy.tell(AgentPinned(proxy.at, TOWN, who, float(number)))
            case "lose":
                engine = EngineId("abc"[number])
                proxy.fleet.silent(engine, proxy.at)
                proxy.fleet.answered(engine, "1", 10_000, proxy.at)
            case "look":
                before = proxy.held()
                fair = sum(before.values()) / 3
                for one in proxy.look():
                    assert before[one.engine] < fair, "only where there was room"
                after = proxy.held()
                assert sum(after.values()) == sum(before.values())
                assert all(after[one] <= max(fair, before[one]) for one in after)
