"""Who is named by which rung, and what the rungs below are asked."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import AgentName, CallId, SimulationId
from scalesim.proxy.recognition.guess import EXPLICIT, CallerKind, Rung, Told
from scalesim.proxy.recognition.ladder import SCOPES, Ladder, Left, Recognised
from scalesim.proxy.recognition.recipes.choosing import Index
from scalesim.proxy.recognition.recipes.shelf import Shelf

from .recipes import forms

CHAT = "/v1/chat/completions"
NOBODY = Told(None, "", None, "", 0.0)
INDEX = Shelf().index


def body_of(form: forms.Form) -> dict[str, object]:
    return {"messages": [{"role": one.role, "content": one.text} for one in form.prompt.messages]}


@dataclass
class Proxy:
    """Calls that go by a ladder one after another."""

    ladder: Ladder = field(default_factory=Ladder)
    left: list[Left] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.ladder.index = INDEX
        self._calls = itertools.count(1)

    def call(
        self, body: Mapping[str, object], told: Told = NOBODY, *, answer: str = "", route: str = CHAT
    ) -> Recognised:
        number = next(self._calls)
        found = self.ladder.recognise(CallId(number), float(number), told, route, body)
        if found.wants_answer:
            self.left += self.ladder.ended(CallId(number), number + 0.5, answer)
        return found

    def say(self, form: forms.Form, told: Told = NOBODY, *, answer: str = "") -> Recognised:
        return self.call(body_of(form), told, answer=answer)


def oasis(name: str) -> forms.Form:
    return forms.oasis(name, ["Bob", "Cid"])[0]


def told(simulation: str | None = None, client: str = "", agent: str | None = None) -> Told:
    of = None if simulation is None else SimulationId(simulation)
    return Told(of, client, None if agent is None else AgentName(agent), "X", EXPLICIT if agent else 0.0)


def test_whoever_is_named_outright_is_believed_and_nothing_is_kept() -> None:
    proxy = Proxy()
    before = proxy.ladder.sizes()
    found = proxy.say(oasis("Ann"), told("town", agent="Zoe"))
    assert (found.simulation, found.agent, found.confidence) == ("town", "Zoe", EXPLICIT)
    assert not found.wants_answer
    assert proxy.ladder.sizes() == before
    assert proxy.ladder.explained(SimulationId("town"), AgentName("Zoe")) is None


def test_a_recipe_names_the_agent_and_the_simulation() -> None:
    proxy = Proxy()
    found = proxy.say(oasis("Ann"))
    assert (found.simulation, found.agent, found.source) == ("oasis", "Ann", "recipe:oasis")
    assert 0.8 <= found.confidence < EXPLICIT
    assert proxy.ladder.explained(SimulationId("oasis"), AgentName("Ann")) == found
    assert proxy.ladder.named == {"recipe:oasis": 1}


def test_what_the_client_says_of_the_simulation_counts_more_than_the_recipe() -> None:
    assert Proxy().say(oasis("Ann"), told("town")).simulation == "town"


def test_a_caller_that_nobody_knows_is_nobody_and_counted() -> None:
    proxy = Proxy()
    found = proxy.call({"messages": [{"role": "user", "content": "What is the capital of France?"}]})
    assert (found.simulation, found.agent) == ("default", None)
    assert sum(proxy.ladder.unsure.values()) == 1


@pytest.mark.parametrize(
    "body", [{}, {"messages": 7}, {"messages": [3, {"content": [{"text": "\ud800"}]}]}, {"prompt": None}]
)
def test_a_body_of_no_known_form_is_nobodys(body: dict[str, object]) -> None:
    for route in (CHAT, "/v1/completions", "/v1/responses", "/generate", "/v1/embeddings"):
        assert Proxy().call(body, route=route).agent is None


def test_below_the_threshold_nobody_is_named_and_the_guess_is_counted() -> None:
    proxy = Proxy(Ladder(threshold=1.0))
    found = proxy.say(oasis("Ann"))
    assert found.agent is None
    assert found.source == "recipe:oasis"
    assert proxy.ladder.unsure == {"recipe:oasis": 1}
    assert proxy.ladder.sizes()["recognised_callers"] == 0


def test_rungs_that_are_off_say_nothing() -> None:
    assert Proxy(Ladder(rungs=frozenset())).say(oasis("Ann")).agent is None
    assert Proxy(Ladder(rungs=frozenset({Rung.ANSWERS}))).say(oasis("Ann")).agent is None


def test_a_request_that_repeats_an_answer_is_of_who_got_it() -> None:
    proxy = Proxy()
    plan = "I walk to the well and fetch water for the goats before noon, said"
    numbers = []
    for name in ("Ann", "Bob"):
        reasoning, *_, executor, _ = forms.mesa_llm(name, ["Cid"])
        numbers.append(reasoning.who)
        found = proxy.say(reasoning, answer=f'{{"reasoning": "so be it", "action": "{plan} {name}"}}')
        assert found.agent == reasoning.who
    calls = [proxy.say(with_last(executor, f"{plan} {name}")) for name in ("Ann", "Bob", "Ann")]
    assert [(one.simulation, one.agent, one.source) for one in calls] == [
        ("mesa-llm", numbers[0], "answer"),
        ("mesa-llm", numbers[1], "answer"),
        ("mesa-llm", numbers[0], "answer"),
    ]


def test_where_a_recipe_says_that_a_request_repeats_an_answer_short_ones_are_enough() -> None:
    proxy = Proxy()
    numbers = []
    for name in ("Ann", "Bob"):
        reasoning, *_, executor, _ = forms.mesa_llm(name, ["Cid"])
        numbers.append(reasoning.who)
        proxy.say(reasoning, answer='{"reasoning": "so be it", "action": "Go North."}')
    calls = [proxy.say(with_last(executor, "Go North.")) for _ in numbers]
    assert [(one.simulation, one.agent, one.source) for one in calls] == [
        ("mesa-llm", number, "answer") for number in numbers
    ]


def with_last(form: forms.Form, text: str) -> forms.Form:
    *others, last = form.prompt.messages
    return form._replace(prompt=forms.prompt(*others, (last.role, text)))


def test_equal_names_in_two_simulations_are_two_callers() -> None:
    proxy = Proxy()
    for simulation in ("a", "b"):
        assert proxy.say(oasis("Ann"), told(simulation)).simulation == simulation
    assert proxy.ladder.sizes()["recognition_scopes"] == 2
    assert proxy.ladder.sizes()["recognised_callers"] == 2


def test_no_name_that_was_found_is_as_good_as_one_that_was_given() -> None:
    """What goes by explicit names alone, as an assigned adapter does, must not go by these."""
    sure = [form for framework in (forms.oasis, forms.silisocs) for form in framework("Ann", ["Bob"])]
    assert all(Proxy().say(form).confidence < EXPLICIT for form in sure)


def test_a_step_is_told_once_and_never_goes_back() -> None:
    proxy = Proxy()
    timed = next(form for form in forms.mesa_llm("7", ["8"]) if form.step is not None)
    assert proxy.say(timed).step == timed.step
    assert proxy.say(timed).step is None


def test_game_masters_are_callers_of_their_own_kind() -> None:
    proxy = Proxy()
    master = next(form for form in forms.concordia("Ann", ["Bob"]) if form.other)
    found = proxy.say(master)
    assert found.kind is CallerKind.OTHER
    assert found.agent not in ("Ann", "Bob")


def test_calls_that_never_end_are_forgotten() -> None:
    ladder = Ladder(max_running=3)
    ladder.index = INDEX
    for number in range(10):
        text = {"messages": [{"role": "user", "content": f"You are {number}."}]}
        ladder.recognise(CallId(number), float(number), NOBODY, CHAT, text)
    assert ladder.sizes()["recognition_running"] == 3
    assert ladder.ended(CallId(0), 11.0, "") == []


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 200), st.sampled_from(["Ann", "Bob", "Cid"])), max_size=150))
def test_every_table_is_bounded_and_every_ended_call_forgotten(calls: list[tuple[int, str]]) -> None:
    proxy = Proxy()
    for client, name in calls:
        proxy.say(oasis(name), told(client=str(client)))
    sizes = proxy.ladder.sizes()
    assert sizes["recognition_scopes"] <= SCOPES
    assert sizes["recognition_running"] == 0
    assert sizes["recognised_callers"] <= 3


def test_what_each_recipe_fitted_is_counted_with_how_sure_it_was() -> None:
    proxy = Proxy()
    for _ in range(3):
        proxy.say(oasis("Ann"))
    fit = proxy.ladder.fit("oasis")
    assert (fit.calls, fit.named, round(fit.confidence, 2)) == (3, 3, 2.97)
    assert proxy.ladder.fit("concordia").calls == 0


def test_counts_of_recipes_that_are_gone_are_forgotten_when_another_one_fits() -> None:
    proxy = Proxy()
    proxy.say(oasis("Ann"))
    proxy.ladder.index = Index(one for one in INDEX.recipes if one.name != "oasis")
    proxy.say(oasis("Ann"))
    assert proxy.ladder.fit("oasis").calls == 1
    proxy.say(forms.mesa_llm("Ann", ["Bob"])[0])
    assert proxy.ladder.fit("oasis").calls == 0


def test_other_rungs_and_another_threshold_hold_from_the_next_call_on() -> None:
    proxy = Proxy()
    assert proxy.say(oasis("Ann")).agent == "Ann"
    proxy.ladder.configure(rungs=frozenset(Rung), threshold=1.0)
    assert proxy.say(oasis("Ann")).agent is None
    proxy.ladder.configure(rungs=frozenset(), threshold=0.5)
    assert proxy.say(oasis("Ann")).source == ""
