"""Scenarios: one module each, found by its name, with `generate(wishes) -> Program` and a docstring that says what it is."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping
from typing import Protocol, cast

from scalesim.workloads.options import Option
from scalesim.workloads.program import Impossible, Program, Wishes


class Scenario(Protocol):
    OPTIONS: Mapping[str, Option]
    """By name: what can be wished for besides what all have."""

    def generate(self, wishes: Wishes) -> Program:
        """The same wishes give the same program. Raises `Impossible`."""
        ...


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def scenario(name: str) -> Scenario:
    """Raises `Impossible` for a name that is none of `names()`."""
    if name not in names():
        raise Impossible(f"there is no scenario {name!r}; there is {', '.join(names())}")
    return cast(Scenario, importlib.import_module(f"{__name__}.{name}"))
