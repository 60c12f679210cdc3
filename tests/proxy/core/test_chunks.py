from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core import chunks
from scalesim.proxy.core.chunks import SortedChunks


@given(st.lists(st.integers(0, 40)), st.integers(2, 6))
def test_it_stays_sorted_whatever_comes_and_goes(numbers: list[int], longest: int) -> None:
    """A number that comes again goes."""
    before = chunks._LONGEST
    chunks._LONGEST = longest
    try:
        known: set[int] = set()
        here: SortedChunks[int] = SortedChunks()
        for number in numbers:
            if number in known:
                known.remove(number)
                here.remove(number)
            else:
                known.add(number)
                here.add(number)
            assert list(here) == sorted(known)
            assert list(reversed(here)) == sorted(known, reverse=True)
            assert len(here) == len(known)
            assert here.first() == min(known, default=None)
    finally:
        chunks._LONGEST = before


def test_long_ones_are_parted() -> None:
    here: SortedChunks[int] = SortedChunks()
    for number in [*range(0, 4_000, 2), *range(3_999, 0, -2)]:
        here.add(number)
    assert list(here) == list(range(4_000))
    for number in range(0, 4_000, 2):
        here.remove(number)
    assert list(here) == list(range(1, 4_000, 2))
