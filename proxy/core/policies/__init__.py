"""Policies say where memory should be, one module each, found by the module's name.

Each has `plan(view) -> Wanted`: a short pure function. What must always hold is not theirs to care for.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import cast

from ..wanted import Policy


def names() -> list[str]:
    return sorted(module.name for module in iter_modules(__path__))


def find(name: str) -> Policy:
    """Raises `ValueError` that lists what there is."""
    if name not in names():
        raise ValueError(f"no policy is called {name!r}; there are {', '.join(names())}")
    return cast(Policy, import_module(f".{name}", __name__).plan)
