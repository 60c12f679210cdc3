"""Who is measured, each in a module of its own, found by name: adding one touches one new file.

A module has CONTESTANTS: how each is started in front of the mock engine, how one sees that it serves, and what of it is not
measured here.
"""

from __future__ import annotations

import importlib
import pkgutil

from .base import Contestant as Contestant
from .base import NotThere as NotThere
from .base import Place as Place
from .base import Start as Start

_ORDER = ("nginx", "litellm", "sglang_router", "smg", "ours")
"""In the table; whoever is not named here comes behind."""


def contestants() -> list[Contestant]:
    modules = sorted(
        (one.name for one in pkgutil.iter_modules(__path__) if one.name != "base"),
        key=lambda name: (_ORDER.index(name) if name in _ORDER else len(_ORDER), name),
    )
    found: list[Contestant] = []
    for name in modules:
        found += importlib.import_module(f"{__name__}.{name}").CONTESTANTS
    return found
