from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.workloads.plans import CHANGED_PLAN
from scalesim.workloads.program import Impossible, Program, Space, Told, Wishes
from scalesim.workloads.scenarios.interaction import generate

BUSY = {"tiles": 60.0, "cooldown": 100.0}


def town(agents: int, steps: int, seed: int = 1, options: dict[str, float] | None = None) -> Program:
    return generate(Wishes(agents, steps, seed, persona_tokens=20, growth_tokens=0, options=options or {}))


@pytest.fixture(scope="module")
def large() -> Program:
    return town(80, 24, seed=3)


programs = st.builds(
    town, st.integers(1, 10), st.integers(1, 8), st.integers(0, 10**6), st.sampled_from([{}, BUSY])
)
few = settings(max_examples=10, deadline=None)


def test_about_eighteen_percent_of_the_agents_are_active_in_a_step(large: Program) -> None:
    active = [len(step.activations) / len(large.agents) for step in large.steps]
    assert sum(active) / len(active) == pytest.approx(1 / 5.5, abs=0.02)
    assert sum(active[:10]) / 10 == pytest.approx(1 / 5.5, abs=0.04)
    assert sum(active[-10:]) / 10 == pytest.approx(1 / 5.5, abs=0.04)


def test_calls_say_what_triggered_them(large: Program) -> None:
    calls = large.calls_by_trigger()
    assert set(calls) == {"interaction", "plan"}
    assert 0.1 < calls["interaction"] / sum(calls.values()) < 0.4
    for _, activation, _, call in large.calls():
        assert call.template != "utterance" or activation.trigger == "interaction"


@pytest.mark.slow
def test_a_busier_town_has_more_conversations(large: Program) -> None:
    def share(program: Program) -> float:
        return program.calls_by_trigger()["interaction"] / sum(program.calls_by_trigger().values())

    assert share(town(60, 20, options={"tiles": 140})) > 1.5 * share(large)
    assert share(town(60, 20, options={"radius": 1})) < share(large)


def test_it_has_plans_and_positions_to_tell_in_tiles_and_steps(large: Program) -> None:
    assert large.tells() == (Told.EXACT, Told.PLAN, Told.SPATIAL, Told.ANSWERS, Told.TICKS, Told.NONE)
    assert large.space == Space(radius=4, speed=30, cooldown=800 / 30)


@few
@given(programs)
def test_distances_say_when_each_agent_is_active_next(program: Program) -> None:
    for step, following in pairwise(program.steps):
        acts_for = {activation.agent: activation.acts_for_steps for activation in step.activations}
        for agent, distance in step.distances.items():
            assert following.distances[agent] == acts_for.get(agent, distance) - 1
    assert all(math.isfinite(distance) for distance in program.steps[-1].distances.values())


@few
@given(programs)
def test_what_is_known_is_the_plan_and_an_agent_is_never_later_than_that(program: Program) -> None:
    for step in program.steps:
        triggers = {activation.agent: activation.trigger for activation in step.activations}
        for agent, left in step.known.actions.items():
            assert step.distances[agent] <= left
            assert (triggers.get(agent) == "plan") == (left == 0)
        for activation in step.activations:
            assert activation.planned_steps is not None
            assert 1 <= activation.acts_for_steps <= activation.planned_steps


@few
@given(programs)
def test_positions_are_known_of_everybody_and_speeds_of_those_who_walk(program: Program) -> None:
    for step in program.steps:
        known = step.known
        assert set(known.positions) == set(known.destinations) == set(known.speeds) == set(program.agents)
        for agent, position in known.positions.items():
            assert known.speeds[agent] == (0 if known.destinations[agent] == position else 30)


@few
@given(programs)
def test_it_takes_two_to_talk_and_they_are_near_each_other_when_the_step_is_over(program: Program) -> None:
    assert program.space is not None
    for step, following in pairwise(program.steps):
        talkers = [one.agent for one in step.activations if one.trigger == "interaction"]
        assert len(talkers) == 2 * len(following.known.met)
        for agent in talkers:
            # They stand where they met, and it is known that they did.
            assert sum(agent in pair for pair in following.known.met) == 1
            near = [
                math.dist(following.known.positions[agent], following.known.positions[other])
                for other in talkers
                if other != agent
            ]
            assert min(near) <= program.space.radius


def test_a_small_town_to_the_last_call() -> None:
    options = {"tiles": 100.0, "cooldown": 60.0}
    program = generate(Wishes(3, 8, 52, persona_tokens=20, mean_gap_steps=4, options=options))
    told = [
        (step.index, one.agent, one.trigger, len(one.calls), one.acts_for_steps, one.planned_steps)
        for step in program.steps
        for one in step.activations
    ]
    assert told == [
        (2, "agent-1", "plan", 2, 1, 1),
        (3, "agent-0", "plan", 3, 3, 3),
        (3, "agent-1", "plan", 5, 1, 1),
        (4, "agent-1", "plan", 7, 3, 9),  # it does not know yet whom it meets
        (6, "agent-0", "plan", 3, 1, 3),  # nor does this one
        (7, "agent-0", "interaction", 7, 10, 10),
        (7, "agent-1", "interaction", 7, 35, 35),
    ]
    first, second = program.steps[7].activations
    assert [call.template for call in first.calls] == [*["utterance"] * 3, *CHANGED_PLAN]
    assert [call.template for call in second.calls] == [*["utterance"] * 3, *CHANGED_PLAN]
    assert [step.known.actions["agent-1"] for step in program.steps] == [2, 1, 0, 0, 0, 8, 7, 6]
    assert [step.distances["agent-1"] for step in program.steps] == [2, 1, 0, 0, 0, 2, 1, 0]


@pytest.mark.parametrize("options", [{"radius": 0}, {"tiles": 0}, {"cooldown": 1.5}, {"speed": 1}])
def test_an_impossible_option_is_refused_by_name(options: dict[str, float]) -> None:
    with pytest.raises(Impossible, match=next(iter(options))):
        town(3, 2, options=options)
