import math

import pytest

from scalesim.proxy.core.checks import check_distance


@pytest.mark.parametrize("value", [0, 0.0, 3, 2.5, math.inf])
def test_distances_from_zero_to_infinity_are_taken(value: float) -> None:
    assert check_distance(value) == value


@pytest.mark.parametrize("value", [-0.001, -1, math.nan, -math.inf])
def test_a_negative_distance_and_nan_are_refused_with_the_value(value: float) -> None:
    with pytest.raises(ValueError, match=f"not {float(value)!r}"):
        check_distance(value)


def test_a_number_too_large_for_a_float_is_refused() -> None:
    with pytest.raises(ValueError, match="fits a float"):
        check_distance(10**400)
