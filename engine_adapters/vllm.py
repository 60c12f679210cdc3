"""vLLM: adapters come and go at run time, and a call that nobody waits for ends with its connection.

It has neither an order nor pins, and tells nobody what its cache holds: that is taken to be what was used last. Wants
`VLLM_ALLOW_RUNTIME_LORA_UPDATING=1` for adapters; loading one puts it into a slot as well, which is the prefetch.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping, Sequence

from scalesim.proxy.core.actions import Action, DropAdapter, FetchAdapter
from scalesim.proxy.core.model import AdapterName, Capabilities, EngineReport, LoadResult, Owner

from .base import ADAPTER_S, AdapterNameTaken, EngineRefused, Fence
from .control_calls import ControlCalls, json_object, locked_out, told, unknown

NAME = "vllm"
REASON = "vLLM has no order of its prefix cache that could be set, so its cache evicts by recency alone"
_PATHS = frozenset({"/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"})
"""Whose `model` may be an adapter."""


class VLLMAdapter:
    """One engine. What it can do is learned by `probe`; before the first one every action is refused."""

    def __init__(self, calls: ControlCalls) -> None:
        self.front = None
        self.engine, self.base_url = calls.engine, calls.base_url
        self._calls = calls
        self._features: frozenset[str] = frozenset()
        self._adapters: dict[AdapterName, str] = {}
        """Its paths, by the names of those that are loaded. As many as the engine has."""
        self._bases: frozenset[object] = frozenset()
        """Names of its model."""

    async def probe(self) -> Capabilities:
        response = await self._calls.send("GET", "/version")
        version = json_object(response).get("version")
        if (locked := locked_out(response)) is not None:
            return locked
        if not isinstance(version, str):
            return unknown("it does not answer as vLLM")
        metrics = (await self._calls.send("GET", "/metrics")).text
        if "vllm:" not in metrics:
            return unknown("it has a version, but not vLLM's metrics")
        self._features = frozenset({"fetch_adapters"} if await self._takes_adapters() else ())
        if self._features:
            await self.models()
        return Capabilities(
            kind=NAME,
            version=version,
            extended=False,
            features=self._features,
            boot_id=_boot_id(metrics),
            capacity_tokens=_capacity(metrics),
            reason=REASON,
        )

    async def _takes_adapters(self) -> bool:
        """The route is there only where it was switched on; without a name it does nothing."""
        response = await self._calls.send(
            "POST", "/v1/load_lora_adapter", {"lora_name": "", "lora_path": ""}, fails=False
        )
        return response.status_code not in (401, 403, 404, 405)

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        match action:
            case FetchAdapter(adapter=adapter, path=path) if "fetch_adapters" in self._features:
                await self._fetch(adapter, path)
            case DropAdapter(adapter=adapter) if "fetch_adapters" in self._features:
                await self._drop(adapter)
            case _:
                raise EngineRefused(self.engine, f"it cannot {type(action).__name__.lower()}: {REASON}")
        return None

    async def _fetch(self, adapter: AdapterName, path: str) -> None:
        """What is loaded already from this path counts as done."""
        await self.models()
        there = self._adapters.get(adapter)
        if there is not None and posixpath.normpath(there) != posixpath.normpath(path):
            raise AdapterNameTaken(
                self.engine, f"the adapter {adapter!r} is loaded from {there!r} already, not from {path!r}"
            )
        if there is None:
            await self._change("load", {"lora_name": adapter, "lora_path": path})
            self._adapters[adapter] = path

    async def _drop(self, adapter: AdapterName) -> None:
        """What is not loaded counts as done. Its slot is free once another adapter needs it."""
        await self.models()
        if adapter in self._adapters:
            await self._change("unload", {"lora_name": adapter})
            del self._adapters[adapter]

    async def _change(self, verb: str, body: Mapping[str, object]) -> None:
        response = await self._calls.send("POST", f"/v1/{verb}_lora_adapter", body, ADAPTER_S, fails=False)
        if response.status_code >= 400:
            raise EngineRefused(self.engine, told(response))

    async def report(self) -> EngineReport:
        raise EngineRefused(self.engine, "it does not tell what its cache holds")

    async def models(self) -> Sequence[object]:
        """An adapter is a card with a parent."""
        cards = await self._calls.models()
        named = [card for card in cards if isinstance(card, dict) and "id" in card]
        self._bases = frozenset(str(card["id"]) for card in named if not card.get("parent"))
        self._adapters = {
            AdapterName(str(card["id"])): str(card.get("root")) for card in named if card.get("parent")
        }
        return cards

    async def abort(self, request_id: str) -> None:
        """Nothing to do: it ends a request by itself when the connection is closed, streamed or not."""

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, object]:
        """An adapter is asked for by its name alone, in place of the model's: `BASE:NAME` is put so, too. One that is assigned and
        not there is asked for all the same: the model by itself would answer something else."""
        if path not in _PATHS:
            return {}
        model, named = body.get("model"), self._named(body)
        if named is None and (model in self._bases or ":" not in str(model)):
            named = adapter
        return {} if named is None or named == model else {"model": named}

    def adapter_of(self, path: str, body: Mapping[str, object]) -> AdapterName | None:
        return self._named(body) if path in _PATHS else None

    def _named(self, body: Mapping[str, object]) -> AdapterName | None:
        model = body.get("model")
        if not isinstance(model, str):
            return None
        name = next((one for one in (model, model.rpartition(":")[2]) if one in self._adapters), None)
        return None if name is None else AdapterName(name)


def _label(metrics: str, metric: str, label: str) -> str | None:
    """Of Prometheus text, from the first line of that metric."""
    found = re.search(rf'^{re.escape(metric)}\{{[^}}\n]*\b{label}="([^"]*)"', metrics, re.MULTILINE)
    return None if found is None else found[1]


def _capacity(metrics: str) -> int | None:
    sizes = [_label(metrics, "vllm:cache_config_info", name) for name in ("num_gpu_blocks", "block_size")]
    blocks, tokens = (int(size) if size is not None and size.isdigit() else 0 for size in sizes)
    return blocks * tokens or None


def _boot_id(metrics: str) -> str | None:
    """It has no id of its start, but the second at which its process began."""
    found = re.search(r"^process_start_time_seconds (\S+)$", metrics, re.MULTILINE)
    return None if found is None else hashlib.sha256(found[1].encode()).hexdigest()[:16]
