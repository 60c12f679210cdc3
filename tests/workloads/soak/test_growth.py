from __future__ import annotations

import pytest

from scalesim.proxy.core.story import ENTRY_LIMIT
from scalesim.workloads.soak.growth import Look, WarmUp, growth
from scalesim.workloads.soak.results import Rest, Soaked
from scalesim.workloads.soak_cli import WARM_UP_CALLS

REST = Rest(20, 0)
WARM_UP = WarmUp(seconds=20.0)


def looks(*rss_mb: float) -> list[Look]:
    return [Look(10.0 * index, mb, 20, {}, 100 * index, 3 * index) for index, mb in enumerate(rss_mb)]


def soaked(
    *rss_mb: float, lost: int = 0, after: Rest = REST, tracebacks: int = 0, warm_up: WarmUp = WARM_UP
) -> Soaked:
    return Soaked(
        looks=looks(*rss_mb),
        warm_up=warm_up,
        ended={"JSON": 100},
        lost={"JSON": lost},
        faults={},
        before=REST,
        after=after,
        tracebacks=tracebacks,
    )


def test_what_grows_while_it_warms_up_does_not_count() -> None:
    found = growth(looks(50, 80, 100, 100, 100, 100, 100), WARM_UP)
    assert found is not None
    assert found.rss == 0


def test_a_single_peak_is_no_growth() -> None:
    found = growth(looks(*[100] * 10, 160, *[100] * 9), WARM_UP)
    assert found is not None
    assert found.rss == 0


def test_steady_growth_is_seen() -> None:
    found = growth(looks(*[100 + index for index in range(22)]), WARM_UP)
    assert found is not None
    assert found.rss == pytest.approx(0.157, abs=0.01)


def test_too_few_looks_tell_nothing() -> None:
    assert growth(looks(100, 100, 100), WARM_UP) is None
    assert soaked(100, 100, 100).problems == ["it was too short to tell whether anything grows"]


def test_growth_begins_when_every_agent_has_had_so_many_answers() -> None:
    found = growth(looks(50, 80, 90, 100, 100, 100, 100, 100), WarmUp(calls=9))
    assert found is not None
    assert (found.rss, found.warm_mb) == (0, 100)


def test_what_never_warms_up_is_not_well() -> None:
    never = soaked(*[100] * 10, warm_up=WarmUp(calls=100))
    assert never.growth is never.warm_at is None
    assert never.problems == ["it was too short to warm up until each agent had 100 whole answers"]


def test_growth_is_told_for_calls_and_for_the_second_half_alone() -> None:
    found = growth(looks(*[100 + index for index in range(12)], *[112] * 10), WARM_UP)
    assert found is not None
    assert found.calls == 1600
    assert found.mb_per_calls == pytest.approx(8.5 / 1600 * 10_000)
    assert found.rss > 0.05
    assert found.rss_of_last_half == 0


def test_the_warm_up_fills_what_a_proxy_keeps_of_an_agent() -> None:
    assert WARM_UP_CALLS > ENTRY_LIMIT


def test_what_is_well_has_no_problem_and_each_thing_that_is_not_has_one() -> None:
    flat = [100.0] * 10
    assert soaked(*flat).is_well
    assert len(soaked(*flat, lost=1).problems) == 1
    assert len(soaked(*flat, after=Rest(29, 0)).problems) == 1
    assert len(soaked(*flat, after=Rest(20, 1)).problems) == 1
    assert len(soaked(*flat, tracebacks=1).problems) == 1
    assert len(soaked(*flat[:5], *[103.0] * 5).problems) == 1
