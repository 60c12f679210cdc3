"""What a distance or a duration may be. Checked where it enters, and again where it would do harm."""

from __future__ import annotations


def check_distance(value: float) -> float:
    """`value` as a float >= 0; infinity is allowed (not expected again). Raises `ValueError` otherwise."""
    try:
        number = float(value)
    except OverflowError:
        raise ValueError(f"a distance must be a number that fits a float, not {value!r}") from None
    if not number >= 0.0:  # also refuses NaN, which compares false with everything
        raise ValueError(f"a distance must be 0 or more, not {number!r}")
    return number
