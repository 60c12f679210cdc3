from __future__ import annotations

import hashlib
import math
from itertools import pairwise

import pytest

from scalesim.workloads.plans import TEMPLATES
from scalesim.workloads.program import Program, Told, Wishes
from scalesim.workloads.scenarios import scenario


def town(**wishes: float) -> Program:
    return scenario("independent").generate(Wishes(**wishes))  # type: ignore[arg-type]  # by name


@pytest.fixture(scope="module")
def large() -> Program:
    """Short texts: only who calls when, and how often, is looked at."""
    return town(agents=150, steps=40, seed=3, persona_tokens=20, growth_tokens=0)


def tokens(text: str, wishes: Wishes) -> float:
    return len(text) / wishes.chars_per_token


def test_the_same_seed_makes_the_same_program_and_another_seed_another() -> None:
    assert town(agents=6, steps=5, seed=1) == town(agents=6, steps=5, seed=1)
    assert town(agents=6, steps=5, seed=1) != town(agents=6, steps=5, seed=2)


def test_more_steps_continue_the_same_program() -> None:
    assert town(agents=6, steps=9).steps[:5] == town(agents=6, steps=5).steps


def test_eighteen_percent_of_the_agents_are_active_in_a_step(large: Program) -> None:
    active = [len(step.activations) / len(large.agents) for step in large.steps]
    assert sum(active) / len(active) == pytest.approx(1 / 5.5, abs=0.01)
    # From the first steps to the last ones: nobody starts or ends together.
    assert sum(active[:10]) / 10 == pytest.approx(1 / 5.5, abs=0.03)
    assert sum(active[-10:]) / 10 == pytest.approx(1 / 5.5, abs=0.03)


@pytest.mark.slow
def test_agents_are_active_as_often_as_asked_for() -> None:
    program = town(agents=200, steps=40, persona_tokens=20, growth_tokens=0, mean_gap_steps=3)
    active = sum(len(step.activations) for step in program.steps) / 40 / 200
    assert active == pytest.approx(1 / 3, abs=0.02)


def test_an_activation_is_three_to_four_calls_on_average_and_two_to_eight_in_all(large: Program) -> None:
    lengths = [len(activation.calls) for step in large.steps for activation in step.activations]
    assert 3 <= sum(lengths) / len(lengths) <= 4
    assert set(lengths) == set(range(2, 9))


def test_distances_say_when_each_agent_is_active_next(large: Program) -> None:
    for step, following in pairwise(large.steps):
        active = {activation.agent for activation in step.activations}
        assert set(step.distances) == set(large.agents)
        assert {agent for agent, distance in step.distances.items() if distance == 0} == active
        for agent, distance in step.distances.items():
            if agent not in active:
                assert following.distances[agent] == distance - 1


def test_an_agent_acts_until_its_next_activation(large: Program) -> None:
    for step, following in pairwise(large.steps):
        for activation in step.activations:
            assert following.distances[activation.agent] == activation.acts_for_steps - 1


def test_the_last_steps_know_of_activations_behind_the_end(large: Program) -> None:
    last = large.steps[-1]
    assert all(math.isfinite(distance) for distance in last.distances.values())
    assert max(last.distances.values()) > 10
    assert all(1 <= activation.acts_for_steps < math.inf for activation in last.activations)


def test_prompts_are_persona_then_history_then_task_in_about_the_wanted_sizes() -> None:
    wishes = Wishes(agents=12, steps=20, persona_tokens=1000, growth_tokens=64, chars_per_token=3.5)
    calls_before: dict[str, int] = {}
    for _, activation, _, call in scenario("independent").generate(wishes).calls():
        persona, *history, task = call.messages
        before = calls_before.get(activation.agent, 0)
        calls_before[activation.agent] = before + 1
        assert persona["role"] == "system"
        assert tokens(persona["content"], wishes) == pytest.approx(1000, rel=0.02)
        assert len(history) == before
        assert all(tokens(event["content"], wishes) == pytest.approx(60, abs=5) for event in history)
        template = TEMPLATES[call.template]
        assert tokens(task["content"], wishes) == pytest.approx(template.tokens, abs=12)
        assert template.least_output <= call.max_tokens <= template.most_output


def test_an_agent_s_prompts_extend_each_other_but_for_the_task() -> None:
    prefixes: dict[str, tuple[object, ...]] = {}
    for _, activation, _, call in town(agents=6, steps=20).calls():
        before = prefixes.get(activation.agent, ())
        assert call.messages[: len(before)] == before
        prefixes[activation.agent] = call.messages[:-1]


def test_agents_have_personas_of_their_own_from_the_first_word_on() -> None:
    heads: dict[str, str] = {}
    for _, activation, _, call in town(agents=12, steps=20).calls():
        heads[activation.agent] = call.messages[0]["content"][:20]
    assert len(heads) > 10
    assert len(set(heads.values())) == len(heads)


def test_without_growth_there_is_no_history() -> None:
    assert {len(call.messages) for *_, call in town(agents=6, steps=20, growth_tokens=0).calls()} == {2}


def digest(program: Program) -> str:
    """Of everything that decides what an engine is asked, and what is told of it."""
    digest = hashlib.sha256()

    def add(*parts: object) -> None:
        digest.update(repr(parts).encode())

    add(program.scenario, program.agents, sorted(program.adapters.items()))
    for step in program.steps:
        add(step.index, list(step.distances.items()))
        for activation in step.activations:
            add(activation.agent, activation.acts_for_steps, activation.adapter)
            for call in activation.calls:
                messages = [sorted(message.items()) for message in call.messages]
                add(messages, call.max_tokens, call.template)
    return digest.hexdigest()


def test_the_program_is_that_of_the_published_results_to_the_byte() -> None:
    small = Wishes(agents=6, steps=6, persona_tokens=60)
    other = Wishes(11, 9, 7, 40, 9, 2.5, output_share=0.5, chars_per_token=3.1, adapters=True)
    generate = scenario("independent").generate
    assert digest(generate(small)) == "f5666b4d7b6ee89df5d873e3ae00fd617c675916b4c00b81285d51f3af92c9cd"
    assert digest(generate(other)) == "d4f501e622d04dcdc6584e5608eb574d13fc22654c680ba75a38809f146fae3b"


def test_a_plan_says_all_there_is_to_know(large: Program) -> None:
    assert large.tells() == (Told.EXACT, Told.PLAN, Told.ANSWERS, Told.TICKS, Told.NONE)
    for step in large.steps:
        assert step.known.actions == step.distances
        assert all(one.planned_steps == one.acts_for_steps for one in step.activations)
    assert large.calls_by_trigger() == {"plan": sum(1 for _ in large.calls())}
