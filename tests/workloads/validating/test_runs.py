from __future__ import annotations

import pytest

from scalesim.workloads.validating.runs import Cell, Run


def run(*steps_s: float, all_calls: float = 0.6, first_calls: float | None = 0.4) -> Run:
    return Run(steps_s, all_calls, first_calls, 0.0, 0.3, None, {})


def cell(predicted: Run, *measured: Run) -> Cell:
    return Cell("independent", "stock", measured, predicted)


def test_how_far_hits_are_apart_is_told_of_both_kinds() -> None:
    found = cell(run(1, all_calls=0.61, first_calls=0.5), run(1), run(1, all_calls=0.62, first_calls=0.44))
    assert found.points_apart == pytest.approx(0)
    assert found.first_points_apart == pytest.approx(8)
    assert found.points_vary == pytest.approx(1.414, abs=0.001)
    assert not found.hits_fit


def test_steps_are_compared_one_by_one_and_not_by_their_sum() -> None:
    found = cell(run(2, 1), run(1, 2), run(1, 2))
    assert found.whole_error == pytest.approx(0)
    assert found.step_error == pytest.approx((1 + 0.5) / 2)
    assert not found.steps_fit


def test_ten_percent_fit() -> None:
    assert cell(run(1.09), run(1), run(1)).steps_fit
    assert not cell(run(1.11), run(1), run(1)).steps_fit


def test_twice_what_plays_vary_fits_where_that_is_more() -> None:
    vary = run(0.8), run(1.2)
    assert cell(run(1.5), *vary).steps_fit
    assert not cell(run(1.6), *vary).steps_fit


def test_one_play_does_not_say_how_much_plays_vary() -> None:
    found = cell(run(1), run(1))
    assert found.deviation is found.points_vary is None
    assert found.steps_fit


def test_where_nobody_came_again_only_all_calls_count() -> None:
    found = cell(run(1, first_calls=None), run(1, first_calls=None))
    assert found.first_points_apart is None
    assert found.hits_fit
