from __future__ import annotations

import random
from itertools import pairwise

import pytest

from scalesim.workloads.plans import (
    CHANGED_PLAN,
    NEW_PLAN,
    TEMPLATES,
    Plan,
    gap_steps,
    is_sleep,
    scale_of,
    under_way,
)

QUANTILES = [(index + 0.5) / 5000 for index in range(5000)]


@pytest.mark.parametrize("mean", [1.0, 2.5, 5.5, 20.0])
def test_gaps_have_the_wanted_mean(mean: float) -> None:
    scale = scale_of(mean)
    gaps = [gap_steps(quantile, scale) for quantile in QUANTILES]
    assert sum(gaps) / len(gaps) == pytest.approx(mean, rel=0.03)
    assert min(gaps) >= 1


def test_a_tenth_of_all_actions_is_sleep_and_lasts_long() -> None:
    scale = scale_of(5.5)
    asleep = [quantile for quantile in QUANTILES if is_sleep(quantile)]
    assert len(asleep) == pytest.approx(500, abs=1)
    assert min(gap_steps(quantile, scale) for quantile in asleep) > 5.5


def test_a_moment_falls_into_an_action_in_proportion_to_its_length() -> None:
    rng, scale = random.Random(1), scale_of(5.5)
    lengths = [gap_steps(under_way(rng, scale), scale) for _ in range(3000)]
    gaps = [gap_steps(quantile, scale) for quantile in QUANTILES]
    expected = sum(gap * gap for gap in gaps) / sum(gaps)
    assert sum(lengths) / len(lengths) == pytest.approx(expected, rel=0.05)


def test_a_new_plan_comes_when_two_to_six_steps_of_the_old_one_are_done() -> None:
    plan = Plan(random.Random(1))
    done = [plan.next() for _ in range(400)]
    new = [index for index, (kind, _) in enumerate(done) if kind == "plan"]
    assert {after - before - 1 for before, after in pairwise(new)} == {2, 3, 4, 5, 6}
    assert {chain for kind, chain in done if kind == "plan"} == {NEW_PLAN[:length] for length in (6, 7, 8)}
    assert {name for _, chain in done for name in chain} <= TEMPLATES.keys()


def test_a_changed_plan_takes_the_place_of_the_old_one() -> None:
    for seed in range(20):
        plan = Plan(random.Random(seed))
        assert plan.changed() == CHANGED_PLAN
        assert [plan.next()[0] == "plan" for _ in range(2)] == [False, False]
