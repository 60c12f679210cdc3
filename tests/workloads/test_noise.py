from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scalesim.workloads.noise import Noise, noisy
from scalesim.workloads.program import Activation, Call, Hints, Impossible, Program, Step, Wishes
from scalesim.workloads.scenarios import scenario

CALL = Call(({"role": "user", "content": "hello"},), 1, "plan")
INF = math.inf


def small() -> Program:
    """Ann is back after three steps, Bob is away for long, Cleo is never back."""
    distances = [{"Ann": float((3 - index) % 3), "Bob": 8.0 - index, "Cleo": INF} for index in range(4)]
    ann = Activation("Ann", (CALL,), 3.0)
    steps = tuple(
        Step(index, (ann,) if index in (0, 3) else (), told) for index, told in enumerate(distances)
    )
    return Program("small", ("Ann", "Bob", "Cleo"), steps)


def told(program: Program) -> list[Hints]:
    return [step.hints or pytest.fail("nothing is said of hints") for step in program.steps]


@pytest.fixture(scope="module")
def town() -> Program:
    return scenario("independent").generate(Wishes(agents=100, steps=30, persona_tokens=20, growth_tokens=0))


noises = st.builds(
    Noise,
    early=st.sampled_from([0, 0.5]),
    sigma=st.sampled_from([0, 0.7]),
    reversed=st.booleans(),
    every=st.integers(1, 3),
    missing=st.sampled_from([0, 0.3]),
    seed=st.integers(0, 9),
)


def test_without_any_error_the_truth_is_told() -> None:
    assert told(noisy(small(), Noise())) == [
        Hints({"Ann": 0, "Bob": 8, "Cleo": INF}, {"Ann": 3}),
        Hints({"Ann": 2, "Bob": 7, "Cleo": INF}),
        Hints({"Ann": 1, "Bob": 6, "Cleo": INF}),
        Hints({"Ann": 0, "Bob": 5, "Cleo": INF}, {"Ann": 3}),
    ]


def test_between_updates_nothing_is_told() -> None:
    assert told(noisy(small(), Noise(every=2))) == [
        Hints({"Ann": 0, "Bob": 8, "Cleo": INF}, {"Ann": 3}),
        Hints(),
        Hints({"Ann": 1, "Bob": 6, "Cleo": INF}),
        Hints(),
    ]


def test_reversed_the_nearest_are_the_farthest_and_those_who_are_never_back_are_here() -> None:
    assert told(noisy(small(), Noise(reversed=True)))[0] == Hints({"Ann": 8, "Bob": 0, "Cleo": 0}, {"Ann": 5})


def test_of_those_who_are_missing_nothing_is_ever_told() -> None:
    hints = told(noisy(small(), Noise(missing=1 / 3)))
    assert len({frozenset(one.distances) for one in hints}) == 1
    assert all(len(one.distances) == 2 for one in hints)
    assert all(set(one.acts_for_steps) <= set(one.distances) for one in hints)
    assert told(noisy(small(), Noise(missing=1)))[0] == Hints()


@given(noises)
def test_the_program_stays_as_it_is_and_the_same_noise_tells_the_same(noise: Noise) -> None:
    changed = noisy(small(), noise)
    assert replace(changed, steps=tuple(replace(step, hints=None) for step in changed.steps)) == small()
    assert noisy(small(), noise) == changed


@given(noises)
def test_no_distance_is_below_zero_or_nan(noise: Noise) -> None:
    for hints in told(noisy(small(), noise)):
        values = [*hints.distances.values(), *hints.acts_for_steps.values()]
        assert all(value >= 0 for value in values)


def test_a_misjudged_time_is_so_by_the_same_factor_until_it_is_over(town: Program) -> None:
    program = noisy(town, Noise(sigma=0.8))
    factors = []
    for step, following in pairwise(program.steps):
        assert step.hints is not None
        assert following.hints is not None
        for agent, distance in step.distances.items():
            if distance == 0:
                assert step.hints.distances[agent] == 0
            if distance > 1:
                factor = step.hints.distances[agent] / distance
                again = following.hints.distances[agent] / following.distances[agent]
                assert again == pytest.approx(factor)
                factors.append(math.log(factor))
        for activation in step.activations:
            if activation.acts_for_steps > 1:
                said = step.hints.acts_for_steps[activation.agent] / activation.acts_for_steps
                heard = following.hints.distances[activation.agent] / (activation.acts_for_steps - 1)
                assert said == pytest.approx(heard)
    assert median(factors) == pytest.approx(0, abs=0.2)
    assert sum(factor * factor for factor in factors) / len(factors) == pytest.approx(0.64, rel=0.3)


def test_who_is_back_early_has_told_a_later_moment_all_the_time(town: Program) -> None:
    early = late = 0
    for step, exact in zip(noisy(town, Noise(early=0.3)).steps, town.steps, strict=True):
        assert step.hints is not None
        for activation in exact.activations:
            said = step.hints.acts_for_steps[activation.agent]
            assert activation.acts_for_steps <= said <= 10 * activation.acts_for_steps
            early += said > activation.acts_for_steps
            late += said == activation.acts_for_steps
        for agent, distance in exact.distances.items():
            assert step.hints.distances[agent] >= distance
    assert early / (early + late) == pytest.approx(0.3, abs=0.06)


def test_who_is_back_early_does_not_know_in_that_step_either(town: Program) -> None:
    program = noisy(town, Noise(early=1))
    surprised = [
        step.hints.distances[agent] > 0
        for step in program.steps
        for agent, distance in step.distances.items()
        if distance == 0 and step.hints is not None
    ]
    assert sum(surprised) > 0.9 * len(surprised)


def test_errors_add_up_in_the_order_of_their_names(town: Program) -> None:
    both = told(noisy(town, Noise(early=0.5, sigma=0.5)))
    early = told(noisy(town, Noise(early=0.5)))
    factor = told(noisy(town, Noise(sigma=0.5)))
    for step, one, two, three in zip(town.steps, both, early, factor, strict=True):
        for agent, distance in step.distances.items():
            if distance > 0:
                expected = two.distances[agent] * three.distances[agent] / distance
                assert one.distances[agent] == pytest.approx(expected)


def test_noise_is_given_by_name_and_number() -> None:
    assert Noise.of({}) == Noise()
    assert Noise.of({"sigma": 0.5, "reversed": 1, "every": 3}) == Noise(sigma=0.5, reversed=True, every=3)


@pytest.mark.parametrize(
    "given", [{"sigma": -1}, {"early": 2}, {"every": 0}, {"missing": math.nan}, {"s": 1}]
)
def test_impossible_noise_is_refused_by_name(given: dict[str, float]) -> None:
    with pytest.raises(Impossible, match=next(iter(given))):
        Noise.of(given)
