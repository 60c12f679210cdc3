"""The control routes, answered exactly as the plugin answers them inside SGLang."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from ..sglang_plugin import wire
from ..sglang_plugin.ledger import Ledger
from .cache import RadixCache

Json = dict[str, Any]


class Control:
    """Where the control calls of one engine end. `version` is what the engine says of itself."""

    def __init__(self, cache: RadixCache, ledger: Ledger, *, boot_id: str, version: str) -> None:
        self.ledger = ledger
        self._cache = cache
        self._boot_id = boot_id
        self._version = version

    def answer(
        self, method: str, name: str, query: Mapping[str, Sequence[str]], body: bytes
    ) -> tuple[int, Json]:
        """The status and the JSON. While an answer to a command says `in_force`, somebody must send beats."""
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
            self.ledger.admit(command.fence)
        except wire.FenceLost as exc:
            token, sequence = exc.highest
            return 409, _control_error("fence_lost", str(exc), token=token, sequence=sequence)
        except ValueError as exc:  # also what orjson raises
            return 400, _control_error("bad_request", str(exc))
        answer = self._carry_out(command)
        answer["in_force"] = bool(self.ledger.plan_beats or self.ledger.pins)
        return 200, answer

    def _carry_out(self, command: wire.Command) -> Json:
        answer: Json = {"ok": True}
        match command.name:
            case "plan":
                self.ledger.set_plan(command.distances)
                answer["owners"] = len(command.distances)
            case "renew":
                self.ledger.renew()
            case "pin":
                self.ledger.pin(command.owners)
                answer["pins"] = len(self.ledger.pins)
            case "unpin":
                self.ledger.unpin(command.owners)
                answer["pins"] = len(self.ledger.pins)
            case _ if command.tokens:
                answer["evicted_tokens"] = self._cache.evict(command.tokens)
            case _:
                answer["evicted_tokens"] = self._cache.evict_owners(frozenset(command.owners))
        return answer

    def _capabilities(self) -> Json:
        return {
            "protocol": wire.PROTOCOL,
            "plugin": "emulated",
            "boot_id": self._boot_id,
            "engine": {"name": "emulated", "version": self._version},
            "cache": {"class": type(self._cache).__name__, "active": True, "reason": ""},
            "features": list(wire.FEATURES),
            "capacity_tokens": self._cache.capacity,
            "page_size": 1,
            "pin_budget_tokens": self.ledger.pin_budget,
            "self_check": {"ok": True, "problems": []},
        }

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
            "tables": {**self.ledger.sizes(), "nodes": len(self._cache.nodes)},
            "tagging_error": "",
        }

    def _residency(self, only: str | None) -> Json:
        wanted = self._cache.owners() if only is None else {only}
        owners = {
            owner: {"device_tokens": count, "host_tokens": 0, "pinned": owner in self.ledger.pins}
            for owner, count in self._cache.tokens_of_owners(wanted).items()
        }
        return {"owners": owners, "unowned_tokens": self._cache.unowned_tokens()}


def _control_error(kind: str, message: str, **more: Any) -> Json:
    return {"error": {"type": kind, "message": message, **more}}
