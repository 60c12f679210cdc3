from __future__ import annotations

import pytest

from scalesim.workloads.configurations import NAMES as CONFIGURATIONS
from scalesim.workloads.noise import OPTIONS as NOISE
from scalesim.workloads.program import Impossible, Told, Wishes
from scalesim.workloads.scenarios import names, scenario
from scalesim.workloads.servers import ROOT


def test_every_scenario_option_and_way_of_telling_is_documented() -> None:
    text = (ROOT / "docs" / "scenarios.md").read_text()
    wanted = [
        *names(),
        *NOISE,
        *Told,
        *CONFIGURATIONS,
        *(option for name in names() for option in scenario(name).OPTIONS),
    ]
    assert [word for word in wanted if f"`{word}`" not in text] == []


@pytest.mark.parametrize("name", names())
def test_every_scenario_refuses_an_option_that_it_does_not_have(name: str) -> None:
    with pytest.raises(Impossible, match=f"{name} has no option 'colour'; it has "):
        scenario(name).generate(Wishes(agents=3, steps=2, options={"colour": 1}))


@pytest.mark.parametrize("agents", [1, 2, 5])
@pytest.mark.parametrize("name", names())
def test_every_scenario_plays_with_few_agents_and_the_same_each_time(name: str, agents: int) -> None:
    wishes = Wishes(agents=agents, steps=4, persona_tokens=20, adapters=True)
    program = scenario(name).generate(wishes)
    assert program == scenario(name).generate(wishes)
    assert [step.index for step in program.steps] == [0, 1, 2, 3]
    assert set(program.adapters) == set(program.agents)


@pytest.mark.parametrize("name", names())
def test_more_steps_continue_the_same_program_in_every_scenario(name: str) -> None:
    few = scenario(name).generate(Wishes(agents=12, steps=6, persona_tokens=20))
    many = scenario(name).generate(Wishes(agents=12, steps=15, persona_tokens=20))
    assert many.steps[:6] == few.steps


@pytest.mark.parametrize("name", names())
def test_who_is_active_has_distance_zero_and_nobody_else_has(name: str) -> None:
    program = scenario(name).generate(Wishes(agents=15, steps=12, persona_tokens=20, growth_tokens=0))
    for step in program.steps:
        active = [activation.agent for activation in step.activations]
        assert active == [agent for agent in program.agents if step.distances[agent] == 0]
        assert all(activation.calls for activation in step.activations)


def test_every_scenario_is_found_by_its_name_and_makes_a_program() -> None:
    assert "independent" in names()
    for name in names():
        program = scenario(name).generate(Wishes(agents=3, steps=2, persona_tokens=20))
        assert program.scenario == name
        assert len(program.steps) == 2


def test_an_unknown_scenario_is_refused_with_those_there_are() -> None:
    with pytest.raises(Impossible, match=r"'atlantis'; there is .*independent"):
        scenario("atlantis")


@pytest.mark.parametrize("name", names())
def test_activations_have_as_many_calls_as_are_wished_for(name: str) -> None:
    wishes = Wishes(agents=12, steps=6, persona_tokens=20, calls_per_activation=3)
    program = scenario(name).generate(wishes)
    activations = [activation for step in program.steps for activation in step.activations]
    assert {len(activation.calls) for activation in activations} == {3}
    assert len({str(call.messages) for *_, call in program.calls()}) == 3 * len(activations)
