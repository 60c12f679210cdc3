from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from scalesim.proxy.core.rows import Row, Rows, number_of, told_by

ROW = st.tuples(
    st.tuples(st.floats(allow_nan=False), st.floats(allow_nan=False)),
    st.tuples(st.text(max_size=3), st.text(max_size=3), st.text(max_size=3)),
)


@given(st.lists(ROW, max_size=12), st.integers(1, 5))
def test_the_last_rows_are_kept_as_they_were_in_their_order(came: list[Row], most: int) -> None:
    rows = Rows()
    for number, row in enumerate(came, 1):
        rows.keep(row, most)
        assert list(rows) == came[max(0, number - most) : number]
        assert rows.ends_with(row)
    assert not Rows().ends_with(((0.0,), ("",)))


@given(st.none() | st.integers(0, 2**53))
def test_a_count_comes_back_as_it_was_and_so_does_that_there_is_none(count: int | None) -> None:
    assert told_by(number_of(count)) == count
