"""A third kind, as a test of the interface: a private model of each agent, whose load takes seconds.

It shares its pool with others where the engine says so, and needs nothing but this file.
"""

from __future__ import annotations

from collections.abc import Set

from scalesim.proxy.core.kinds import AgentView, EngineView, Way
from scalesim.proxy.core.model import MemoryId, Part

name = "model"
SIZE_BYTES = 1 << 30


def of_agent(agent: AgentView) -> MemoryId | None:
    return MemoryId(name, agent.owner)


def size_bytes(agent: AgentView, engine: EngineView) -> int | None:
    return SIZE_BYTES


def way(features: Set[str], host_copy: bool, parts: Set[Part]) -> Way | None:
    """It is what an agent runs on, like an adapter, and is switched with those."""
    return Way.COPY if host_copy and f"load_{name}" in features and Part.ADAPTERS in parts else None
