from __future__ import annotations

import math
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.workloads.program import Impossible, Program, Told, Wishes
from scalesim.workloads.scenarios.diffusion import generate


def news(agents: int, steps: int, seed: int = 1, **options: float) -> Program:
    return generate(Wishes(agents, steps, seed, persona_tokens=20, growth_tokens=0, options=options))


programs = st.builds(
    news,
    st.integers(1, 25),
    st.integers(1, 12),
    st.integers(0, 10**6),
    waves=st.integers(1, 4),
    apart=st.integers(1, 5),
    sources=st.integers(1, 3),
    joined=st.integers(0, 2),
    again=st.sampled_from([0, 0.5]),
)
few = settings(max_examples=25, deadline=None)


def active(program: Program) -> list[set[str]]:
    return [{activation.agent for activation in step.activations} for step in program.steps]


def hops(program: Program, sources: tuple[str, ...]) -> dict[str, int]:
    """Ring after ring of those who are not reached yet."""
    assert program.graph is not None
    far: dict[str, int] = {}
    ring = set(sources)
    while ring:
        far |= dict.fromkeys(ring, max(far.values(), default=-1) + 1)
        both_ways = [*program.graph, *((other, one) for one, other in program.graph)]
        ring = {other for one, other in both_ways if one in ring and other not in far}
    return far


def test_news_in_a_ring_goes_both_ways_a_hop_a_step_and_comes_no_more() -> None:
    program = news(7, 6, neighbours=2, rewired=0, waves=1)
    ((source,),) = [step.known.reached[1] for step in program.steps[:1]]
    begin = program.agents.index(source)

    def around(hop: int) -> set[str]:
        return {program.agents[(begin + side * hop) % 7] for side in (-1, 1)}

    assert active(program) == [around(0), around(1), around(2), around(3), set(), set()]
    assert sorted(program.steps[0].distances.values()) == [0, 1, 1, 2, 2, 3, 3]
    assert set(program.steps[4].distances.values()) == {math.inf}
    assert {one.acts_for_steps for step in program.steps for one in step.activations} == {math.inf}


def test_a_second_wave_is_not_known_before_it_begins() -> None:
    program = news(7, 9, neighbours=2, rewired=0, waves=2, apart=5)
    assert set(program.steps[4].distances.values()) == {math.inf}
    assert sorted(program.steps[5].distances.values()) == [0, 1, 1, 2, 2, 3, 3]
    assert [set(step.known.reached) for step in program.steps] == [*[{1}] * 4, set(), *[{2}] * 4]
    assert program.steps[0].known.reached[1] != program.steps[5].known.reached[2]


@few
@given(programs)
def test_everybody_is_reached_as_many_steps_after_the_sources_as_they_are_hops_away(program: Program) -> None:
    waves = sorted({wave for step in program.steps for wave in step.known.reached})
    for wave in waves:
        rings = [step.known.reached.get(wave, ()) for step in program.steps]
        begins = next(index for index, ring in enumerate(rings) if ring)
        far = hops(program, rings[begins])
        for index, ring in enumerate(rings):
            assert sorted(ring) == sorted(agent for agent, hop in far.items() if begins + hop == index)


@few
@given(programs)
def test_who_is_reached_calls_in_that_step_and_nobody_else_but_those_who_come_again(program: Program) -> None:
    for step in program.steps:
        reached = {agent for ring in step.known.reached.values() for agent in ring}
        assert {one.agent for one in step.activations if one.trigger == "path"} == reached
        assert {one.trigger for one in step.activations} <= {"path", "again"}
        assert all(1 <= len(one.calls) <= 2 for one in step.activations)


@few
@given(programs)
def test_distances_are_those_of_what_is_settled(program: Program) -> None:
    """Each is kept, unless a wave that has only just begun comes sooner."""
    for step, following in pairwise(program.steps):
        has_begun = {wave for one in program.steps[: step.index + 1] for wave in one.known.reached}
        begins = bool(following.known.reached.keys() - has_begun)
        acts_for = {one.agent: one.acts_for_steps for one in step.activations}
        for agent, distance in step.distances.items():
            expected = acts_for.get(agent, distance) - 1
            if begins:
                assert following.distances[agent] <= expected
            else:
                assert following.distances[agent] == expected


@few
@given(programs)
def test_the_graph_joins_agents_of_the_program_each_pair_once(program: Program) -> None:
    assert program.graph is not None
    assert len({frozenset(edge) for edge in program.graph}) == len(program.graph)
    assert {agent for edge in program.graph for agent in edge} <= set(program.agents)


def test_a_wave_in_the_default_graph_reaches_at_most_a_fifth_at_a_time() -> None:
    for seed in range(3):
        program = news(150, 50, seed, waves=1)
        assert sum(map(len, active(program))) == 150
        assert max(map(len, active(program))) <= 0.25 * 150


def test_in_a_graph_of_those_who_know_many_half_of_all_are_active_at_once() -> None:
    assert max(map(len, active(news(200, 12, waves=1, joined=2)))) >= 0.4 * 200


def test_without_coming_again_each_agent_is_active_once_a_wave() -> None:
    assert {one.trigger for step in news(60, 30).steps for one in step.activations} == {"path"}


def test_as_many_come_again_as_wished_for() -> None:
    program = news(200, 60, waves=1, again=0.5)
    again = sum(one.trigger == "again" for step in program.steps for one in step.activations)
    assert again == pytest.approx(200, rel=0.2)  # half, of those half once more, and so on


def test_waves_have_sources_of_their_own() -> None:
    program = news(30, 12, waves=3, apart=4, sources=2)
    sources = [program.steps[4 * wave].known.reached[wave + 1] for wave in range(3)]
    assert len({agent for own in sources for agent in own}) == 6


def test_it_has_paths_to_tell() -> None:
    assert news(5, 3).tells() == (Told.EXACT, Told.PATH, Told.TICKS, Told.NONE)
    assert set(news(30, 12).calls_by_trigger()) == {"path"}


@pytest.mark.parametrize("options", [{"neighbours": 3}, {"rewired": 2}, {"again": 1}, {"waves": 0}])
def test_an_impossible_option_is_refused_by_name(options: dict[str, float]) -> None:
    with pytest.raises(Impossible, match=next(iter(options))):
        generate(Wishes(9, 2, options=options))
