"""Rules that say which engine serves a call, one module each, found by the module's name.

Each has `place(asked, sites, bounds) -> Placed`: a pure function that looks at each engine a fixed number of times.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import cast

from ..placing import Rule

BY_MEMORY = DEFAULT = "by_memory"


def names() -> list[str]:
    return sorted(module.name for module in iter_modules(__path__))


def find(name: str) -> Rule:
    """Raises `ValueError` that lists what there is."""
    if name not in names():
        raise ValueError(f"no placement rule is called {name!r}; there are {', '.join(names())}")
    return cast(Rule, import_module(f".{name}", __name__).place)
