"""Rendezvous hashing: every process that asks puts a key on the same engine, and an engine that comes or goes moves only keys
of its own."""

from __future__ import annotations

import math
from hashlib import blake2b

from .model import EngineId

_BITS = 52
"""Of a hash: with the half that is added to it, so many fit into a float without rounding to 1."""


def weighted_score(key: str, engine: EngineId, part: float) -> float:
    """Whoever has the highest gets the key. Over many keys each engine gets them in proportion to its part, which is above 0;
    where parts change, keys move only to engines whose part grew, or from such whose part shrank."""
    digest = blake2b(f"{engine}\n{key}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    lot = ((int.from_bytes(digest, "big") >> (64 - _BITS)) + 0.5) / (1 << _BITS)
    return -part / math.log(lot)
