"""What a leader notes of places, without a Redis."""

from __future__ import annotations

from collections.abc import Iterable

from scalesim.proxy.core.config import ControllerConfig
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.events import CallEnded, CallStarted, DistanceHinted, EngineFound, Event, Rehomed
from scalesim.proxy.core.model import (
    AgentName,
    CallId,
    Capabilities,
    Clock,
    EngineId,
    Outcome,
    SimulationId,
    Usage,
)
from scalesim.proxy.state.facts import Facts

TOWN, ANN, KEY = SimulationId("town"), AgentName("Ann"), "town/Ann"
A, B = EngineId("a"), EngineId("b")


class _Leader:
    def __init__(self) -> None:
        self.controller = Controller(ControllerConfig())
        self.moved: list[str] = []
        self.facts = Facts(moved=self._note)
        self.facts.note_engines({name: {"part": 1.0} for name in (A, B)})
        for name in (A, B):
            self.hear(EngineFound(0.0, name, Capabilities("fake", "1", False)))

    def _note(self, keys: Iterable[str]) -> None:
        self.moved += keys

    def hear(self, event: Event) -> None:
        self.controller.handle(event)
        self.facts.follow(event, self.controller.keeping)


def _other(engine: EngineId | None) -> EngineId:
    return B if engine == A else A


def test_all_know_the_new_home_of_who_moved() -> None:
    leader = _Leader()
    usual = leader.facts.home_of(KEY)
    assert usual is not None
    leader.hear(CallStarted(1.0, CallId(1), TOWN, ANN, usual))
    leader.hear(CallEnded(2.0, CallId(1), Outcome.DONE, Usage(100, 0, 10)))
    leader.hear(DistanceHinted(2.0, TOWN, Clock.SECONDS, {ANN: 600.0}))
    leader.moved.clear()
    leader.hear(Rehomed(3.0, TOWN, ANN, _other(usual)))
    assert leader.facts.home_of(KEY) == _other(usual)
    assert leader.moved == [KEY]
    leader.hear(Rehomed(4.0, TOWN, ANN, usual))
    assert leader.facts.home_of(KEY) == usual
    assert len(leader.facts.tables["places"]) == 0, "rendezvous tells that by itself"


def test_who_called_meanwhile_stays_where_it_is() -> None:
    leader = _Leader()
    usual = leader.facts.home_of(KEY)
    assert usual is not None
    leader.hear(CallStarted(1.0, CallId(1), TOWN, ANN, usual))
    leader.hear(Rehomed(2.0, TOWN, ANN, _other(usual)))
    assert leader.facts.home_of(KEY) == usual


def test_of_agents_that_others_draw_nobody_guesses_the_place() -> None:
    leader = _Leader()
    usual = leader.facts.home_of(KEY)
    assert usual is not None
    assert leader.facts.home_of(KEY, "town") is None, "it is new: the rule says where it goes"
    leader.hear(CallStarted(1.0, CallId(1), TOWN, ANN, usual, beginning="town"))
    assert leader.facts.home_of(KEY, "town") == usual
    leader.hear(CallEnded(2.0, CallId(1), Outcome.DONE, Usage(100, 0, 10)))
    leader.hear(CallStarted(3.0, CallId(2), TOWN, ANN, usual, beginning=None))
    assert leader.facts.home_of(KEY, "town") == usual, "a short prompt between long ones changes nothing"
    leader.moved.clear()
    # Another leader knows it by what was written down.
    heir = _Leader()
    keeping = leader.controller.keeping
    assert heir.controller.keeping.restore_simulation(TOWN, keeping.simulation(TOWN, 0.0), 0.0, 4.0)
    assert heir.controller.keeping.restore_agent(TOWN, ANN, keeping.agent(TOWN, ANN, 0.0, 4.0), 0.0, 4.0)
    heir.facts.restored(TOWN, ANN, usual, heir.controller.keeping)
    while heir.facts.places.behind:
        heir.facts.places.work()
    assert heir.facts.home_of(KEY, "town") == usual
