import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scalesim.proxy.core.model import AdapterName, Owner
from scalesim.proxy.core.planning import keep_invariants
from scalesim.proxy.core.policies import cost_aware, nearest_first
from scalesim.proxy.core.policies.cost_aware import plan
from scalesim.proxy.core.wanted import Candidate, View, Wanted

GB = 1 << 30


def _far(
    name: str,
    distance: float,
    size: int | None = 1000,
    *,
    spread: float = 0.0,
    adapter: str | None = None,
    copy: bool = False,
) -> Candidate:
    lora = None if adapter is None else AdapterName(adapter)
    return Candidate(Owner(name), distance, False, 0.0, size, spread, lora, copy)


def _calling(name: str, used_at: float = 0.0, size: int | None = 50) -> Candidate:
    return Candidate(Owner(name), 0.0, True, used_at, size)


def _names(*candidates: Candidate, token_bytes: int | None = None, adapter_bytes: int | None = None) -> str:
    return "".join(owner for owner, _ in plan(View(candidates, 0, 100, token_bytes, adapter_bytes)).order)


def test_what_costs_more_to_bring_back_for_its_size_stays_longer() -> None:
    """A step of the engine has to be paid for, however few tokens it computes."""
    assert _names(_far("a", 10.0, 50), _far("b", 9.0, 5000)) == "ab"
    assert _names(_far("a", 10.0, 4000), _far("b", 9.0, 5000)) == "ba", "but distance counts for more"


def test_what_is_computed_again_stays_longer_than_what_is_copied_back() -> None:
    assert _names(_far("a", 10.0), _far("b", 5.0, copy=True)) == "ab"


def test_what_is_copied_back_and_near_stays_longer_than_what_is_far() -> None:
    assert _names(_far("a", 1000.0), _far("b", 1.0, copy=True), _far("c", 2.0)) == "cba"


def test_whoever_calls_now_is_nearest_whatever_it_costs() -> None:
    order = _names(_far("a", 0.0, 1), _calling("c", 1.0, 90_000), _calling("b", 2.0))
    assert order == "bca"


def test_who_is_near_may_come_later_and_who_is_far_sooner_than_thought() -> None:
    others = (_far("x", 10.0), _far("y", 10.0), _far("z", 10.0))
    assert _names(_far("b", 0.0), _far("a", 0.0, spread=5.0), *others)[:2] == "ba"
    assert _names(_far("b", 50.0), _far("a", 50.0, spread=40.0), *others)[-2:] == "ab"


def test_an_adapter_counts_where_it_takes_room_from_the_same_budget() -> None:
    """A gigabyte is copied back in a moment; computing as many tokens again takes far longer."""
    pair = _far("a", 5.0, adapter="poet"), _far("b", 6.0)
    assert _names(*pair, token_bytes=57_344, adapter_bytes=GB) == "ba"
    assert _names(*pair, token_bytes=57_344) == "ab", "it has room of its own"
    assert _names(*pair, adapter_bytes=GB) == "ab", "nobody knows how many bytes a token has"


def test_an_adapter_of_many_weighs_little_on_each() -> None:
    alone = _far("a", 5.0, adapter="poet")
    others = [_far(name, 5.5, adapter="clerk") for name in "cdefghij"]
    order = _names(alone, *others, token_bytes=57_344, adapter_bytes=GB // 16)
    assert order[-1] == "a"


def test_memory_of_unknown_size_counts_as_the_usual() -> None:
    known = [_far("a", 10.0, 50), _far("b", 11.0, 1000), _far("d", 13.0, 50_000)]
    assert _names(*known, _far("c", 12.0, None)) == "abcd"


def test_slow_simulations_are_ordered_as_fast_ones() -> None:
    def order(pace: float) -> str:
        sizes = (90, 40_000, 700, 3000, 12)
        return _names(
            *(
                _far(name, (place + 1) * pace, size)
                for place, (name, size) in enumerate(zip("abcde", sizes, strict=True))
            )
        )

    assert order(0.1) == order(1.0) == order(1000.0) != "abcde"


def test_the_order_is_cut_to_what_is_worth_most() -> None:
    candidates = [_far("a", 1.0, copy=True), _far("b", 2.0), _far("c", 3.0)]
    assert [owner for owner, _ in plan(View(candidates, 0, 2)).order] == ["b", "c"]


def test_activations_are_pinned_while_there_is_room_for_them() -> None:
    calling = [
        _calling("a", 9.0, 60),
        _calling("b", 8.0, 50),
        _calling("c", 7.0, 40),
        _calling("d", 6.0, None),
    ]
    assert plan(View([*calling, _far("e", 0.0, 1)], 100, 10)).pins == ("a", "c")


@pytest.mark.parametrize("distance", [0.0, 5e-324, 1e-3, 1e308, math.nextafter(math.inf, 0.0)])
@pytest.mark.parametrize("spread", [0.0, 1.0, 1e308, math.inf, math.nan])
def test_no_number_breaks_it(distance: float, spread: float) -> None:
    view = View(
        [
            _far("a", distance, 0, spread=spread),
            _far("b", distance, 1 << 60, copy=True),
            _far("c", 1.0, None),
            _far("d", 0.0, adapter="poet"),
        ],
        10,
        10,
        0,
        GB,
    )
    wanted = plan(view)
    assert keep_invariants(wanted, view) == wanted
    assert len(wanted.order) == 4


_moments = st.floats(0.0, 1e12)


_sizes = st.none() | st.integers(0, 10**6)
_near = st.integers(0, 4).map(float) | _moments


@st.composite
def _views(draw: st.DrawFn, *, equal: bool) -> View:
    """`equal`: all are equally large and dear, and known equally well."""
    look = st.tuples(_sizes, st.sampled_from([0.0, 0.0, 0.5]) | _moments, st.booleans())
    has_adapters, one_look = draw(st.booleans()), draw(look)
    each = st.tuples(st.booleans(), _near, _near, st.just(one_look) if equal else look)
    candidates = [
        Candidate(
            Owner(str(place)),
            0.0 if active else distance,
            active,
            used_at,
            size,
            spread,
            AdapterName(str(place)) if has_adapters else None,
            copy,
        )
        for place, (active, distance, used_at, (size, spread, copy)) in enumerate(
            draw(st.lists(each, max_size=7))
        )
    ]
    sizes = draw(st.sampled_from([(None, None), (57_344, None), (57_344, GB)]))
    return View(candidates, draw(st.integers(0, 10**6)), draw(st.integers(1, 8)), *sizes)


@settings(max_examples=40)
@given(_views(equal=True))
def test_with_equal_sizes_and_costs_it_orders_exactly_as_nearest_first(view: View) -> None:
    ours, theirs = plan(view), nearest_first.plan(view)
    assert [owner for owner, _ in ours.order] == [owner for owner, _ in theirs.order]
    assert ours.pins == theirs.pins
    if all(candidate.spread == 0.0 for candidate in view.candidates):
        assert ours == theirs


@settings(max_examples=30)
@given(_views(equal=False))
def test_it_is_never_corrected(view: View) -> None:
    wanted = plan(view)
    assert keep_invariants(wanted, view) == wanted


@given(st.lists(_moments, min_size=2, max_size=2), _moments, st.floats(1e-3, 1e6))
def test_the_chance_falls_with_the_distance(pair: list[float], spread: float, horizon: float) -> None:
    nearer, farther = sorted(pair)
    assert cost_aware._certain(nearer, spread, horizon) <= cost_aware._certain(farther, spread, horizon)


def test_nobody_there_wants_nothing() -> None:
    assert plan(View([], 100, 10)) == Wanted()
