"""What the core asks for. Imperative; each is idempotent and may fail, which comes back as `Settled`."""

from __future__ import annotations

from dataclasses import dataclass

from .model import AdapterName, EngineId, MemoryId, Owner


@dataclass(frozen=True, slots=True)
class Order:
    """The plan: the full list of owners on or near this engine with their distances, nearest first.

    Only the order of the distances counts. Owners that are not in it are farther than all that are.
    An empty order gives the engine back to recency, or, `by_recency`, to what is nearly that.
    """

    engine: EngineId
    distances: tuple[tuple[Owner, float], ...]
    adapters: tuple[tuple[AdapterName, float], ...] = ()
    """The same for adapters, for slots and host memory alike."""
    pinned_adapters: tuple[AdapterName, ...] = ()
    """Leave their slots last. At most slots - 1 - distinct adapters running, or others would starve."""
    no_host_copy: tuple[Owner, ...] = ()
    """Of the owners above, those whose prefixes are not worth a copy in host memory."""
    ready_first: bool = False
    """Whether calls whose memory is ready may overtake others in the engine's queue."""
    by_recency: bool = False
    """All owners are equally far: the parts of their memory that none of them will ask for again leave first, as in any order,
    and then what was used longest ago."""


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
    """Gives up the memory of owners that will not call again. No plan asks for it: whoever stands in no order leaves first when room is
    needed, and until then nobody is served by an empty place. Every adapter knows it, as the engine's route for it is part of the
    control protocol, and the contract tests run it on each engine."""

    engine: EngineId
    owners: tuple[Owner, ...]


@dataclass(frozen=True, slots=True)
class Load:
    """Brings a memory to the device ahead of a call: in slices, behind every load that a call waits for.

    It is carried out once the memory is usable, or it is known why not: `Settled.result` says which.
    """

    engine: EngineId
    memory: MemoryId
    distance: float
    """Of its nearest owner, as in the order: farther memory may make room for it, nearer may not."""
    within_s: float
    """Seconds after which it is of no use any more; > 0."""
    recompute: bool = False
    """There is no copy: the proxy has the engine compute it again."""


@dataclass(frozen=True, slots=True)
class StopLoad:
    """Ends a `Load` at its next safe place. Both are settled: the load as stopped, or as done if it was quicker."""

    engine: EngineId
    memory: MemoryId
    recompute: bool = False
    """As of the load."""


@dataclass(frozen=True, slots=True)
class FetchAdapter:
    """Makes an adapter known to the engine: from disk to its host memory. Needed once, before its first call."""

    engine: EngineId
    adapter: AdapterName
    path: str
    """As the engine's machine sees it."""


@dataclass(frozen=True, slots=True)
class DropAdapter:
    """Takes an adapter out of slot and host memory, once no call uses it. Its cached prefixes are lost with it."""

    engine: EngineId
    adapter: AdapterName


Action = Order | Renew | Pin | Unpin | Evict | Load | StopLoad | FetchAdapter | DropAdapter
