"""Parsers of single values.

A parser takes what a string, a number or a TOML list says and answers the value, or raises ValueError with the end of a
sentence that begins with the name of the setting.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from enum import StrEnum
from typing import TypeVar

from scalesim.proxy.core.durations import Scale
from scalesim.proxy.core.model import Clock, Mode

_Word = TypeVar("_Word", bound=StrEnum)


def printable_name(value: object) -> str:
    if not isinstance(value, str) or not value or value != value.strip() or not value.isprintable():
        raise ValueError(f"{value!r} is not a name (printable, not empty, no space around it)")
    return value


def host_name(value: object) -> str:
    if not isinstance(value, str) or not value or any(mark.isspace() or mark in "/@" for mark in value):
        raise ValueError(f"{value!r} is not a host name or an address")
    return value


def one_of(*known: str) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in known:
            raise ValueError(f"{value!r} is not one of {', '.join(known)}")
        return value

    return parse


def mode(value: object) -> Mode:
    return Mode(one_of(*Mode)(value))


def some_of(kind: type[_Word]) -> Callable[[object], frozenset[_Word]]:
    """A list in TOML, separated by commas elsewhere. Of the words all and none each stands alone."""

    def parse(value: object) -> frozenset[_Word]:
        given = [part.strip() for part in value.split(",")] if isinstance(value, str) else value
        if given == ["all"]:
            return frozenset(kind)
        if given == ["none"]:
            return frozenset()
        if not isinstance(given, list | tuple) or not all(isinstance(part, str) for part in given):
            raise ValueError(f"{value!r} is not a list of {', '.join(kind)}, nor all, nor none")
        unknown = [part for part in given if part not in tuple(kind)]
        if unknown:
            raise ValueError(f"{unknown[0]!r} is not one of {', '.join(kind)} (or all, or none)")
        return frozenset(map(kind, given))

    return parse


def switch(value: object) -> bool:
    known = {True: True, False: False, "on": True, "off": False, "true": True, "false": False}
    if not isinstance(value, bool | str) or value not in known:
        raise ValueError(f"{value!r} is not on or off")
    return known[value]


def as_number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        return float(value)
    except (ValueError, OverflowError):
        return math.nan


def above_zero(most: float, unit: str) -> Callable[[object], float]:
    def parse(value: object) -> float:
        number = as_number(value)
        if not 0 < number <= most:
            raise ValueError(f"{value} is not a number of {unit} above 0 and up to {most:g}")
        return number

    return parse


def from_zero(most: float, unit: str) -> Callable[[object], float]:
    def parse(value: object) -> float:
        number = as_number(value)
        if not 0 <= number <= most:
            raise ValueError(f"{value} is not a number of {unit} from 0 to {most:g}")
        return number

    return parse


def from_to(least: float, most: float, unit: str) -> Callable[[object], float]:
    def parse(value: object) -> float:
        number = as_number(value)
        if not least <= number <= most:
            raise ValueError(f"{value} is not a number of {unit} from {least:g} to {most:g}")
        return number

    return parse


def count(most: int, noun: str) -> Callable[[object], int]:
    def parse(value: object) -> int:
        number = as_number(value)
        if not (1 <= number <= most and number.is_integer()):
            raise ValueError(f"{value} is not a number of {noun} (a whole one, 1 to {most})")
        return int(number)

    return parse


def from_zero_count(most: int, noun: str) -> Callable[[object], int]:
    def parse(value: object) -> int:
        number = as_number(value)
        if not (0 <= number <= most and number.is_integer()):
            raise ValueError(f"{value} is not a number of {noun} (a whole one, 0 to {most})")
        return int(number)

    return parse


def byte_count(least: int, most: int) -> Callable[[object], int]:
    def parse(value: object) -> int:
        number = as_number(value)
        if not (least <= number <= most and number.is_integer()):
            raise ValueError(f"{value} is not a number of bytes (a whole one, {least} to {most})")
        return int(number)

    return parse


def file_path(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value or value.endswith("/"):
        raise ValueError(f"{value!r} is not the path of a file")
    return value


def port_number(value: object) -> int:
    number = as_number(value)
    if not (0 <= number <= 65535 and number.is_integer()):
        raise ValueError(f"{value} is not a port (1 to 65535); 0 takes a free one")
    return int(number)


def share(value: object) -> float:
    number = as_number(value)
    if not 0 <= number <= 1:
        raise ValueError(f"{value} is not a share (0 to 1)")
    return number


def scale(value: object) -> Scale | None:
    if value == "off":
        return None
    number, _, unit = value.partition(" ") if isinstance(value, str) else ("", "", "")
    try:
        clock = Clock(unit)
        if clock not in (Clock.STEPS, Clock.SECONDS):
            raise ValueError("nobody tells on that clock")
        return Scale(clock, as_number(number))
    except ValueError:
        raise ValueError(
            f"{value!r} is not the length of a simulated minute, like '0.2 steps' or '1.5 seconds', nor off"
        ) from None
