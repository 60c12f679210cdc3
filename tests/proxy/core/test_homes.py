from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.homes import Homes
from scalesim.proxy.core.model import AdapterName, EngineId
from scalesim.proxy.core.placing import Site

POET = AdapterName("poet")


def test_an_engine_holds_what_lives_there() -> None:
    homes, a, b = Homes(9), Site(EngineId("a")), Site(EngineId("b"))
    homes.settle("Ann", a, POET, "town", 100)
    homes.settle("Bob", a, POET, None, 50)
    assert (a.held_tokens, a.adapters, a.prefixes) == (150, {POET: 2}, {"town": 1})
    homes.settle("Ann", b, None, "town")
    assert (a.held_tokens, a.adapters, a.prefixes) == (50, {POET: 1}, {})
    assert (b.held_tokens, b.adapters, b.prefixes) == (100, {}, {"town": 1})
    homes.resize("Ann", 70)
    homes.drop("Bob")
    assert (a.held_tokens, b.held_tokens, len(homes)) == (0, 70, 1)


def test_the_one_that_called_longest_ago_makes_room() -> None:
    homes, a = Homes(2), Site(EngineId("a"))
    homes.settle("Ann", a, None, None, 1)
    homes.settle("Bob", a, None, None, 1)
    assert homes.of("Ann") is not None
    homes.settle("Cid", a, None, None, 1)
    assert [home.key for home in homes] == ["Ann", "Cid"]


def test_who_has_no_size_counts_as_the_usual_one() -> None:
    homes, a = Homes(9), Site(EngineId("a"))
    assert homes.usual_tokens == 1
    homes.settle("Ann", a, None, None, 300)
    homes.settle("Bob", a, None, None, 100)
    homes.settle("Cid", a, None, None)
    assert a.held_tokens == 600


def test_an_engine_that_started_anew_holds_nothing() -> None:
    homes, a = Homes(9), Site(EngineId("a"))
    homes.settle("Ann", a, POET, None, 100)
    homes.forget(a)
    home = homes.of("Ann")
    assert home is not None
    assert homes.is_forgotten(home)
    assert (a.held_tokens, a.adapters) == (0, {})
    homes.resize("Ann", 30)
    assert a.held_tokens == 0
    homes.settle("Ann", a, POET, None)
    assert not homes.is_forgotten(home := homes.of("Ann") or home)
    assert (a.held_tokens, a.adapters) == (30, {POET: 1})


_STEP = st.tuples(
    st.sampled_from(["settle", "resize", "drop", "forget"]),
    st.integers(0, 7),
    st.integers(0, 2),
    st.sampled_from([None, "x", "y"]),
    st.integers(0, 50),
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_STEP, max_size=80))
def test_what_engines_hold_is_what_lives_there(steps: list[tuple[str, int, int, str | None, int]]) -> None:
    homes, sites = Homes(5), [Site(EngineId(name)) for name in "abc"]
    for what, who, where, name, size in steps:
        key, site = f"agent-{who}", sites[where]
        if what == "settle":
            homes.settle(key, site, None if name is None else AdapterName(name), name, size or None)
        elif what == "resize":
            homes.resize(key, size)
        elif what == "drop":
            homes.drop(key)
        else:
            homes.forget(site)
        assert len(homes) <= 5
        for one in sites:
            here = [home for home in homes if home.site is one and not homes.is_forgotten(home)]
            assert one.held_tokens == sum(home.size_tokens for home in here)
            names = [home.prefix for home in here if home.prefix is not None]
            assert one.prefixes == {name: names.count(name) for name in names}
