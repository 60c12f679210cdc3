"""A LoRA adapter. Agents may share one; whoever calls without one needs none."""

from __future__ import annotations

from ..model import LORA, MemoryId, Part
from . import AgentView, EngineView, Way

name = LORA


def of_agent(agent: AgentView) -> MemoryId | None:
    return None if agent.adapter is None else MemoryId(LORA, agent.adapter)


def size_bytes(agent: AgentView, engine: EngineView) -> int | None:
    """A slot has the size of the largest adapter, whichever is in it."""
    return engine.adapter_bytes


def way(features: frozenset[str], host_copy: bool, parts: frozenset[Part]) -> Way | None:
    """Weights cannot be computed: without a copy there is nothing to load."""
    return Way.COPY if host_copy and f"load_{LORA}" in features and Part.ADAPTERS in parts else None
