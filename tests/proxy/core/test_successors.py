from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.model import AgentName
from scalesim.proxy.core.successors import LIMIT, Successors


def _of(names: str) -> Successors:
    successors = Successors()
    for name in names:
        successors.came(AgentName(name))
    return successors


def test_one_that_always_comes_is_sure_after_three_times() -> None:
    assert _of("bb").likeliest(0.5) is None
    assert _of("bbb").likeliest(0.5) == "b"


def test_the_most_frequent_one_stands_first() -> None:
    assert _of("bcbbcb").names == ("b", "c")


def test_a_new_one_takes_over_from_one_that_does_not_come_any_more() -> None:
    assert _of("bbbbbb" + "cccc").likeliest(0.5) == "c"


def test_among_many_none_is_likely() -> None:
    assert _of("abcdefgh" * 5).likeliest(0.5) is None


@given(st.text("abcdefgh", max_size=60))
def test_the_table_is_bounded_and_in_order_and_shares_stay_below_one(names: str) -> None:
    successors = _of(names)
    assert len(successors.names) == len(successors.shares) <= LIMIT
    assert len(set(successors.names)) == len(successors.names)
    assert list(successors.shares) == sorted(successors.shares, reverse=True)
    assert sum(successors.shares) < 1.0
