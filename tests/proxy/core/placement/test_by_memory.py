from __future__ import annotations

import math
from collections import Counter

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import AdapterName, EngineId
from scalesim.proxy.core.placement.by_memory import place
from scalesim.proxy.core.placing import Asked, Bounds, Placed, Site, Why, highest

STRICT = Bounds(spare_calls=0.25, unhurried_calls=0, spare_memory=0.1)
A, B, C, D = map(EngineId, "abcd")


def _sites(*running: int, held: tuple[int, ...] = ()) -> list[Site]:
    return [
        Site(
            EngineId("abcdefgh"[place]),
            running=count,
            held_tokens=held[place] if held else 0,
        )
        for place, count in enumerate(running)
    ]


def test_an_agent_stays_where_its_memory_is() -> None:
    sites = _sites(5, 0, 0, 0, held=(900, 0, 0, 0))
    assert place(Asked("Ann", A), sites, Bounds()) == Placed(A, Why.HOME)


def test_what_is_too_much_makes_a_detour() -> None:
    # 10 calls with this one: 3.1 for each of four at most.
    assert place(Asked("Ann", A), _sites(3, 2, 2, 2), STRICT) == Placed(A, Why.HOME)
    placed = place(Asked("Ann", A), _sites(4, 2, 2, 1), STRICT)
    assert placed.why is Why.DETOUR
    assert placed.engine != A


def test_a_few_calls_are_never_too_many() -> None:
    assert place(Asked("Ann", A), _sites(7, 0, 0, 0), Bounds(unhurried_calls=8)).why is Why.HOME
    assert place(Asked("Ann", A), _sites(8, 0, 0, 0), Bounds(unhurried_calls=8)).why is Why.DETOUR


def test_detours_of_an_agent_go_to_the_same_engine() -> None:
    assert {place(Asked("Ann", A), _sites(9, 2, 2, 1), STRICT).engine for _ in range(3)} == {
        highest("Ann", _sites(9, 2, 2, 1)[1:]).engine
    }


def test_an_agent_whose_engine_may_not_be_called_makes_a_detour() -> None:
    assert place(Asked("Ann", A), _sites(0, 0, 0)[1:], Bounds()).why is Why.DETOUR


def test_a_new_agent_goes_where_there_is_room() -> None:
    sites = _sites(0, 0, 0, 0, held=(500, 500, 300, 500))
    places = {place(Asked(f"agent-{number}", size_tokens=10), sites, Bounds()) for number in range(50)}
    assert places == {Placed(C, Why.NEW)}


def test_an_engine_that_is_busy_does_not_make_the_others_roomy() -> None:
    """Of those free for calls, b holds little against a, but far too much against c."""
    sites = _sites(0, 0, 9, held=(900, 500, 100))
    assert place(Asked("new", size_tokens=10), sites, STRICT).engine == B


def test_among_equals_a_hash_chooses() -> None:
    sites = _sites(0, 0, 0, 0)
    for number in range(50):
        key = f"agent-{number}"
        assert place(Asked(key), sites, Bounds()).engine == highest(key, sites).engine


def test_agents_of_an_adapter_are_drawn_together_while_there_is_room() -> None:
    sites = _sites(0, 0, 0, 0, held=(100, 100, 100, 100))
    sites[2].adapters[AdapterName("poet")] = 3
    asked = [Asked(f"agent-{number}", adapter=AdapterName("poet"), size_tokens=10) for number in range(20)]
    sites[2].held_tokens = 120
    assert {place(one, sites, Bounds()).engine for one in asked} == {C}
    sites[2].held_tokens = 150
    assert C not in {place(one, sites, Bounds()).engine for one in asked}


def test_what_is_shared_by_all_leaves_memory_even_and_no_engine_empty() -> None:
    sites = _sites(*[0] * 8)
    for number in range(800):
        placed = place(Asked(f"agent-{number}", prefix="town", size_tokens=10), sites, Bounds())
        [site] = [one for one in sites if one.engine == placed.engine]
        site.held_tokens += 10
        site.prefixes["town"] = 1
    held = [site.held_tokens for site in sites]
    assert max(held) <= 1_110
    assert min(held) >= 740


def test_an_adapter_that_is_nowhere_opens_one_engine() -> None:
    asked = [Asked(f"agent-{number}", adapter=AdapterName("poet")) for number in range(20)]
    assert len({place(one, _sites(0, 0, 0, 0), Bounds()).engine for one in asked}) == 1


def test_an_adapter_draws_more_than_a_shared_beginning() -> None:
    sites = _sites(0, 0, 0)
    sites[0].prefixes["town"] = 9
    sites[1].adapters[AdapterName("poet")] = 1
    assert place(Asked("Ann", adapter=AdapterName("poet"), prefix="town"), sites, Bounds()).engine == B


def test_a_shared_beginning_draws_together() -> None:
    sites = _sites(0, 0, 0)
    sites[1].prefixes["town"] = 9
    assert {place(Asked(f"a-{n}", prefix="town"), sites, Bounds()).engine for n in range(20)} == {B}
    assert {place(Asked(None, prefix="town"), sites, Bounds()) for _ in range(3)} == {Placed(B, Why.ALONE)}


def test_a_call_of_nobody_goes_where_the_fewest_run() -> None:
    assert place(Asked(None), _sites(3, 1, 2), Bounds()) == Placed(B, Why.ALONE)


def test_who_calls_stays_on_an_engine_that_holds_too_much() -> None:
    crowded = _sites(0, 0, held=(300, 100))
    assert place(Asked("Ann", A, size_tokens=10), crowded, Bounds()) == Placed(A, Why.HOME)


def test_the_reason_why_there_is_no_home_is_told() -> None:
    for why in (Why.NEW, Why.FORGOTTEN, Why.LOST):
        assert place(Asked("Ann", without_home=why), _sites(0, 0), Bounds()).why is why


def test_an_engine_that_has_just_come_up_gets_little() -> None:
    sites = _sites(2, 2, 2, 2)
    sites[0].share = sites[0].part = 0.1
    places = Counter(place(Asked(f"a-{n}"), sites, STRICT).engine for n in range(40))
    assert places[A] == 0
    assert set(places) == {B, C, D}


_NUMBERS = st.integers(0, 40)
_SITE = st.tuples(_NUMBERS, st.integers(0, 5_000), st.sampled_from([0.5, 1.0, 3.0]), st.floats(0.1, 1.0))


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(_SITE, min_size=1, max_size=16),
    st.integers(0, 17),
    st.booleans(),
    st.integers(0, 9),
    st.floats(0, 2),
)
def test_no_engine_is_above_its_bound_while_another_has_room(
    rows: list[tuple[int, int, float, float]], home: int, known: bool, few: int, spare: float
) -> None:
    sites = [
        Site(EngineId(f"e{n}"), weight * share, share, running, held)
        for n, (running, held, weight, share) in enumerate(rows)
    ]
    bounds = Bounds(spare_calls=spare, unhurried_calls=few)
    asked = Asked("Ann" if known else None, EngineId(f"e{home}"), size_tokens=100)
    placed = place(asked, sites, bounds)

    parts = sum(site.part for site in sites)
    calls = sum(site.running for site in sites) + 1
    after = {site.engine: site.running + (site.engine == placed.engine) for site in sites}
    [chosen] = [site for site in sites if site.engine == placed.engine]
    fair = (1 + spare) * calls * chosen.part / parts
    # With a hair's breadth, as sums of parts are rounded.
    assert after[chosen.engine] <= math.ceil(max(fair, few * chosen.share) + 1e-9)
    assert placed == place(asked, list(reversed(sites)), bounds), "it does not depend on the order"
    assert (placed.why is Why.ALONE) is not known
    if placed.why is Why.HOME:
        assert placed.engine == asked.home


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(2, 16), st.lists(st.tuples(st.integers(0, 3), st.integers(1, 100)), max_size=200))
def test_new_agents_leave_memory_even(engines: int, agents: list[tuple[int, int]]) -> None:
    """Whatever adapters draw them together: above the wider bound by less than the agent that came last."""
    sites = [Site(EngineId(f"e{n}")) for n in range(engines)]
    for number, (adapter, size) in enumerate(agents):
        name = AdapterName(f"ad-{adapter}")
        placed = place(Asked(f"a-{number}", adapter=name, size_tokens=size), sites, Bounds())
        [site] = [one for one in sites if one.engine == placed.engine]
        together = sum(one.held_tokens for one in sites) + size
        assert site.held_tokens < 1.25 * together / engines + 1e-9
        site.held_tokens += size
        site.adapters[name] = site.adapters.get(name, 0) + 1
