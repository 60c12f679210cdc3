"""What the core asks for. Imperative; each is idempotent and may fail, which comes back as `Settled`."""

from __future__ import annotations

from dataclasses import dataclass

from .model import EngineId, Owner


@dataclass(frozen=True, slots=True)
class Order:
    """The plan: the full list of owners on or near this engine with their distances, nearest first.

    Only the order of the distances counts. Owners that are not in it are farther than all that are.
    An empty order gives the engine back to recency.
    """

    engine: EngineId
    distances: tuple[tuple[Owner, float], ...]


@dataclass(frozen=True, slots=True)
class Renew:
    """Keeps the plan and the pins of this engine from ageing out."""

    engine: EngineId


@dataclass(frozen=True, slots=True)
class Pin:
    """Soft: the owners' memory leaves last, within the engine's budget; it never blocks a running call."""

    engine: EngineId
    owners: tuple[Owner, ...]


@dataclass(frozen=True, slots=True)
class Unpin:
    engine: EngineId
    owners: tuple[Owner, ...]


@dataclass(frozen=True, slots=True)
class Evict:
    """Gives up the memory of owners that will not call again."""

    engine: EngineId
    owners: tuple[Owner, ...]


Action = Order | Renew | Pin | Unpin | Evict
