"""An `EngineAdapter` without an engine: it keeps what it was asked, and fails where a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from scalesim.engine_adapters.base import EngineRefused, EngineUnreachable, Fence, Front
from scalesim.proxy.core.actions import Action, Load, StopLoad
from scalesim.proxy.core.model import (
    AdapterName,
    Capabilities,
    EngineId,
    EngineReport,
    LoadResult,
    LoadState,
    MemoryId,
    Owner,
)

from .patience import PATIENCE_S, soon

EXTENDED = Capabilities(
    kind="fake",
    version="1",
    extended=True,
    features=frozenset({"order", "pin", "evict", "residency", "owners", "abort"}),
    boot_id="boot-1",
    capacity_tokens=1000,
)


class FakeAdapter:
    """Its attributes are the test's levers: set `down`, `refuses`, `capabilities`, `next_report`, `base_url`,
    `load_results`, `serves` and `holds_loads` at any time.

    `additions` puts the owner under `owner`, the request's id under `rid` and the adapter under `lora_path` (unless the
    body has one), on every path.
    """

    def __init__(self, base_url: str = "http://127.0.0.1:1", *, engine: str = "fake") -> None:
        self.front: Front | None = None
        self.engine = EngineId(engine)
        self.base_url = base_url
        self.capabilities = EXTENDED
        self.next_report: EngineReport | None = None
        self.down: str | None = None
        """Why every control call ends in `EngineUnreachable`; None while the engine is up."""
        self.serves: Sequence[str] | None = ("fake-model",)
        """Names of models; None: it has no such list."""
        self.refuses: frozenset[type[Action]] = frozenset()
        self.load_results: dict[MemoryId, LoadResult] = {}
        """How loads end; those of other memory move nothing and find it resident."""
        self.holds_loads = False
        """Loads that come while it is set stay open until `release`, or until a `StopLoad` ends them as stopped."""
        self.held: dict[MemoryId, asyncio.Future[LoadResult]] = {}
        """The loads that are open now."""
        self.probes = 0
        self.actions: list[tuple[Action, Fence]] = []
        """What was carried out, loads as soon as they come; refused and lost actions are not in it."""
        self.aborts: list[str] = []
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[FakeAdapter], object], timeout_s: float = PATIENCE_S) -> None:
        """Waits until something that was recorded makes `condition` true. `timeout_s`: of a loop that runs. Raises `TimeoutError`."""

        async def met() -> None:
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

        await soon(met(), timeout_s)

    async def probe(self) -> Capabilities:
        self.probes += 1
        self._changed.set()
        self._check_up()
        return self.capabilities

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        self._check_up()
        if type(action) in self.refuses:
            raise EngineRefused(self.engine, f"{type(action).__name__} is not done here")
        self.actions.append((action, fence))
        self._changed.set()
        match action:
            case Load(memory=memory):
                return await self._loaded(memory)
            case StopLoad(memory=memory) if memory in self.held:
                self.release(memory, LoadResult(LoadState.STOPPED))
        return None

    def release(self, memory: MemoryId, result: LoadResult | None = None) -> None:
        """Ends a held load, by default as it would have ended at once."""
        held = self.held[memory]
        if not held.done():
            held.set_result(result or self._result_of(memory))

    async def _loaded(self, memory: MemoryId) -> LoadResult:
        if not self.holds_loads:
            return self._result_of(memory)
        held: asyncio.Future[LoadResult] = asyncio.get_running_loop().create_future()
        self.held[memory] = held
        try:
            return await held
        finally:
            del self.held[memory]
            self._changed.set()

    def _result_of(self, memory: MemoryId) -> LoadResult:
        return self.load_results.get(memory, LoadResult(LoadState.RESIDENT))

    async def report(self) -> EngineReport:
        self._check_up()
        if self.next_report is None:
            raise EngineRefused(self.engine, "nothing to report")
        return self.next_report

    async def models(self) -> Sequence[object]:
        self._check_up()
        if self.serves is None:
            raise EngineRefused(self.engine, "it lists no models")
        return [{"id": name, "object": "model"} for name in self.serves]

    async def abort(self, request_id: str) -> None:
        self._check_up()
        self.aborts.append(request_id)
        self._changed.set()

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, object]:
        fields = {"rid": request_id}
        if owner is not None:
            fields["owner"] = owner
        if adapter is not None and "lora_path" not in body:
            fields["lora_path"] = adapter
        return fields

    def adapter_of(self, path: str, body: Mapping[str, object]) -> AdapterName | None:
        named = body.get("lora_path")
        return AdapterName(named) if isinstance(named, str) else None

    def _check_up(self) -> None:
        if self.down is not None:
            raise EngineUnreachable(self.engine, self.down)
