from __future__ import annotations

from dataclasses import replace

import pytest

from scalesim.proxy.core.events import ActionStarted, Activated, DistanceHinted, EdgesGiven, Moved, SpaceSet
from scalesim.proxy.core.model import Clock, SimulationId
from scalesim.workloads.program import Hints, Impossible, Program, Told, Wishes
from scalesim.workloads.scenarios import scenario
from scalesim.workloads.speech import spoken
from scalesim.workloads.telling import Teller

TOWN = SimulationId("town")


def program_of(name: str) -> Program:
    return scenario(name).generate(Wishes(agents=8, steps=6, persona_tokens=10, growth_tokens=0))


def last_calls(program: Program, told: Told) -> list[tuple[float, Clock] | None]:
    teller = Teller(program, told, TOWN)
    return [teller.acts_for(step, activation) for step in program.steps for activation in step.activations]


def heard(program: Program, told: Told) -> set[type]:
    teller = Teller(program, told, TOWN)
    events = list(teller.begin(0.0))
    for step in program.steps:
        events += [*teller.begin_step(0.0, step), *teller.tell(0.0, step)]
    return {type(event) for event in events}


def test_what_is_not_there_cannot_be_told() -> None:
    with pytest.raises(Impossible):
        Teller(program_of("independent"), Told.SPATIAL, TOWN)


def test_whoever_tells_nothing_does_not_even_tell_steps() -> None:
    town = program_of("independent")
    assert heard(town, Told.NONE) == set()
    assert {one.__name__ for one in heard(town, Told.TICKS)} == {"StepTicked"}
    assert heard(town, Told.ANSWERS) == heard(town, Told.TICKS)


def test_positions_come_with_plans_and_waves_with_a_graph() -> None:
    assert {SpaceSet, Moved, ActionStarted} <= heard(program_of("interaction"), Told.SPATIAL)
    assert {EdgesGiven, Activated} <= heard(program_of("diffusion"), Told.PATH)


def test_an_action_is_told_once_unless_it_ends_at_another_time() -> None:
    town = program_of("independent")
    teller = Teller(town, Told.PLAN, TOWN)
    told = []
    for step in town.steps:
        told.append(sum(isinstance(one, ActionStarted) for one in teller.tell(0.0, step)))
        for activation in step.activations:
            assert teller.acts_for(step, activation) == (activation.planned_steps, Clock.STEPS)
    assert told == [len(town.agents)] + [0] * (len(town.steps) - 1)


def test_hints_stand_in_for_exact_distances() -> None:
    town = program_of("independent")
    silent = replace(town, steps=tuple(replace(step, hints=Hints()) for step in town.steps))
    assert any(last_calls(town, Told.EXACT))
    assert not any(last_calls(silent, Told.EXACT))
    assert DistanceHinted in heard(town, Told.EXACT)
    assert DistanceHinted not in heard(silent, Told.EXACT)


def test_of_an_answer_the_proxy_reads_what_the_agent_plans() -> None:
    town = spoken(program_of("independent"))
    teller = Teller(town, Told.ANSWERS, TOWN)
    for step in town.steps:
        for activation in step.activations:
            said = [teller.said(call) for call in activation.calls]
            assert [one for one in said if one] == [(activation.planned_steps, Clock.STEPS)]
            assert teller.acts_for(step, activation) is None
    assert not any(Teller(town, Told.PLAN, TOWN).said(call) for _, _, _, call in town.calls())
