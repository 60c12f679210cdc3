"""An engine that does at once what it is asked: as large as an H100, with a host tier, and no cost of its own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from scalesim.engine_adapters.base import Fence
from scalesim.proxy.core.actions import Action, Load, Order, Pin, Unpin
from scalesim.proxy.core.model import (
    KV_PREFIX,
    AdapterName,
    Capabilities,
    EngineId,
    EngineReport,
    LoadResult,
    LoadState,
    MemoryId,
    MemoryReport,
    Owner,
    Pool,
)

ENGINE = EngineId("bench")
MEMORIES = 200
"""That fit on the device."""
EVICTED = 20
"""At a time, so that this costs next to nothing of what is measured."""
HOST_MEMORIES = 2_000
MEMORY_TOKENS = 2_000
TOKEN_BYTES = 131_072
"""Of a model of 8 billion parameters."""
MEMORY_BYTES = MEMORY_TOKENS * TOKEN_BYTES
CAPABILITIES = Capabilities(
    "bench",
    "1",
    extended=True,
    features=frozenset({"order", "pin", "residency", "owners", "load_kv_prefix", "host_copy"}),
    boot_id="bench",
    capacity_tokens=MEMORIES * MEMORY_TOKENS,
)


class Engine:
    """Meets `EngineAdapter` by shape. The farthest in its order leaves first."""

    engine = ENGINE
    base_url = "http://bench"

    def __init__(self) -> None:
        self._device: dict[Owner, None] = {}
        """By last use, the oldest first."""
        self._host: dict[Owner, None] = {}
        self._distances: dict[Owner, float] = {}
        self._pins: set[Owner] = set()

    def use(self, owner: Owner) -> None:
        """A call of it ended, or a load."""
        self._device.pop(owner, None)
        self._device[owner] = None
        self._host.pop(owner, None)
        if len(self._device) > MEMORIES:
            far = float("inf")
            farthest_first = sorted(self._device, key=lambda one: -self._distances.get(one, far))
            for victim in farthest_first[:EVICTED]:
                del self._device[victim]
                self._host[victim] = None
            while len(self._host) > HOST_MEMORIES:
                del self._host[next(iter(self._host))]

    def do(self, action: Action) -> LoadResult | None:
        match action:
            case Order(distances=distances):
                self._distances = dict(distances)
            case Pin(owners=owners):
                self._pins.update(owners)
            case Unpin(owners=owners):
                self._pins.difference_update(owners)
            case Load(memory=memory):
                owner = Owner(memory.key)
                if owner in self._device:
                    return LoadResult(LoadState.RESIDENT)
                if owner not in self._host:
                    return LoadResult(LoadState.ABSENT)
                self.use(owner)
                return LoadResult(LoadState.LOADED, MEMORY_BYTES)
        return None

    def looked_at(self) -> EngineReport:
        return EngineReport(
            "bench",
            plan_in_force=True,
            pinned_owners=frozenset(self._pins),
            pinned_tokens=len(self._pins) * MEMORY_TOKENS,
            capacity_tokens=MEMORIES * MEMORY_TOKENS,
            pools=(
                Pool(
                    "kv",
                    frozenset({KV_PREFIX}),
                    MEMORIES * MEMORY_BYTES,
                    (MEMORIES - len(self._device)) * MEMORY_BYTES,
                ),
            ),
            memories={**_reported(self._device, MEMORY_BYTES, 0), **_reported(self._host, 0, MEMORY_BYTES)},
        )

    async def probe(self) -> Capabilities:
        return CAPABILITIES

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        return self.do(action)

    async def report(self) -> EngineReport:
        return self.looked_at()

    async def models(self) -> Sequence[object]:
        return ()

    async def abort(self, request_id: str) -> None:
        return None

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, str]:
        return {}

    def adapter_of(self, path: str, body: Mapping[str, object]) -> AdapterName | None:
        return None


def _reported(owners: Iterable[Owner], device: int, missing: int) -> dict[MemoryId, MemoryReport]:
    return {MemoryId(KV_PREFIX, owner): MemoryReport(device, missing) for owner in owners}
