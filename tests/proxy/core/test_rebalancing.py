import math

import pytest

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.core.placing import Asked, Bounds, Site
from scalesim.proxy.core.rebalancing import Allowance, better_home


def _sites(*held: int) -> list[Site]:
    return [Site(EngineId("abcd"[place]), held_tokens=tokens) for place, tokens in enumerate(held)]


def test_so_many_moves_a_second_and_no_more_at_once() -> None:
    moves = Allowance(per_s=2.0, burst=3)
    assert moves.left(10.0) == 3
    for _ in range(3):
        moves.take()
    assert (moves.left(10.0), moves.left(10.4), moves.left(10.5), moves.left(99.0)) == (0, 0, 1, 3)


def test_a_clock_that_goes_back_allows_nothing_more() -> None:
    moves = Allowance(per_s=1.0, burst=1)
    assert moves.left(10.0) == 1
    moves.take()
    assert (moves.left(5.0), moves.left(10.5), moves.left(11.0)) == (0, 0, 1)


@pytest.mark.parametrize(("per_s", "burst"), [(-1.0, 1), (math.inf, 1), (math.nan, 1), (1.0, -1)])
def test_an_allowance_that_means_nothing_is_refused(per_s: float, burst: int) -> None:
    with pytest.raises(ValueError, match="at least 0"):
        Allowance(per_s, burst)


def test_who_lives_on_a_crowded_engine_goes_where_there_is_room() -> None:
    sites = _sites(200, 100, 150)
    assert better_home(Asked("Ann", size_tokens=10), sites[0], sites, Bounds()) is sites[1]


def test_who_lives_well_stays() -> None:
    sites = _sites(105, 100, 95)
    assert better_home(Asked("Ann", size_tokens=1), sites[0], sites, Bounds()) is None


def test_nobody_is_moved_to_where_there_is_too_much_then() -> None:
    sites = _sites(200, 140, 140)
    assert better_home(Asked("Ann", size_tokens=30), sites[0], sites, Bounds()) is None


def test_nobody_is_moved_from_an_engine_that_may_not_be_called() -> None:
    sites = _sites(500, 0, 0)
    assert better_home(Asked("Ann", size_tokens=1), sites[0], sites[1:], Bounds()) is None
