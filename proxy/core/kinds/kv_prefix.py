"""The prefix cache of an agent: what all its calls have computed so far that later ones begin with."""

from __future__ import annotations

from ..model import KV_PREFIX, MemoryId, Part
from . import AgentView, EngineView, Way

name = KV_PREFIX


def of_agent(agent: AgentView) -> MemoryId | None:
    return MemoryId(KV_PREFIX, agent.owner)


def size_bytes(agent: AgentView, engine: EngineView) -> int | None:
    if agent.size_tokens is None or engine.bytes_per_token is None:
        return None
    return agent.size_tokens * engine.bytes_per_token


def way(features: frozenset[str], host_copy: bool, parts: frozenset[Part]) -> Way | None:
    """Copied where there is a copy, else computed again. Where copying is switched off, the copy is not computed
    instead: each part is measured alone."""
    if host_copy and f"load_{KV_PREFIX}" in features:
        return Way.COPY if Part.PREFIXES in parts else None
    return Way.RECOMPUTE if "warm_up" in features and Part.WARM_UP in parts else None
