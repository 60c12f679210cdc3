"""The paper's rule: which memory is worth bringing ahead."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.kinds import Way
from scalesim.proxy.core.model import MemoryId
from scalesim.proxy.core.prefetch import Resident, Want, choose


def _id(name: object, kind: str = "kv_prefix") -> MemoryId:
    return MemoryId(kind, str(name))


def _want(name: object, distance: float, size_bytes: int = 1, kind: str = "kv_prefix") -> Want:
    return Want(_id(name, kind), distance, size_bytes, Way.COPY, math.inf)


def _resident(
    name: object, distance: float, active: bool = False, size_bytes: int = 1, kind: str = "kv_prefix"
) -> Resident:
    return Resident(_id(name, kind), distance, size_bytes, active)


def _names(chosen: list[Want]) -> list[str]:
    return [want.memory.key for want in chosen]


RESIDENTS = [_resident(1, 0, True), _resident(3, 0, True), _resident(8, 2), _resident(5, 3)]
OFFLOADED = [_want(7, 1), _want(4, 3), _want(2, 5), _want(6, 5)]


def test_the_papers_worked_example() -> None:
    assert _names(choose(OFFLOADED, RESIDENTS, 0, math.inf)) == ["7"]


def test_what_replaces_a_resident_replaces_the_farthest() -> None:
    """So that the next one still finds the nearer residents on the device."""
    assert _names(choose([_want(7, 1), _want(9, 2.5)], RESIDENTS, 0, math.inf)) == ["7"]
    assert _names(choose([_want(7, 1), _want(9, 1.5)], RESIDENTS, 0, math.inf)) == ["7", "9"]


def test_free_room_takes_whatever_is_nearer_than_the_threshold() -> None:
    assert _names(choose(OFFLOADED, [], 3, math.inf)) == ["7", "4", "2"]
    assert _names(choose(OFFLOADED, [], 3, 3.0)) == ["7"]
    assert _names(choose(OFFLOADED, [], 3, 3.5)) == ["7", "4"]
    assert choose(OFFLOADED, [], 3, 0.0) == []


def test_a_threshold_may_depend_on_whose_memory_it_is() -> None:
    limits = {_id(7): 0.5, _id(4): 4.0}
    assert _names(choose(OFFLOADED, [], 4, lambda want: limits.get(want.memory, 0.0))) == ["4"]


def test_an_active_resident_is_never_given_up() -> None:
    assert choose([_want(7, 1)], [_resident(1, 9, True), _resident(2, math.inf, True)], 0, math.inf) == []


def test_an_equally_far_resident_stays() -> None:
    assert choose([_want(7, 2)], [_resident(1, 2)], 0, math.inf) == []


def test_a_resident_that_nobody_expects_makes_room_first() -> None:
    wants = [_want(7, 1), _want(4, 5)]
    assert _names(choose(wants, [_resident(1, 2), _resident(2, math.inf)], 0, math.inf)) == ["7"]


def test_a_resident_makes_room_once() -> None:
    wants = [_want(7, 1), _want(4, 1), _want(2, 1)]
    assert _names(choose(wants, [_resident(1, 9), _resident(2, 9)], 0, math.inf)) == ["2", "4"]


def test_what_is_left_of_a_large_resident_is_room_for_the_next() -> None:
    wants = [_want(7, 1, 4), _want(4, 2, 6), _want(2, 3, 1)]
    assert _names(choose(wants, [_resident(1, 9, size_bytes=10)], 0, math.inf)) == ["7", "4"]


def test_a_large_one_replaces_several() -> None:
    residents = [_resident(1, 9, size_bytes=3), _resident(2, 8, size_bytes=3), _resident(3, 7, size_bytes=3)]
    wants = [_want("big", 1, 6), _want("next", 2, 3)]
    assert _names(choose(wants, residents, 0, math.inf)) == ["big", "next"]
    assert _names(choose(wants, residents, 1, math.inf)) == ["big", "next"]
    assert _names(choose([*wants, _want("last", 3, 2)], residents, 1, math.inf)) == ["big", "next"]


def test_what_does_not_fit_gives_nothing_up_and_stops_no_smaller_one() -> None:
    wants = [_want("big", 1, 5), _want("small", 2, 1)]
    assert _names(choose(wants, [_resident(1, 9), _resident(2, 9)], 0, math.inf)) == ["small"]


def test_what_several_owners_need_is_as_near_as_the_nearest() -> None:
    shared = [_want("shared", 6), _want("shared", 1), _want("shared", math.inf)]
    assert choose([_want("own", 2), *shared], [], 9, math.inf) == [_want("shared", 1), _want("own", 2)]
    residents = [_resident("a", 9), _resident("a", 0.5), _resident("b", 9), _resident("b", 9, True)]
    assert choose([_want("own", 2)], residents, 0, math.inf) == []


def test_kinds_in_one_pool_compete() -> None:
    wants = [_want("calm", 1, 4, "lora"), _want("Ann", 2, 2), _want("Bob", 3, 2, "model")]
    residents = [_resident("Cem", 5, size_bytes=6), _resident("kind", 2.5, size_bytes=2, kind="lora")]
    assert _names(choose(wants, residents, 0, math.inf)) == ["calm", "Ann"]


def test_what_computes_needs_room_as_well() -> None:
    wants = [Want(_id(name), 1.0, 1, Way.RECOMPUTE, math.inf) for name in ("a", "b")]
    assert _names(choose(wants, [], 1, math.inf)) == ["a"]


def test_the_rest_of_what_is_on_its_way_stays_wanted() -> None:
    assert _names(choose([_want("flying", 1, 0), _want("next", 2)], [], 0, math.inf)) == ["flying"]
    assert _names(choose([_want("flying", 1, 0)], [], -5, math.inf)) == ["flying"]


def test_half_a_memory_does_not_make_room_for_its_other_half() -> None:
    assert choose([_want("half", 2)], [_resident("half", 2)], 0, math.inf) == []


def test_half_a_memory_that_makes_room_for_a_nearer_one_is_not_loaded() -> None:
    near, half = _want("near", 1, 8), _want("half", 2, 2)
    residents = [_resident("half", 2, size_bytes=3), _resident("gone", 9, size_bytes=7)]
    assert choose([near, half], residents, 0, math.inf) == [near]
    assert choose([near, half], residents, 3, math.inf) == [near, half], "it was not needed for that"


@pytest.mark.parametrize("distance", [math.inf, math.nan])
def test_who_is_not_expected_gets_nothing(distance: float) -> None:
    assert choose([_want(1, distance)], [], 9, math.inf) == []


DISTANCES = st.sampled_from([0.0, 1.0, 2.0, 3.0, 5.0])
SIZES = st.integers(0, 5)
NAMES = st.integers(0, 30)
WANTS = st.lists(st.builds(_want, NAMES, DISTANCES, SIZES), unique_by=lambda want: want.memory, max_size=10)
RESIDENT_LISTS = st.lists(
    st.builds(_resident, NAMES.map(lambda name: -1 - name), DISTANCES, st.booleans(), SIZES),
    unique_by=lambda resident: resident.memory,
    max_size=10,
)


def _slowly(wants: list[Want], residents: list[Resident], free: int, threshold: float) -> list[Want]:
    """The rule, word by word."""
    chosen = []
    leaving = sorted(
        (one for one in residents if not one.active), key=lambda one: (-one.distance, one.memory)
    )
    for want in sorted(wants, key=lambda want: (want.distance, want.memory)):
        given: list[Resident] = []
        for resident in leaving:
            if free + sum(one.size_bytes for one in given) >= want.size_bytes:
                break
            if resident.distance > want.distance:
                given.append(resident)
        room = free + sum(one.size_bytes for one in given)
        if want.distance < threshold and room >= want.size_bytes:
            chosen.append(want)
            leaving = [one for one in leaving if one not in given]
            free = room - want.size_bytes
    return chosen


@pytest.mark.slow
@settings(max_examples=200, deadline=None, derandomize=True)
@given(WANTS, RESIDENT_LISTS, st.integers(0, 12), st.sampled_from([0.0, 2.0, math.inf]))
def test_the_quick_way_chooses_what_the_rule_says(
    wants: list[Want], residents: list[Resident], free: int, threshold: float
) -> None:
    assert choose(wants, residents, free, threshold) == _slowly(wants, residents, free, threshold)
