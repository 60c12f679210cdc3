"""The control routes, answered exactly as the plugin answers them inside SGLang."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ..sglang_plugin import wire
from ..sglang_plugin.ledger import Ledger
from .adapters import Adapters
from .cache import KV_PREFIX
from .counts import Tally
from .loads import Loads
from .memory import Memory
from .prefixes import Prefixes
from .scheduler import Scheduler

Json = dict[str, Any]

MAX_TOLD = 512
"""Owners whose memory is told in the stats: the nearest of the plan, or without one those that called last."""


class Control:
    """Where the control calls of one engine end. `version` is what the engine says of itself."""

    def __init__(
        self,
        ledger: Ledger,
        memory: Memory,
        scheduler: Scheduler,
        loads: Loads,
        tally: Tally,
        adapters: Adapters | None,
        *,
        boot_id: str,
        version: str,
    ) -> None:
        self.ledger = ledger
        self._cache = memory.cache
        self._prefixes = Prefixes(memory.cache, ledger)
        self._memory = memory
        self._scheduler = scheduler
        self._loads = loads
        self._tally = tally
        self._adapters = adapters
        self._boot_id = boot_id
        self._version = version

    async def answer(
        self, method: str, name: str, query: Mapping[str, Sequence[str]], body: bytes
    ) -> tuple[int, Json]:
        """The status and the JSON. While an answer to a command says `in_force`, somebody must send beats.

        Only a load takes time."""
        if method == "GET":
            match name:
                case "capabilities":
                    return 200, self._capabilities()
                case "stats":
                    return 200, self._stats()
                case "residency":
                    return 200, self._residency(query.get("owner", [None])[0])
                case _:
                    return 404, _control_error("not_found", f"no such read: {name[:64]}")
        if method != "POST":
            return 405, _control_error("bad_request", f"{method} is not POST")
        try:
            command = wire.parse_command(name, orjson.loads(body))
            if command.kind and command.kind not in self._loads.stores:
                known = ", ".join(self._loads.stores) or "none"
                raise wire.Malformed(f"kind: {command.kind!r:.64} cannot be loaded here; what can is {known}")
            self.ledger.admit(command.fence, ordered=name not in wire.UNORDERED)
        except wire.FenceLost as exc:
            token, sequence = exc.highest
            return 409, _control_error("fence_lost", str(exc), token=token, sequence=sequence)
        except ValueError as exc:  # also what orjson raises
            return 400, _control_error("bad_request", str(exc))
        if name == "load":
            memory = (command.kind, command.key)
            state, moved = await self._loads.load(memory, command.distance, command.within_s)
            return 200, {"ok": True, "state": state, "moved_bytes": moved}
        answer = self._carry_out(command)
        answer["in_force"] = bool(self.ledger.plan_beats or self.ledger.pins)
        return 200, answer

    def _carry_out(self, command: wire.Command) -> Json:
        answer: Json = {"ok": True}
        match command.name:
            case "plan":
                self.ledger.set_plan(
                    command.distances,
                    command.adapters,
                    command.pinned_adapters,
                    command.no_host_copy,
                    command.ready_first,
                    command.by_recency,
                )
                answer["owners"] = len(command.distances)
            case "renew":
                self.ledger.renew()
            case "pin":
                self.ledger.pin(command.owners)
                answer["pins"] = len(self.ledger.pins)
            case "unpin":
                self.ledger.unpin(command.owners)
                answer["pins"] = len(self.ledger.pins)
            case "stop":
                answer["was_loading"] = self._loads.stop((command.kind, command.key))
            case _ if command.tokens:
                answer["evicted_tokens"] = self._cache.evict(command.tokens)
            case _:
                answer["evicted_tokens"] = self._cache.evict_owners(frozenset(command.owners))
        return answer

    def _capabilities(self) -> Json:
        return {
            "protocol": wire.PROTOCOL,
            "plugin": "emulated",
            "plugin_version": self._version,
            "boot_id": self._boot_id,
            "engine": {"name": "emulated", "version": self._version},
            "cache": {"class": type(self._cache).__name__, "active": True, "reason": ""},
            "features": self._features(),
            "capacity_tokens": self._cache.capacity,
            "page_size": 1,
            "adapter_slots": None if self._memory.slots is None else self._memory.slots.most,
            "host_adapters": None if self._adapters is None else self._adapters.limit,
            "pin_budget_tokens": self.ledger.pin_budget,
            "self_check": {"ok": True, "problems": []},
        }

    def _features(self) -> list[str]:
        features = list(wire.FEATURES)
        if self._cache.host_capacity:
            features += wire.HOST_TIER_FEATURES
        if self._adapters is not None:
            features += wire.ADAPTER_FEATURES
        return features + [f"load_{kind}" for kind in self._memory.private]

    def _stats(self) -> Json:
        pinned = self._cache.tokens_of_owners(self.ledger.pins) if self.ledger.pins else {}
        return {
            "boot_id": self._boot_id,
            "plan_in_force": self.ledger.plan_in_force,
            "plan_owners": len(self.ledger.distances),
            "pins": sorted(self.ledger.pins),
            "pinned_tokens": sum(pinned.values()),
            "pin_budget_tokens": self.ledger.pin_budget,
            "capacity_tokens": self._cache.capacity,
            "available_tokens": self._cache.available,
            "evictable_tokens": self._cache.evictable,
            "fence": list(self.ledger.fence),
            "tables": self._sizes(),
            "tagging_error": "",
            "pools": [
                {
                    "name": pool.name,
                    "kinds": sorted(pool.holders),
                    "capacity_bytes": pool.capacity_bytes,
                    "free_bytes": pool.free_bytes,
                }
                for pool in self._memory.pools
            ],
            "memories": self._memories(),
            "loading": [list(memory) for memory in self._loads.under_way],
            "running_adapters": self._scheduler.running_adapters,
            "loads": self._tally.told(self._memory.wasted()),
        }

    def _memories(self) -> dict[str, Mapping[str, tuple[int, int]]]:
        """Of each memory the bytes on the device and those that a load would move, where there are any."""
        distances = self.ledger.distances
        nearest = heapq.nsmallest(MAX_TOLD, distances, key=distances.__getitem__)
        nearest = nearest or list(self.ledger.owners)[: -MAX_TOLD - 1 : -1]
        told = {kind: store.sizes_of(nearest) for kind, store in self._loads.stores.items()}
        # Also where nothing can be loaded: what is there is what a prefix computed ahead might replace.
        return {KV_PREFIX: self._prefixes.sizes_of(nearest), **told}

    def _sizes(self) -> dict[str, int]:
        return {
            **self.ledger.sizes(),
            **({} if self._adapters is None else self._adapters.sizes()),
            **self._loads.sizes(),
            **self._tally.sizes(),
            "nodes": len(self._cache.nodes),
            "host_nodes": len(self._cache.host.nodes),
        }

    def _residency(self, only: str | None) -> Json:
        cache = self._cache
        wanted = cache.owners() if only is None else {only}
        device, host = cache.tokens_of_owners(wanted), cache.host_tokens_of_owners(wanted)
        owners = {
            owner: {
                "device_tokens": device.get(owner, 0),
                "host_tokens": host.get(owner, 0),
                "pinned": owner in self.ledger.pins,
            }
            for owner in device.keys() | host.keys()
        }
        return {"owners": owners, "unowned_tokens": cache.unowned_tokens()}


def _control_error(kind: str, message: str, **more: Any) -> Json:
    return {"error": {"type": kind, "message": message, **more}}
