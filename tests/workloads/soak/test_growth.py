from __future__ import annotations

import pytest

from scalesim.workloads.soak.growth import Look, growth
from scalesim.workloads.soak.results import Rest, Soaked

REST = Rest(20, 0)


def looks(*rss_mb: float) -> list[Look]:
    return [Look(10.0 * index, mb, 20, {}, 100 * index) for index, mb in enumerate(rss_mb)]


def soaked(*rss_mb: float, lost: int = 0, after: Rest = REST, tracebacks: int = 0) -> Soaked:
    return Soaked(
        looks=looks(*rss_mb),
        warm_up_s=20.0,
        ended={"JSON": 100},
        lost={"JSON": lost},
        faults={},
        before=REST,
        after=after,
        tracebacks=tracebacks,
    )


def test_what_grows_while_it_warms_up_does_not_count() -> None:
    found = growth(looks(50, 80, 100, 100, 100, 100, 100), 20.0)
    assert found is not None
    assert found.rss == 0


def test_a_single_peak_is_no_growth() -> None:
    found = growth(looks(*[100] * 10, 160, *[100] * 9), 20.0)
    assert found is not None
    assert found.rss == 0


def test_steady_growth_is_seen() -> None:
    found = growth(looks(*[100 + index for index in range(22)]), 20.0)
    assert found is not None
    assert found.rss == pytest.approx(0.157, abs=0.01)


def test_too_few_looks_tell_nothing() -> None:
    assert growth(looks(100, 100, 100), 20.0) is None
    assert soaked(100, 100).problems == ["it was too short to tell whether anything grows"]


def test_what_is_well_has_no_problem_and_each_thing_that_is_not_has_one() -> None:
    flat = [100.0] * 10
    assert soaked(*flat).is_well
    assert len(soaked(*flat, lost=1).problems) == 1
    assert len(soaked(*flat, after=Rest(29, 0)).problems) == 1
    assert len(soaked(*flat, after=Rest(20, 1)).problems) == 1
    assert len(soaked(*flat, tracebacks=1).problems) == 1
    assert len(soaked(*flat[:5], *[103.0] * 5).problems) == 1
