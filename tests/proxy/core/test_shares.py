from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.model import Owner, SimulationId
from scalesim.proxy.core.shares import granted, shares
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


ASKED = st.lists(st.tuples(st.sampled_from([TOWN, CITY, FARM]), st.integers(0, 60)), max_size=20)


@given(ASKED, st.integers(0, 200))
def test_nobody_gets_less_than_a_share_because_of_others(
    wishes: list[tuple[SimulationId, int]], budget: int
) -> None:
    asked = [
        Candidate(Owner(f"{number}"), 0.0, True, 0.0, size, simulation=simulation)
        for number, (simulation, size) in enumerate(wishes)
    ]
    pinned = granted(asked, budget)
    known = {one.owner: one for one in asked}
    assert sum(known[owner].size_tokens or 0 for owner in pinned) <= budget
    assert granted([known[owner] for owner in pinned], budget) == pinned, "once more changes nothing"
    for simulation in (TOWN, CITY, FARM):
        own = [one for one in asked if one.simulation == simulation]
        share = min(sum(one.size_tokens or 0 for one in own), budget // 3)
        alone = granted(own, share)
        assert {*alone} <= {*pinned} or sum(known[owner].size_tokens or 0 for owner in alone) <= sum(
            one.size_tokens or 0 for one in own if one.owner in pinned
        )
