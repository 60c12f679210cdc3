"""Studies in virtual time, one module each, found by the module's name: what changes between plays, and nothing else.

Each has `STUDY` (`variant.py`). What is varied and on what was written down before anything was played.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from scalesim.workloads.program import Impossible

from .variant import Study

_SHARED = frozenset({"running", "variant"})


def names() -> list[str]:
    return sorted(
        module.name.replace("_", "-") for module in iter_modules(__path__) if module.name not in _SHARED
    )


def study(name: str) -> Study:
    """Raises `Impossible` that lists what there is."""
    if name not in names():
        raise Impossible(f"there is no study {name!r}; there is {', '.join(names())}")
    found: Study = import_module(f".{name.replace('-', '_')}", __name__).STUDY
    return found
