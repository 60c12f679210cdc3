"""Estimators of invocation distance, one module each, found by the module's name.

Each has `estimate(agent, at) -> Estimate | None`. They read the world and never change it.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import cast

from ..estimate import Estimator


def names() -> list[str]:
    return sorted(module.name for module in iter_modules(__path__))


def find(name: str) -> Estimator:
    """Raises `ValueError` that lists what there is."""
    if name not in names():
        raise ValueError(f"no distance is called {name!r}; there are {', '.join(names())}")
    return cast(Estimator, import_module(f".{name}", __name__).estimate)
