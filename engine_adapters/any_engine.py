"""An engine of whichever kind answers at its address: nobody has to say which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from scalesim.proxy.core.actions import Action
from scalesim.proxy.core.model import AdapterName, Capabilities, EngineReport, LoadResult, Owner

from . import llama_cpp, vllm
from .base import EngineAdapter, Fence
from .control_calls import ControlCalls
from .llama_cpp import LlamaCppAdapter
from .sglang import SGLangAdapter
from .vllm import VLLMAdapter

KINDS: tuple[Callable[[ControlCalls], EngineAdapter], ...] = (SGLangAdapter, LlamaCppAdapter, VLLMAdapter)
"""Each probes what is not its own as of kind `unknown`. The first is what an engine is taken for until it answers."""
NEED_NO_PLUGIN = frozenset({llama_cpp.NAME, vllm.NAME})
"""Kinds that are what they are as they come."""


class AnyEngine:
    """Speaks as the adapter of the kind that answered the last probe."""

    def __init__(self, calls: ControlCalls) -> None:
        self.front = None
        self.engine, self.base_url = calls.engine, calls.base_url
        self._kinds = [kind(calls) for kind in KINDS]
        self._now = self._kinds[0]

    async def probe(self) -> Capabilities:
        """What it was before is asked first, so that an engine that stays what it is gets no other kind's questions."""
        first = await self._now.probe()
        if first.kind != "unknown":
            return first
        for other in self._kinds:
            if other is not self._now and (found := await other.probe()).kind != "unknown":
                self._now = other
                return found
        return first

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        return await self._now.carry_out(action, fence)

    async def report(self) -> EngineReport:
        return await self._now.report()

    async def models(self) -> Sequence[object]:
        return await self._now.models()

    async def abort(self, request_id: str) -> None:
        await self._now.abort(request_id)

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, object]:
        return self._now.additions(path, body, owner, request_id, adapter)

    def adapter_of(self, path: str, body: Mapping[str, object]) -> AdapterName | None:
        return self._now.adapter_of(path, body)
