"""An engine of whichever kind answers at its address: nobody has to say which."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import httpx

from scalesim.proxy.core.actions import Action
from scalesim.proxy.core.model import AdapterName, Capabilities, EngineId, EngineReport, LoadResult, Owner

from . import llama_cpp, vllm
from .base import EngineAdapter, Fence
from .llama_cpp import LlamaCppAdapter
from .sglang import SGLangAdapter
from .vllm import VLLMAdapter

KINDS: tuple[Callable[..., EngineAdapter], ...] = (SGLangAdapter, LlamaCppAdapter, VLLMAdapter)
"""Each probes what is not its own as of kind `unknown`. The first is what an engine is taken for until it answers."""
NEED_NO_PLUGIN = frozenset({llama_cpp.NAME, vllm.NAME})
"""Kinds that are what they are as they come."""


class AnyEngine:
    """Speaks as the adapter of the kind that answered the last probe; arguments as of `SGLangAdapter`."""

    def __init__(
        self,
        engine: EngineId,
        base_url: str,
        client: httpx.AsyncClient,
        *,
        api_key: str | None = None,
        deadline_s: float = 5.0,
    ) -> None:
        self.front = None
        self._kinds = [
            kind(engine, base_url, client, api_key=api_key, deadline_s=deadline_s) for kind in KINDS
        ]
        self._now = self._kinds[0]

    @property
    def engine(self) -> EngineId:
        return self._now.engine

    @property
    def base_url(self) -> str:
        return self._now.base_url

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
