"""One engine, looked at closely: what it can do, how full it is, and what it holds."""

from __future__ import annotations

import asyncio
from heapq import nsmallest
from itertools import chain, islice
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AfterValidator, BaseModel, Field, JsonValue

from scalesim.proxy.core.model import KV_PREFIX, EngineId, MemoryId, MemoryReport, Owner
from scalesim.proxy.core.snapshot import EngineSnapshot
from scalesim.proxy.engine_status import EngineStatus

from .answers import example
from .bodies import EnginePath, known_kind
from .desk import Desk
from .engine_answers import PoolAnswer
from .paging import Limit

FEATURES = {
    "order": "What is farthest leaves its cache first.",
    "pin": "Memory is pinned: it leaves last.",
    "evict": "Memory that nobody will call for is given up at once.",
    "residency": "It reports what it holds.",
    "owners": "It knows whose memory each is.",
    "abort": "A call is stopped when its client leaves.",
    "load_kv_prefix": "Prefixes are copied from host memory ahead of a call.",
    "load_lora": "Adapters are brought into a slot ahead of a call.",
    "adapters": "Its slots take an order of their own.",
    "fetch_adapters": "Adapters come and go while it runs.",
    "ready_first": "Calls whose memory is ready may overtake others in its queue.",
    "by_recency": "Where recency decides, what nobody will ask for leaves first all the same.",
    "host_copy": "Whether prefixes get a copy in host memory is chosen by their agents.",
    "warm_up": "A prompt may be sent that generates nothing, to compute its prefix ahead.",
}
_PIECE = 4_096
"""Memories that are looked at before everybody else has a turn."""


class CapabilitiesAnswer(BaseModel):
    model_config = example(
        {
            "engine": "engine-0",
            "kind": "sglang",
            "version": "0.5.23",
            "extended": True,
            "features": {"order": FEATURES["order"], "pin": FEATURES["pin"]},
            "boot_id": "6f1c",
            "capacity_tokens": 11000,
            "adapter_slots": 8,
            "host_adapters": 64,
            "reason": "",
        }
    )

    engine: str
    kind: str | None = Field(description="null: it was not found yet.")
    version: str | None
    extended: bool = Field(description="It takes orders; else it runs as stock.")
    features: dict[str, str] = Field(description="What it can do, and what each is.")
    boot_id: str | None = Field(description="Another one: it started anew, and has forgotten everything.")
    capacity_tokens: int | None = Field(description="Of its prefix cache.")
    adapter_slots: int | None = Field(description="null: it has no adapters.")
    host_adapters: int | None = Field(
        description="Its host memory takes so many; null: unknown, or any number."
    )
    reason: str = Field(description="Why it is not extended; empty if it is.")

    @classmethod
    def of(cls, status: EngineStatus) -> CapabilitiesAnswer:
        found = status.capabilities
        return cls(
            engine=status.engine,
            kind=None if found is None else found.kind,
            version=None if found is None else found.version,
            extended=found is not None and found.extended,
            features={one: FEATURES.get(one, "") for one in sorted(found.features if found else ())},
            boot_id=None if found is None else found.boot_id,
            capacity_tokens=None if found is None else found.capacity_tokens,
            adapter_slots=None if found is None else found.adapter_slots,
            host_adapters=None if found is None else found.host_adapters,
            reason="not found yet" if found is None else found.reason,
        )


class LoadsAnswer(BaseModel):
    """Ahead of calls. Counted since the proxy's start."""

    in_flight: int
    in_flight_bytes: int
    started: int
    loaded: int = Field(description="Ended usable, whether or not anything had to be moved.")
    stopped: int
    failed: int
    refused: int = Field(description="There was no copy, or no room.")
    moved_bytes: int


class PressureAnswer(BaseModel):
    model_config = example(
        {
            "engine": "engine-0",
            "running_calls": 3,
            "placed_calls": 5,
            "capacity_tokens": 11000,
            "held_tokens": 33000,
            "held_over_capacity": 3.0,
            "pinned_tokens": 2100,
            "pin_budget_tokens": 5500,
            "pools": [
                {"name": "kv", "kinds": ["kv_prefix"], "capacity_bytes": 176000000, "free_bytes": 4000000}
            ],
            "loads": {
                "in_flight": 2,
                "in_flight_bytes": 4100000,
                "started": 310,
                "loaded": 290,
                "stopped": 12,
                "failed": 0,
                "refused": 6,
                "moved_bytes": 910000000,
            },
            "actions_waiting": 0,
        }
    )

    engine: str
    running_calls: int = Field(description="As far as is known here, of whomever.")
    placed_calls: int = Field(description="That run there or wait for it.")
    capacity_tokens: int | None
    held_tokens: int = Field(description="Memory of the agents that live there, on the device or not.")
    held_over_capacity: float | None = Field(description="Above 1, not all of it fits: order matters.")
    pinned_tokens: int | None = Field(description="As the engine last reported.")
    pin_budget_tokens: int
    pools: list[PoolAnswer] = Field(description="Of device memory, as the engine last reported.")
    loads: LoadsAnswer
    actions_waiting: int

    @classmethod
    def of(
        cls, status: EngineStatus, known: EngineSnapshot | None, placed_calls: int, held_tokens: int
    ) -> PressureAnswer:
        report, capacity = status.report, status.capacity_tokens
        loads = None if known is None else known.loads
        return cls(
            engine=status.engine,
            running_calls=known.running_calls if known else 0,
            placed_calls=placed_calls,
            capacity_tokens=capacity,
            held_tokens=held_tokens,
            held_over_capacity=round(held_tokens / capacity, 3) if capacity else None,
            pinned_tokens=report.pinned_tokens if report else None,
            pin_budget_tokens=known.pin_budget_tokens if known else 0,
            pools=[PoolAnswer.of(pool) for pool in (report.pools if report else ())],
            loads=LoadsAnswer(
                in_flight=status.loads,
                in_flight_bytes=known.loading_bytes if known else 0,
                started=loads.started if loads else 0,
                loaded=loads.loaded if loads else 0,
                stopped=loads.stopped if loads else 0,
                failed=loads.failed if loads else 0,
                refused=loads.refused if loads else 0,
                moved_bytes=loads.moved_bytes if loads else 0,
            ),
            actions_waiting=status.waiting,
        )


_RESIDENT: dict[str, JsonValue] = {
    "kind": "kv_prefix",
    "key": "town/Ann",
    "device_bytes": 7300000,
    "missing_bytes": 0,
    "loading": False,
    "pinned": True,
}


class ResidentAnswer(BaseModel):
    kind: str
    key: str = Field(description="Of a prefix: SIMULATION/AGENT; of an adapter: as engines call it.")
    device_bytes: int
    missing_bytes: int = Field(description="What a load would move. Both 0: there is no copy of it.")
    loading: bool = Field(description="It is on its way to the device ahead of a call.")
    pinned: bool = Field(description="Softly, by a plan or an operator, as far as is known.")


class ResidencyAnswer(BaseModel):
    model_config = example(
        {
            "engine": "engine-0",
            "reports": True,
            "total": 24,
            "memories": [_RESIDENT],
            "next": "kv_prefix:town/Ann",
        }
    )

    engine: str
    reports: bool = Field(description="false: it does not say what it holds, or has not yet.")
    total: int = Field(description="Memories known of it, of all kinds.")
    memories: list[ResidentAnswer] = Field(
        description="By kind and key: the nearest of its plan, and every adapter that it knows."
    )
    next: str | None = Field(description="For `after`, to get the next page; null: this was the last.")


def engine_view_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/engines/{engine}", tags=["engines"])

    @router.get("/capabilities")
    async def capabilities(engine: EnginePath) -> CapabilitiesAnswer:
        """What it can do, as it says itself."""
        return CapabilitiesAnswer.of(_status(engine))

    @router.get("/pressure")
    async def pressure(engine: EnginePath) -> PressureAnswer:
        """How full it is, and how much is asked of it."""
        status, known = _status(engine), _snapshot(engine)
        placed = next(one for one in desk.fleet.states() if one.entry.address.name == engine)
        return PressureAnswer.of(status, known, placed.running, placed.held_tokens)

    @router.get("/residency")
    async def residency(
        engine: EnginePath,
        after: Annotated[
            str | None, Query(max_length=400, description="`next` of the page before this one.")
        ] = None,
        limit: Limit = 100,
        kind: Annotated[str, AfterValidator(known_kind), Query(description="Of memory: kv_prefix or lora.")]
        | None = None,
        simulation: Annotated[str | None, Query(max_length=64, description="Of prefixes.")] = None,
    ) -> ResidencyAnswer:
        """What it holds, by its last report and what is known since."""
        desk.check_engine(engine)
        held = desk.controller.residency(EngineId(engine))
        first = MemoryId("", "") if after is None else MemoryId(*after.partition(":")[::2])
        known = iter(held.memories)
        found: list[tuple[MemoryId, MemoryReport]] = []
        while piece := list(islice(known, _PIECE)):
            fitting = (one for one in piece if one[0] > first and _fits(one[0], kind, simulation))
            found = nsmallest(limit + 1, chain(found, fitting))
            await asyncio.sleep(0)
        return ResidencyAnswer(
            engine=engine,
            reports=held.reports,
            total=len(held.memories),
            memories=[
                ResidentAnswer(
                    kind=memory.kind,
                    key=memory.key,
                    device_bytes=report.device_bytes,
                    missing_bytes=report.missing_bytes,
                    loading=memory in held.loading,
                    pinned=(memory.kind == KV_PREFIX and Owner(memory.key) in held.pinned)
                    or memory.key in held.pinned_adapters,
                )
                for memory, report in found[:limit]
            ],
            next=":".join(found[limit - 1][0]) if len(found) > limit else None,
        )

    def _status(engine: str) -> EngineStatus:
        desk.check_engine(engine)
        return next(one for one in desk.runtime.engines() if one.engine == engine)

    def _snapshot(engine: str) -> EngineSnapshot | None:
        return next((one for one in desk.controller.engines() if one.id == engine), None)

    return router


def _fits(memory: MemoryId, kind: str | None, simulation: str | None) -> bool:
    if kind is not None and memory.kind != kind:
        return False
    return simulation is None or (memory.kind == KV_PREFIX and memory.key.startswith(f"{simulation}/"))
