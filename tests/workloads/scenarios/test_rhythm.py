from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

import pytest

from scalesim.workloads.program import Impossible, Program, Told, Wishes
from scalesim.workloads.scenarios.rhythm import generate


def mixed(agents: int, steps: int, seed: int = 1, **options: float) -> Program:
    return generate(Wishes(agents, steps, seed, persona_tokens=20, growth_tokens=0, options=options))


def moments(program: Program, trigger: str) -> dict[str, list[int]]:
    active: dict[str, list[int]] = defaultdict(list)
    for step in program.steps:
        for activation in step.activations:
            if activation.trigger == trigger:
                active[activation.agent].append(step.index)
    return active


def test_eighteen_percent_are_active_in_a_step_in_both_ways() -> None:
    program = mixed(100, 40, late=0)
    for trigger in ("turn", "routine"):
        active = moments(program, trigger)
        assert 45 <= len(active) <= 50
        share = sum(map(len, active.values())) / len(active) / len(program.steps)
        assert share == pytest.approx(1 / 5.5, abs=0.03)


def test_distances_say_when_each_agent_is_active_next() -> None:
    program = mixed(40, 30)
    for step, following in pairwise(program.steps):
        acts_for = {activation.agent: activation.acts_for_steps for activation in step.activations}
        for agent, distance in step.distances.items():
            assert following.distances[agent] == acts_for.get(agent, distance) - 1


def test_a_circle_speaks_in_the_same_order_over_and_over() -> None:
    program = mixed(6, 80, circles=1, circle=6)
    active = moments(program, "turn")
    assert len(active) == 6
    # The n-th turns of all lie in one round; nobody is ahead of anybody by more than one.
    for before, after in pairwise(zip(*active.values(), strict=False)):
        assert max(before) <= min(after)
    assert min(map(len, active.values())) > 10


def test_gaps_in_a_circle_are_uneven_unless_they_are_to_be_even() -> None:
    def gaps(uneven: float) -> set[int]:
        active = moments(mixed(11, 80, circles=1, circle=11, uneven=uneven), "turn")
        return {after - before for own in active.values() for before, after in pairwise(own)}

    assert gaps(0) == {5, 6}
    assert len(gaps(1)) > 4


def test_a_day_is_like_the_one_before() -> None:
    active = moments(mixed(20, 48, circles=0, late=0, day=12), "routine")
    assert len(active) == 20
    for own in active.values():
        days = [{moment % 12 for moment in own if moment // 12 == day} for day in range(4)]
        assert days == [days[0]] * 4


def test_some_are_late_by_a_step() -> None:
    on_time = moments(mixed(20, 48, circles=0, late=0), "routine")
    late = moments(mixed(20, 48, circles=0, late=0.3), "routine")
    hours = {agent: {moment % 12 for moment in own} for agent, own in on_time.items()}
    assert late != on_time
    for agent, own in late.items():
        assert all(moment % 12 in hours[agent] or (moment - 1) % 12 in hours[agent] for moment in own)


def test_it_has_nothing_to_tell_but_the_truth() -> None:
    assert mixed(5, 3).tells() == (Told.EXACT, Told.TICKS, Told.NONE)


@pytest.mark.parametrize("options", [{"circles": 2}, {"circle": 1}, {"day": 1}, {"late": 1}])
def test_an_impossible_option_is_refused_by_name(options: dict[str, float]) -> None:
    with pytest.raises(Impossible, match=next(iter(options))):
        generate(Wishes(9, 2, options=options))
