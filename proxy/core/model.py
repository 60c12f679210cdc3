"""The words of the domain: ids, clocks, moments, and what an engine says of itself.

Nothing here may do I/O, read a clock, or know how an engine is spoken to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, NewType

SimulationId = NewType("SimulationId", str)
AgentName = NewType("AgentName", str)
EngineId = NewType("EngineId", str)
CallId = NewType("CallId", int)
Owner = NewType("Owner", str)
"""An agent's name towards an engine: it carries the simulation, so that two simulations may both have an `Ann`."""

AdapterName = NewType("AdapterName", str)
"""A LoRA adapter's name towards the engine (as in `model: "base:NAME"`)."""

FAR = math.inf
"""The distance of an agent that is not expected to call again."""


def owner_of(simulation: SimulationId, agent: AgentName) -> Owner:
    return Owner(f"{simulation}/{agent}")


KV_PREFIX = "kv_prefix"
LORA = "lora"


class MemoryId(NamedTuple):
    """Something on an engine that a call needs and that costs time to bring back. One agent owns several, and one may
    have many owners."""

    kind: str
    """The name of a module in `kinds`, e.g. `kv_prefix`."""
    key: str
    """Within its kind: an owner's name for a prefix, an adapter's name for an adapter."""


class Part(StrEnum):
    """The parts of memory control, each with a switch of its own, so that each can be measured alone."""

    ORDER = "order"
    """What is farthest leaves first: prefixes, adapter slots and adapters in the engine's host memory."""
    PIN = "pin"
    """Who is in an activation is pinned, softly, within a budget."""
    PREFIXES = "prefixes"
    """Prefixes are brought back from host memory before the call."""
    ADAPTERS = "adapters"
    """Adapters are brought into a slot before the call."""
    PREEMPT = "preempt"
    """A nearer load interrupts a farther one."""
    READY_FIRST = "ready_first"
    """In the engine's queue, calls whose memory is ready may overtake others, a bounded number of times."""
    WARM_UP = "warm_up"
    """Where there is no host copy, prefixes are prefilled again while the engine has nothing else to do."""


class Clock(StrEnum):
    """The clock a moment was told on. Moments of one clock are ordered on it, never converted when they arrive."""

    STEPS = "steps"
    """The simulation's own steps, moved by `StepTicked`."""
    SECONDS = "seconds"
    """Wall seconds, as in the `at` of events."""
    BURSTS = "bursts"
    """Steps that are read off the traffic of a simulation that tells of none (`bursts.py`). For what we learn, too."""
    TURNS = "turns"
    """Activations of all agents of the simulation, counted as they begin. For what we learn: nobody tells on it."""


class Moment(NamedTuple):
    """A point on a clock: step 17, or second 812.5 since the proxy's origin. A tuple, because each agent has some."""

    clock: Clock
    value: float


class Source(StrEnum):
    """Who knows when an agent calls next; who stands higher has more authority as long as nothing was measured."""

    ACTIVATION = "activation"
    """It is calling now."""
    OPERATOR = "operator"
    """An operator wants its memory on the device now."""
    HINTED = "hinted"
    """The simulation said so."""
    PLAN = "plan"
    """The simulation said how long its action takes."""
    ANSWERS = "answers"
    """The LLM said so, to the simulation."""
    SPATIAL = "spatial"
    """It comes within reach of another agent, with whom it may interact."""
    PATH = "path"
    """A wave of activations comes its way on the simulation's graph."""
    TURNS = "turns"
    """Learned from the order in which all agents began so far."""
    GAP = "gap"
    """Learned from its own past activations."""


class Mode(StrEnum):
    """What is done for a simulation. `SHADOW` computes and counts, and sends nothing."""

    OFF = "off"
    SHADOW = "shadow"
    ON = "on"


class Outcome(StrEnum):
    """How a call ended, seen from the proxy."""

    DONE = "done"
    """The engine's answer (of whatever status) reached the client whole."""
    CLIENT_GONE = "client_gone"
    ENGINE_FAILED = "engine_failed"
    """No answer, or half of one: the engine was unreachable, or broke off."""


class Usage(NamedTuple):
    """What the engine reported for one call, in tokens; `cached` is None where the engine does not say. A tuple, as one is made of
    each."""

    prompt: int
    cached: int | None
    output: int


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What one engine can do, as it says itself. `reason` tells a person why `extended` is False; empty if True."""

    kind: str
    version: str
    extended: bool
    features: frozenset[str] = frozenset()
    """Out of: order, pin, evict, residency, owners, abort; routing_keys (an owner may also be told by a router's header); load_kv_prefix and load_lora (or load_ and another kind: its
    `Load` is understood); adapters (`Order.adapters` counts); fetch_adapters (adapters come and go at run time);
    ready_first; by_recency; host_copy (`Order.no_host_copy` counts); warm_up (a prompt may be sent that generates nothing)."""
    boot_id: str | None = None
    """Changes whenever the engine starts anew and has forgotten everything."""
    capacity_tokens: int | None = None
    """Of the prefix cache. Where an engine evicts by recency and reports nothing, what it holds is guessed from that."""
    adapter_slots: int | None = None
    """Adapters that a batch may use; None where LoRA is off."""
    host_adapters: int | None = None
    """Adapters that the engine's host memory may hold; None: unknown or without limit."""
    reason: str = ""


class LoadState(StrEnum):
    """How a `Load` ended that did not fail."""

    LOADED = "loaded"
    """It is usable now, and was moved for that."""
    RESIDENT = "resident"
    """Nothing had to be moved."""
    STOPPED = "stopped"
    """A `StopLoad` (or a call that wanted the engine) ended it; what was moved by then stays usable."""
    ABSENT = "absent"
    """There is no copy to load it from."""
    NO_ROOM = "no_room"
    """Only nearer memory, or such in use, could have made room."""


@dataclass(frozen=True, slots=True)
class LoadResult:
    state: LoadState
    moved_bytes: int = 0


class MemoryReport(NamedTuple):
    """Of one memory, in bytes. Nothing on the device and nothing missing: there is no copy of it."""

    device_bytes: int
    missing_bytes: int
    """What a load would move to make it usable as a whole."""


@dataclass(frozen=True, slots=True)
class Pool:
    """Device memory for which kinds of memory compete."""

    name: str
    kinds: frozenset[str]
    capacity_bytes: int
    free_bytes: int
    """Held by nobody; what could be evicted is not in it."""


@dataclass(frozen=True, slots=True)
class EngineReport:
    """A look at a running engine. Sizes in tokens."""

    boot_id: str
    plan_in_force: bool
    """False once the plan has aged out: the engine then evicts by recency."""
    pinned_owners: frozenset[Owner]
    pinned_tokens: int
    capacity_tokens: int
    pools: tuple[Pool, ...] = ()
    """Empty where the engine does not tell; nothing is then loaded ahead."""
    memories: Mapping[MemoryId, MemoryReport] = field(default_factory=dict)
    """Of those on or near the engine: the nearest of its plan, and every adapter it holds in a slot or in host memory."""
    loading: frozenset[MemoryId] = frozenset()
    """On their way to the device ahead of a call."""
    running_adapters: frozenset[AdapterName] = frozenset()
    """Of the calls that are being computed."""

    @property
    def bytes_per_token(self) -> int | None:
        """Of a prefix; None where it does not tell."""
        prefixes = next((pool for pool in self.pools if KV_PREFIX in pool.kinds), None)
        if prefixes is None or not self.capacity_tokens:
            return None
        return prefixes.capacity_bytes // self.capacity_tokens
