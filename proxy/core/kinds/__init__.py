"""Kinds of memory, one module each, found by the module's name.

Each says which memory of its kind an agent's calls need, how large that is, and how an engine can be asked for it.
Which memory is brought ahead, and when, is not theirs to care for: `prefetch` and `loads` treat all kinds alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib import import_module
from pkgutil import iter_modules
from typing import NamedTuple, Protocol, cast

from ..model import AdapterName, MemoryId, Owner, Part


class Way(StrEnum):
    """How a load brings memory to the device."""

    COPY = "copy"
    """From a lower tier: it takes the link, and counts in its bytes."""
    RECOMPUTE = "recompute"
    """The engine computes it again, and only while it has nothing else to do."""


class AgentView(NamedTuple):
    """What a kind is shown of an agent. A tuple, because plans make thousands of them."""

    owner: Owner
    adapter: AdapterName | None = None
    """On which its calls run; None: the base model, or unknown."""
    size_tokens: int | None = None
    """Of its prefix; None until an engine reported a call."""


@dataclass(frozen=True, slots=True)
class EngineView:
    """What a kind is shown of an engine. None: not known yet."""

    bytes_per_token: int | None = None
    """Of a prefix."""
    adapter_bytes: int | None = None
    """Of one slot."""


class Kind(Protocol):
    """Met by a module, or by an object of a test."""

    @property
    def name(self) -> str:
        """As in `MemoryId.kind`."""

    def of_agent(self, agent: AgentView) -> MemoryId | None:
        """Which memory of this kind the agent's calls need. Several agents may need the same one."""

    def size_bytes(self, agent: AgentView, engine: EngineView) -> int | None:
        """Of that memory, as long as the engine did not report it. None: it cannot be told."""

    def way(self, features: frozenset[str], host_copy: bool, parts: frozenset[Part]) -> Way | None:
        """How an engine with these features loads it, `host_copy` being what was set for it; None: not at all, because
        the engine is not able to, or because that part of memory control is switched off."""


def names() -> list[str]:
    return sorted(module.name for module in iter_modules(__path__))


def find(name: str, more: Mapping[str, Kind] | None = None) -> Kind:
    """A kind by its name; `more` are such as live elsewhere. Raises `ValueError` that lists what there is."""
    beyond = more or {}
    if name in beyond:
        return beyond[name]
    if name not in names():
        raise ValueError(
            f"no kind of memory is called {name!r}; there are {', '.join(sorted({*names(), *beyond}))}"
        )
    return cast(Kind, import_module(f".{name}", __name__))
