from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from scalesim.engine_adapters.base import EngineAdapter
from scalesim.proxy.core.model import EngineId, Owner
from scalesim.proxy.core.placement import DEFAULT, find
from scalesim.proxy.core.placer import Caller, Placer
from scalesim.proxy.core.placing import Bounds, Why
from scalesim.proxy.engines.breaker import BreakerRules, Breakers, Verdict
from scalesim.proxy.engines.fleet import Fleet, NoEngine
from scalesim.proxy.engines.models import ModelNotFound, Models, Serving
from scalesim.proxy.engines.registry import Address, NameTaken, Registry, State
from tests.support.fake_adapter import FakeAdapter

A, B, C = EngineId("a"), EngineId("b"), EngineId("c")
EMPTY = {
    "registered_engines": 0,
    "served_models": 0,
    "served_adapters": 0,
    "breakers": 0,
    "placed_agents": 0,
    "placed_engines": 0,
    "leaving_engines": 0,
}


class Noted:
    """Lines that only note what they are told."""

    def __init__(self) -> None:
        self.adapters: dict[EngineId, EngineAdapter] = {}
        self.forgotten: list[EngineId] = []
        self.doubted: list[EngineId] = []

    def add_engine(self, adapter: EngineAdapter) -> None:
        assert adapter.engine not in self.adapters
        self.adapters[adapter.engine] = adapter

    def remove_engine(self, engine: EngineId) -> None:
        del self.adapters[engine]

    def forget_engine(self, engine: EngineId) -> None:
        assert engine not in self.adapters
        self.forgotten.append(engine)

    def doubt(self, engine: EngineId) -> None:
        self.doubted.append(engine)

    def features(self, engine: EngineId) -> frozenset[str]:
        return frozenset({f"of {engine}"}) if engine in self.adapters else frozenset()


class Rig:
    """A fleet that is told everything by the test. Time goes on by a second with each word."""

    def __init__(self, *names: str, aliases: dict[str, str] | None = None, **placing: Any) -> None:
        self.lines = Noted()
        self.at = 0.0
        self.fleet = Fleet(
            registry=Registry(drain_s=100.0),
            models=Models(aliases or {}, is_registered=lambda name: False),
            breakers=Breakers(BreakerRules(failures_in_a_row=1, rest_s=7.0)),
            placer=Placer(find(DEFAULT), Bounds(**placing), ramp_s=0.0),
            adapter_for=lambda address: FakeAdapter(address.base_url, engine=address.name),
            lines=self.lines,
        )
        for name in names:
            self.come(name)

    def now(self) -> float:
        self.at += 1.0
        return self.at

    def come(self, name: str, *models: str, capacity: int | None = 1000, boot_id: str = "1") -> None:
        """Registered, asked what it serves, and up."""
        self.add(name)
        self.fleet.listed(EngineId(name), [{"id": one} for one in models or ("llama",)])
        self.fleet.answered(EngineId(name), boot_id, capacity, self.now())

    def add(self, name: str, url: str | None = None, weight: float | None = None) -> None:
        self.fleet.add(Address(EngineId(name), url or f"http://{name}:30000", weight), self.now())

    def call(self, agent: str | None = None, model: object = "llama", without: Sequence[str] = ()) -> str:
        """Placed, and not ended."""
        left_out = [EngineId(name) for name in without]
        return self.fleet.place(Caller(agent), self.fleet.serving(model), self.now(), left_out).engine

    def lose(self, name: str) -> None:
        for _ in range(2):
            self.fleet.silent(EngineId(name), self.now(), "connection refused")


def test_a_call_goes_where_its_agents_memory_is() -> None:
    rig = Rig("a", "b", "c")
    home = rig.call("Ann")
    rig.fleet.end(EngineId(home), "Ann", 500)
    assert {rig.call("Ann") for _ in range(5)} == {home}
    assert rig.fleet.placer.placed[Why.HOME] == 5
    assert rig.fleet.state(next(iter(rig.fleet.registry))).entry.state is State.UP


def test_every_name_passes_as_long_as_there_is_one_model() -> None:
    rig = Rig("a", "b")
    for name in ("llama", "whatever", None, 7):
        assert rig.fleet.serving(name) == Serving("", None, frozenset({A, B}))
    assert rig.fleet.merged() is not None


def test_one_engine_answers_for_itself_what_it_serves() -> None:
    assert Rig("a").fleet.merged() is None
    assert Rig("a", aliases={"gpt": "llama"}).fleet.merged() is not None


def test_several_models_are_told_apart_and_an_unknown_one_is_refused() -> None:
    rig = Rig("a")
    rig.come("b", "qwen")
    assert rig.fleet.serving("qwen") == Serving("qwen", None, frozenset({B}))
    assert rig.call(model="qwen") == "b"
    with pytest.raises(ModelNotFound, match="mistral"):
        rig.fleet.serving("mistral")
    assert rig.fleet.key_of(Owner("town/Ann"), rig.fleet.serving("qwen")) != "town/Ann"


def test_an_alias_alone_makes_names_strict() -> None:
    rig = Rig("a", aliases={"gpt": "llama"})
    assert rig.fleet.serving("gpt").model == "llama"
    with pytest.raises(ModelNotFound):
        rig.fleet.serving("gpt-4")


def test_a_name_that_nobody_lists_goes_only_where_nobody_knows_what_is_served() -> None:
    """The other one would answer with its own model, and say nothing of it."""
    rig = Rig("a")
    rig.add("b")
    assert rig.fleet.serving("qwen").engines == {B}
    assert rig.fleet.serving("llama").engines == {A}
    rig.fleet.unlisted(B, "it lists no models")
    assert rig.fleet.serving("qwen").engines == {A, B}


def test_a_name_that_one_may_serve_that_has_not_told_yet_is_no_error_of_the_client() -> None:
    rig = Rig("a")
    rig.come("b", "qwen")
    rig.add("c")
    with pytest.raises(NoEngine, match="'c' at http://c:30000 is starting"):
        rig.fleet.serving("mistral")
    assert rig.fleet.serving("qwen").engines == {B}


def test_a_lost_engine_gets_no_calls_while_another_is_up_and_is_tried_where_none_is() -> None:
    rig = Rig("a", "b")
    rig.lose("a")
    assert {rig.call() for _ in range(4)} == {"b"}
    rig.lose("b")
    assert rig.call() in ("a", "b"), "what our questions do not reach may still answer calls"
    assert rig.lines.doubted == [A, A, B, B]


def test_an_engine_that_has_not_answered_yet_is_tried_where_no_other_is() -> None:
    rig = Rig()
    rig.add("a")
    assert rig.call("Ann") == "a"
    rig.fleet.end(A, "Ann", 10)
    rig.fleet.answered(A, "1", 1000, rig.now())
    assert rig.call("Ann") == "a"
    assert rig.fleet.placer.placed[Why.HOME] == 1


def test_an_engine_whose_calls_fail_is_left_alone_and_the_refusal_says_for_how_long() -> None:
    rig = Rig("a", "b")
    for name in (A, B):
        breaker = rig.fleet.breakers.of(name)
        given = breaker.begin(rig.at)
        assert given is not None
        breaker.end(given, rig.at, Verdict.FAILED)
    with pytest.raises(NoEngine, match="'a' at http://a:30000 is up") as refused:
        rig.call()
    assert refused.value.retry_after_s == 6.0
    rig.fleet.silent(A, rig.now(), "connection refused")
    with pytest.raises(NoEngine, match="connection refused"):
        rig.call()
    rig.at += 10.0
    assert rig.call() in ("a", "b")


def test_an_engine_that_returns_may_be_tried_at_once() -> None:
    rig = Rig("a")
    breaker = rig.fleet.breakers.of(A)
    given = breaker.begin(rig.at)
    assert given is not None
    breaker.end(given, rig.at, Verdict.FAILED)
    rig.lose("a")
    rig.fleet.answered(A, "2", 1000, rig.now())
    assert rig.call() == "a"


def test_those_that_failed_a_call_are_left_out_of_it() -> None:
    rig = Rig("a", "b")
    assert rig.call(without=["a"]) == "b"
    with pytest.raises(NoEngine):
        rig.call(without=["a", "b"])


def test_without_engines_there_is_a_refusal() -> None:
    with pytest.raises(NoEngine, match="there is no engine"):
        Rig().call()
    with pytest.raises(NoEngine, match="there is no engine"):
        Rig().fleet.somebody(0.0)


def test_what_is_no_call_goes_to_the_engine_with_the_least_to_do_and_counts_nothing() -> None:
    rig = Rig("a", "b")
    busy = rig.call()
    assert {rig.fleet.somebody(rig.now()) for _ in range(3)} == {A, B} - {EngineId(busy)}
    assert sum(rig.fleet.placer.placed.values()) == 1
    assert rig.fleet.somebody(rig.now(), without=[A]) == B


def test_an_engine_gets_calls_by_the_size_of_its_cache_unless_it_was_given_a_weight() -> None:
    rig = Rig(unhurried_calls=0)
    rig.come("a", capacity=3000)
    rig.come("b", capacity=1000)
    called = [rig.call() for _ in range(40)]
    assert called.count("a") == 30
    rig = Rig(unhurried_calls=0)
    rig.come("a", capacity=3000)
    rig.add("b", weight=1.5)
    rig.fleet.answered(B, "1", 1, rig.now())
    rig.fleet.listed(B, [{"id": "llama"}])
    called = [rig.call() for _ in range(50)]
    assert called.count("b") == 30, "an engine of the usual size has a weight of 1"
    rig.add("b", weight=4.0)
    called += [rig.call() for _ in range(50)]
    assert called.count("b") == 80, "it was given another weight"


def test_an_engine_that_does_not_tell_its_size_counts_as_a_usual_one() -> None:
    rig = Rig(unhurried_calls=0)
    rig.come("a", capacity=70_000)
    rig.come("b", capacity=None)
    assert [rig.call() for _ in range(20)].count("b") == 10


def test_a_draining_engine_gets_no_calls_and_leaves_with_its_last_one() -> None:
    rig = Rig("a", "b")
    running = rig.call("Ann")
    engine, other = EngineId(running), ({"a", "b"} - {running}).pop()
    rig.fleet.remove(engine, rig.now())
    assert rig.call("Ann") == other
    assert rig.fleet.placer.placed[Why.LOST] == 1
    assert rig.lines.forgotten == []
    rig.fleet.end(engine, "Ann", 100)
    assert engine not in rig.lines.adapters
    assert rig.lines.forgotten == [engine]
    with pytest.raises(KeyError):
        rig.fleet.adapter(engine)
    assert rig.fleet.features(engine) == frozenset()


def test_the_only_engine_is_not_used_while_it_drains() -> None:
    rig = Rig("a")
    rig.call()
    rig.fleet.remove(A, rig.now())
    with pytest.raises(NoEngine, match="draining"):
        rig.call()
    rig.add("a")
    assert rig.call() == "a", "registered again, it stays"


def test_an_engine_that_is_removed_at_once_is_known_until_its_last_call_has_ended() -> None:
    rig = Rig("a")
    rig.call("Ann")
    rig.fleet.remove(A, rig.now(), drain=False)
    assert A not in rig.lines.adapters
    assert rig.lines.forgotten == []
    assert rig.fleet.sizes()["leaving_engines"] == 1
    rig.fleet.breakers.of(A)  # as a call does that is still there
    rig.fleet.end(A, "Ann", 100)
    assert rig.lines.forgotten == [A]
    rig.fleet.forget(Owner("Ann"))
    assert rig.fleet.sizes() == EMPTY


def test_a_name_that_comes_back_before_its_last_call_has_ended_is_not_forgotten() -> None:
    rig = Rig("a")
    rig.call()
    rig.fleet.remove(A, rig.now(), drain=False)
    rig.come("a")
    rig.fleet.end(A)
    assert rig.lines.forgotten == []
    assert rig.call() == "a"


def test_what_drains_for_too_long_leaves() -> None:
    rig = Rig("a", "b")
    engine = EngineId(rig.call())
    rig.fleet.remove(engine, rig.now())
    rig.fleet.tidy(rig.at + 99.0)
    assert engine in rig.lines.adapters
    rig.fleet.tidy(rig.at + 100.0)
    assert engine not in rig.lines.adapters
    assert rig.lines.forgotten == []
    rig.fleet.end(engine)
    assert rig.lines.forgotten == [engine]


def test_nothing_is_left_of_engines_that_came_and_went() -> None:
    rig = Rig()
    for number in range(20):
        name = EngineId(f"engine-{number}")
        rig.come(name, "llama", f"llama-{number}")
        rig.fleet.breakers.of(name)
        rig.call("Ann")
        rig.fleet.end(name, "Ann", 7)
        rig.fleet.remove(name, rig.now())
    rig.fleet.forget(Owner("Ann"))
    assert rig.fleet.sizes() == EMPTY
    assert rig.lines.adapters == {}
    # What is still on its way from one that has left makes nothing known again.
    rig.fleet.answered(A, "1", 1000, rig.now())
    rig.fleet.silent(A, rig.now())
    rig.fleet.listed(A, [{"id": "llama"}])
    rig.fleet.unlisted(A, "no list")
    rig.fleet.end(A)
    assert rig.fleet.sizes() == EMPTY


def test_an_agent_that_left_has_no_home_for_any_model() -> None:
    rig = Rig("a")
    rig.come("b", "qwen")
    for model in ("llama", "qwen"):
        serving = rig.fleet.serving(model)
        key = rig.fleet.key_of(Owner("town/Ann"), serving)
        rig.fleet.end(rig.fleet.place(Caller(key), serving, rig.now()).engine)
    assert rig.fleet.sizes()["placed_agents"] == 2
    rig.fleet.forget(Owner("town/Ann"))
    assert rig.fleet.sizes()["placed_agents"] == 0


def test_an_engine_that_started_anew_has_forgotten_its_agents() -> None:
    rig = Rig("a")
    rig.call("Ann")
    rig.fleet.answered(A, "2", 1000, rig.now())
    rig.call("Ann")
    assert rig.fleet.placer.placed[Why.FORGOTTEN] == 1


def test_an_address_that_another_has_is_refused_and_changes_nothing() -> None:
    rig = Rig("a")
    with pytest.raises(NameTaken):
        rig.add("b", "http://a:30000")
    with pytest.raises(NameTaken):
        rig.add("a", "http://elsewhere:1")
    assert list(rig.lines.adapters) == [A]
