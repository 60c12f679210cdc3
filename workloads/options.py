"""What is asked for by name and number: `NAME=VALUE`, of those names that are known. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from .program import Impossible


@dataclass(frozen=True, slots=True)
class Option:
    default: float
    least: float = 0.0
    most: float = math.inf
    whole: bool = False
    """Whether it counts something."""


def settled(whose: str, known: Mapping[str, Option], given: Mapping[str, float]) -> dict[str, float]:
    """Every known option, as given or as it is by default.

    Raises `Impossible`, which names what is known, or what a value has to be.
    """
    for name, value in given.items():
        option = known.get(name)
        if option is None:
            there = f"it has {', '.join(sorted(known))}" if known else "it has none"
            raise Impossible(f"{whose} has no option {name!r}; {there}")
        if not option.least <= value <= option.most or math.isinf(value):
            most = "" if math.isinf(option.most) else f" and at most {option.most:g}"
            raise Impossible(f"{name} is {value:g}, and has to be at least {option.least:g}{most}")
        if option.whole and value != int(value):
            raise Impossible(f"{name} is {value:g}, and has to be a whole number")
    return {name: float(given.get(name, option.default)) for name, option in known.items()}


def named_numbers(told: Iterable[str]) -> dict[str, float]:
    """From `NAME=VALUE` each. Raises `Impossible`."""
    numbers: dict[str, float] = {}
    for one in told:
        name, equals, value = one.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not name or not equals or math.isnan(number):
            raise Impossible(f"{one!r} is not NAME=VALUE with a number")
        if name in numbers:
            raise Impossible(f"{name} is given twice")
        numbers[name] = number
    return numbers
