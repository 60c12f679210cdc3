"""An `EngineAdapter` without an engine: it keeps what it was asked, and fails where a test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from scalesim.engine_adapters.base import EngineRefused, EngineUnreachable, Fence
from scalesim.proxy.core.actions import Action
from scalesim.proxy.core.model import Capabilities, EngineId, EngineReport, Owner

EXTENDED = Capabilities(
    kind="fake",
    version="1",
    extended=True,
    features=frozenset({"order", "pin", "evict", "residency", "owners", "abort"}),
    boot_id="boot-1",
    capacity_tokens=1000,
)


class FakeAdapter:
    """Its attributes are the test's levers: set `down`, `refuses`, `capabilities`, `next_report`, `base_url` at any time.

    `additions` puts the owner under `owner` and the request's id under `rid`, on every path.
    """

    def __init__(self, base_url: str = "http://127.0.0.1:1", *, engine: str = "fake") -> None:
        self.engine = EngineId(engine)
        self.base_url = base_url
        self.capabilities = EXTENDED
        self.next_report: EngineReport | None = None
        self.down: str | None = None
        """Why every control call ends in `EngineUnreachable`; None while the engine is up."""
        self.refuses: frozenset[type[Action]] = frozenset()
        self.probes = 0
        self.actions: list[tuple[Action, Fence]] = []
        """What was carried out; refused and lost actions are not in it."""
        self.aborts: list[str] = []
        self._changed = asyncio.Event()

    async def until(self, condition: Callable[[FakeAdapter], bool], timeout_s: float = 2.0) -> None:
        """Waits until something that was recorded makes `condition` true. Raises `TimeoutError`."""
        async with asyncio.timeout(timeout_s):
            while not condition(self):
                self._changed.clear()
                await self._changed.wait()

    async def probe(self) -> Capabilities:
        self.probes += 1
        self._changed.set()
        self._check_up()
        return self.capabilities

    async def carry_out(self, action: Action, fence: Fence) -> None:
        self._check_up()
        if type(action) in self.refuses:
            raise EngineRefused(self.engine, f"{type(action).__name__} is not done here")
        self.actions.append((action, fence))
        self._changed.set()

    async def report(self) -> EngineReport:
        self._check_up()
        if self.next_report is None:
            raise EngineRefused(self.engine, "nothing to report")
        return self.next_report

    async def abort(self, request_id: str) -> None:
        self._check_up()
        self.aborts.append(request_id)
        self._changed.set()

    def additions(
        self, path: str, body: Mapping[str, object], owner: Owner | None, request_id: str
    ) -> Mapping[str, str]:
        fields = {"rid": request_id}
        if owner is not None:
            fields["owner"] = owner
        return fields

    def _check_up(self) -> None:
        if self.down is not None:
            raise EngineUnreachable(self.engine, self.down)
