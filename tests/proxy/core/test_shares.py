from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import Owner, SimulationId
from scalesim.proxy.core.shares import fair_order, granted, shares, weights_of
from scalesim.proxy.core.wanted import Candidate

TOWN, CITY, FARM = map(SimulationId, ("town", "city", "farm"))


def _asking(simulation: SimulationId, *sizes: int | None) -> list[Candidate]:
    return [
        Candidate(Owner(f"{simulation}/{number}"), 0.0, True, 0.0, size, simulation=simulation)
        for number, size in enumerate(sizes)
    ]


def test_one_alone_gets_what_there_is() -> None:
    assert shares({TOWN: 70}, 100) == {TOWN: 70}
    assert shares({TOWN: 700}, 100) == {TOWN: 100}
    assert shares({}, 100) == {}


def test_several_that_want_more_than_there_is_get_equal_shares() -> None:
    assert shares({TOWN: 700, CITY: 90}, 100) == {TOWN: 50, CITY: 50}


def test_what_one_does_not_ask_for_is_for_the_others() -> None:
    assert shares({TOWN: 700, CITY: 10, FARM: 500}, 100) == {TOWN: 45, CITY: 10, FARM: 45}


def test_shares_may_have_weights() -> None:
    assert shares({TOWN: 700, CITY: 90}, 100, {TOWN: 3, CITY: 1}) == {TOWN: 75, CITY: 25}
    assert shares({TOWN: 70, CITY: 90}, 100, {TOWN: 3, CITY: 1}) == {TOWN: 70, CITY: 30}


def test_weights_follow_use_and_whoever_is_new_has_a_quarter_of_an_equal_part() -> None:
    assert weights_of({TOWN: 3000.0, CITY: 1000.0}) == {TOWN: 768, CITY: 256}
    assert weights_of({TOWN: 3000.0, CITY: 0.0}) == {TOWN: 1024, CITY: 128}
    assert weights_of({TOWN: 0.0, CITY: 0.0}) == {TOWN: 512, CITY: 512}
    assert weights_of({}) == {}
    assert min(weights_of({SimulationId(str(n)): float(not n) for n in range(5000)}).values()) == 1


def test_one_that_calls_all_its_agents_near_takes_no_others_pins() -> None:
    asked = [*_asking(TOWN, *[10] * 20), *_asking(CITY, 30, 20)]
    assert granted(asked, 100) == ("town/0", "town/1", "town/2", "town/3", "town/4", "city/0", "city/1")


def test_within_a_share_who_comes_first_is_pinned_first() -> None:
    asked = [*_asking(TOWN, 30, 30, 20), *_asking(CITY, 50, 50)]
    assert granted(asked, 100) == ("town/0", "town/2", "city/0")


def test_what_fits_into_no_share_is_not_left_unused() -> None:
    assert granted([*_asking(TOWN, 60), *_asking(CITY, 60)], 100) == ("town/0",)


def test_who_has_no_known_size_is_not_pinned() -> None:
    assert granted(_asking(TOWN, None, 10), 100) == ("town/1",)


# Orders

HALVES = {TOWN: 1, CITY: 1}
Order = Sequence[tuple[Owner, float]]


def _of(owner: Owner) -> SimulationId:
    return SimulationId(owner.split("/")[0])


def _order(simulation: SimulationId, *distances: float) -> Order:
    return [(Owner(f"{simulation}/{number}"), away) for number, away in enumerate(distances)]


def _fair(
    order: Order,
    room: int,
    *,
    size: int | None = 10,
    sizes: Mapping[Owner, int] | None = None,
    weights: Mapping[SimulationId, int] = HALVES,
) -> Order:
    return fair_order(order, _of, lambda owner: (sizes or {}).get(owner, size), weights, room)


def test_one_that_calls_all_its_agents_near_takes_no_others_room() -> None:
    order = [*_order(TOWN, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0), *_order(CITY, 3.0, 4.0, 5.0)]
    fair = _fair(order, 40)
    assert [owner for owner, _ in fair] == [
        *("town/0", "town/1", "city/0", "city/1"),
        *("town/2", "town/3", "town/4", "town/5", "city/2"),
    ]
    away = [distance for _, distance in fair]
    assert away[:4] == [0.0, 0.0, 3.0, 4.0]
    assert 4.0 < away[4] == away[5] == away[6] == away[7] < 4.1
    assert away[8] == 5.0


def test_who_needs_less_than_a_share_leaves_the_rest_to_others() -> None:
    order = [*_order(TOWN, 0.0, 0.0, 0.0, 0.0, 0.0), *_order(CITY, 3.0)]
    assert [owner for owner, _ in _fair(order, 40)] == [
        *("town/0", "town/1", "town/2", "city/0", "town/3", "town/4")
    ]


def test_a_share_is_as_large_as_its_weight() -> None:
    order = [*_order(TOWN, 0.0, 0.0, 0.0, 0.0), *_order(CITY, 3.0, 4.0, 5.0, 6.0)]
    fair = _fair(order, 40, weights={TOWN: 1, CITY: 3})
    assert [owner for owner, _ in fair][:4] == ["town/0", "city/0", "city/1", "city/2"]


def test_where_nothing_is_shared_the_order_is_the_same_object() -> None:
    order = [*_order(TOWN, 1.0, 2.0), *_order(CITY, 3.0)]
    assert _fair(order, 5, weights={TOWN: 1}) is order, "one simulation"
    assert _fair(order, 30) is order, "everything fits"
    alone = _order(TOWN, 1.0, 2.0)
    assert _fair(alone, 5) is alone, "the other one is in no order"
    assert _fair([], 0) == []


def test_who_has_no_known_size_counts_as_usual() -> None:
    order = [*_order(TOWN, 0.0, 0.0, 0.0), *_order(CITY, 3.0, 4.0)]
    known = {Owner("town/0"): 10, Owner("city/0"): 30}
    fair = _fair(order, 60, size=None, sizes=known)
    assert [owner for owner, _ in fair] == ["town/0", "town/1", "city/0", "town/2", "city/1"]
    assert _fair(order, 5, size=None) is order, "nobody knows any"


def test_no_distance_becomes_infinite() -> None:
    order = [*_order(TOWN, 0.0, 0.0, 1.0), *_order(CITY, sys.float_info.max)]
    assert all(math.isfinite(away) for _, away in _fair(order, 20))


TELLS = st.lists(
    st.tuples(st.sampled_from([TOWN, CITY, FARM]), st.integers(0, 9), st.integers(0, 30)), max_size=20
)
WEIGHTS = st.fixed_dictionaries({name: st.integers(1, 9) for name in (TOWN, CITY, FARM)})


def _told(tells: list[tuple[SimulationId, int, int]]) -> tuple[Order, dict[Owner, int]]:
    numbered = [(Owner(f"{one}/{number}"), *rest) for number, (one, *rest) in enumerate(tells)]
    order = sorted(((owner, float(away)) for owner, away, _ in numbered), key=lambda pair: pair[1])
    return order, {owner: size for owner, _, size in numbered}


def _nearest(order: Order, sizes: Mapping[Owner, int], simulation: SimulationId, room: int) -> list[Owner]:
    nearest: list[Owner] = []
    for owner in (owner for owner, _ in order if _of(owner) == simulation):
        room -= sizes[owner]
        if room < 0:
            break
        nearest.append(owner)
    return nearest


@settings(max_examples=30)
@given(TELLS, WEIGHTS, st.integers(0, 200))
def test_what_is_within_a_share_stands_before_all_that_exceeds_one(
    tells: list[tuple[SimulationId, int, int]], weights: dict[SimulationId, int], room: int
) -> None:
    order, sizes = _told(tells)
    fair = _fair(order, room, sizes=sizes, weights=weights)
    assert {owner for owner, _ in fair} == sizes.keys()
    distances = [away for _, away in fair]
    assert distances == sorted(distances)
    wishes = {one: sum(sizes[owner] for owner in sizes if _of(owner) == one) for one in map(_of, sizes)}
    given_rooms = shares(wishes, room, weights)
    within = {owner for one in wishes for owner in _nearest(order, sizes, one, given_rooms[one])}
    assert sum(sizes[owner] for owner in within) <= max(room, 0)
    beyond = sizes.keys() - within
    if sum(sizes.values()) > room and len(wishes) > 1:
        told = dict(fair)
        assert {owner for owner, _ in fair[: len(within)]} == within
        assert max((told[owner] for owner in within), default=-1.0) < min(
            (told[owner] for owner in beyond), default=math.inf
        )
    for one in wishes:
        own = [(owner, away) for owner, away in order if _of(owner) == one]
        assert [owner for owner, _ in fair if _of(owner) == one] == [owner for owner, _ in own]
        now = [away for owner, away in fair if _of(owner) == one]
        split = len(_nearest(order, sizes, one, given_rooms[one]))
        for at in range(1, len(own)):
            if at != split:
                assert (now[at] == now[at - 1]) == (own[at][1] == own[at - 1][1]), "equals stay equal"


@settings(max_examples=30)
@given(TELLS, TELLS, WEIGHTS, st.integers(0, 200))
def test_whatever_others_tell_the_part_of_the_whole_room_stays_in_front(
    tells: list[tuple[SimulationId, int, int]],
    others: list[tuple[SimulationId, int, int]],
    weights: dict[SimulationId, int],
    room: int,
) -> None:
    own = [(CITY, away, size) for _, away, size in tells]
    order, sizes = _told([*own, *((TOWN if one == CITY else one, 0, size) for one, _, size in others)])
    mine = _nearest(order, sizes, CITY, room * weights[CITY] // sum(weights.values()))
    fair = _fair(order, room, sizes=sizes, weights=weights)
    if mine:
        places = [owner for owner, _ in fair]
        before = places[: places.index(mine[-1]) + 1]
        assert sum(sizes[owner] for owner in before) <= room, "it fits together with all that goes before it"


ASKED = st.lists(st.tuples(st.sampled_from([TOWN, CITY, FARM]), st.integers(0, 60)), max_size=20)


@pytest.mark.parametrize("weights", [{TOWN: 1, CITY: 1, FARM: 1}, {TOWN: 7, CITY: 2, FARM: 1}])
@given(ASKED, st.integers(0, 200))
def test_nobody_gets_less_than_a_share_because_of_others(
    weights: dict[SimulationId, int], wishes: list[tuple[SimulationId, int]], budget: int
) -> None:
    asked = [
        Candidate(Owner(f"{number}"), 0.0, True, 0.0, size, simulation=simulation)
        for number, (simulation, size) in enumerate(wishes)
    ]
    pinned = granted(asked, budget, weights)
    known = {one.owner: one for one in asked}
    assert sum(known[owner].size_tokens or 0 for owner in pinned) <= budget
    assert granted([known[owner] for owner in pinned], budget, weights) == pinned, "once more changes nothing"
    for simulation in (TOWN, CITY, FARM):
        own = [one for one in asked if one.simulation == simulation]
        share = min(
            sum(one.size_tokens or 0 for one in own), budget * weights[simulation] // sum(weights.values())
        )
        alone = granted(own, share)
        assert {*alone} <= {*pinned} or sum(known[owner].size_tokens or 0 for owner in alone) <= sum(
            one.size_tokens or 0 for one in own if one.owner in pinned
        )
