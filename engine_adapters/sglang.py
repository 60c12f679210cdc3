"""SGLang, with our plugin or without: actions become control calls. A stock engine can abort, warm up, and be given
adapters."""

from __future__ import annotations

import heapq
import math
import posixpath
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import httpx

from scalesim.proxy.core.actions import (
    Action,
    DropAdapter,
    Evict,
    FetchAdapter,
    Load,
    Order,
    Pin,
    Renew,
    StopLoad,
    Unpin,
)
from scalesim.proxy.core.model import (
    AdapterName,
    Capabilities,
    EngineReport,
    LoadResult,
    LoadState,
    Owner,
)

from . import sglang_requests
from .base import (
    ADAPTER_S,
    LOAD_GRACE_S,
    AdapterNameTaken,
    EngineRefused,
    Fence,
    FenceLost,
)
from .control_calls import ControlCalls, json_object, locked_out, told, unknown
from .sglang_answers import load_result_of, mapping, of_plugin, of_stock, report_of
from .sglang_plugin import wire
from .sglang_requests import can_be_told


class SGLangAdapter:
    """One engine. What it can do is learned by `probe`; before the first one nothing is refused unasked."""

    def __init__(self, calls: ControlCalls) -> None:
        self.front = None
        self.engine, self.base_url = calls.engine, calls.base_url
        self._calls = calls
        self._known: Capabilities | None = None
        self._served_model: str | None = None

    # --- what it is ------------------------------------------------------------------------------------------------

    async def probe(self) -> Capabilities:
        """An engine that answers is never unreachable: what it lacks is in the capabilities, with the reason."""
        response = await self._calls.send("GET", f"{wire.PREFIX}/capabilities")
        answer = json_object(response) if response.status_code == 200 else {}
        if (locked := locked_out(response)) is not None:
            known = locked
        elif "protocol" in answer:
            known = of_plugin(answer)
            if not known.extended:
                # What the engine can do without the plugin is not the plugin's to say.
                stock = of_stock(await self._read_first("/server_info", "/get_server_info"))
                told = known.capacity_tokens
                known = replace(
                    known,
                    features=stock.features,
                    capacity_tokens=stock.capacity_tokens if told is None else told,
                    adapter_slots=stock.adapter_slots,
                    host_adapters=stock.host_adapters,
                )
        else:
            known = await self._probe_stock()
        if _has_adapters(known):
            model = await self._read_first("/model_info", "/get_model_info")
            served = model.get("served_model_name")
            self._served_model = served if isinstance(served, str) else None
        self._known = known
        return known

    async def _probe_stock(self) -> Capabilities:
        info = await self._read_first("/server_info", "/get_server_info")
        if "vllm_config" in info or (
            not info and not await self._read_first("/model_info", "/get_model_info")
        ):
            return unknown("it answers HTTP, but neither as SGLang nor as an engine with ScaleSim's plugin")
        return of_stock(info)

    async def _read_first(self, *paths: str) -> dict[str, Any]:
        """The answer of the first path that has one: names change between releases."""
        for path in paths:
            response = await self._calls.send("GET", path)
            if response.status_code == 200 and (answer := json_object(response)):
                return answer
        return {}

    # --- what it does ----------------------------------------------------------------------------------------------

    async def carry_out(self, action: Action, fence: Fence) -> LoadResult | None:
        match action:
            case Order():
                self._needs("order")
                await self._command("plan", fence, _plan(action))
            case Renew():
                self._needs("order", "pin")
                await self._command("renew", fence, {})
            case Pin(owners=owners):
                self._needs("pin")
                await self._command_in_parts("pin", fence, owners)
            case Unpin(owners=owners):
                self._needs("pin")
                await self._command_in_parts("unpin", fence, owners)
            case Evict(owners=owners):
                self._needs("evict")
                await self._command_in_parts("evict", fence, owners)
            case Load():
                return await self._load(action, fence)
            case StopLoad(memory=memory):
                self._needs(f"load_{memory.kind}")
                if can_be_told(memory.key):
                    await self._command("stop", fence, {"kind": memory.kind, "key": memory.key})
            case FetchAdapter():
                self._needs("fetch_adapters")
                await self._fetch(action)
            case DropAdapter(adapter=adapter):
                self._needs("fetch_adapters")
                await self._drop(adapter)
        return None

    async def _load(self, action: Load, fence: Fence) -> LoadResult:
        kind, key = action.memory
        self._needs(f"load_{kind}")
        if not can_be_told(key):
            return LoadResult(LoadState.ABSENT)
        within_s = min(action.within_s, wire.MAX_WITHIN_S)
        payload = {
            "kind": kind,
            "key": key,
            "distance": min(action.distance, sys.float_info.max),
            "within_s": within_s,
        }
        answer = await self._command("load", fence, payload, deadline_s=within_s + LOAD_GRACE_S)
        try:
            return load_result_of(answer)
        except (KeyError, ValueError) as exc:
            raise EngineRefused(
                self.engine, f"its answer to load is not of protocol {wire.PROTOCOL}: {exc!r}"
            ) from exc

    async def _fetch(self, action: FetchAdapter) -> None:
        """What is loaded already from this path counts as done."""
        name, path = action.adapter, action.path
        refusal = await self._change_adapters("load", {"lora_name": name, "lora_path": path})
        if refusal is not None and _NOT_UNLOADED in _why(refusal):
            await self._drop(name)
            refusal = await self._change_adapters("load", {"lora_name": name, "lora_path": path})
        if refusal is None:
            return
        if any(mark in _why(refusal) for mark in _THERE_ALREADY):
            loaded = mapping(json_object(refusal).get("loaded_adapters")).get(name)
            if not isinstance(loaded, str) or posixpath.normpath(loaded) == posixpath.normpath(path):
                return
            raise AdapterNameTaken(
                self.engine, f"the adapter {name!r} is loaded from {loaded!r} already, not from {path!r}"
            )
        raise EngineRefused(self.engine, f"{_why(refusal):.300}")

    async def _drop(self, adapter: AdapterName) -> None:
        """What is not loaded counts as done. The engine waits until no request uses it."""
        refusal = await self._change_adapters("unload", {"lora_name": adapter})
        if refusal is not None and _UNKNOWN not in _why(refusal):
            raise EngineRefused(self.engine, f"{_why(refusal):.300}")

    async def _change_adapters(self, verb: str, body: Mapping[str, object]) -> httpx.Response | None:
        """None, or the answer of an engine that will not. These routes are SGLang's own, without a fence."""
        response = await self._calls.send("POST", f"/{verb}_lora_adapter", body, ADAPTER_S)
        return response if response.status_code >= 400 else None

    async def report(self) -> EngineReport:
        self._needs("residency")
        answer = await self._call("GET", f"{wire.PREFIX}/stats")
        try:
            return report_of(answer)
        except (KeyError, TypeError, ValueError) as exc:
            raise EngineRefused(
                self.engine, f"its stats are not of protocol {wire.PROTOCOL}: {exc!r}"
            ) from exc

    async def models(self) -> Sequence[object]:
        return await self._calls.models()

    async def abort(self, request_id: str) -> None:
        self._needs("abort")
        self._check(await self._calls.send("POST", "/abort_request", {"rid": request_id}))

    def additions(
        self,
        path: str,
        body: Mapping[str, object],
        owner: Owner | None,
        request_id: str,
        adapter: AdapterName | None = None,
    ) -> Mapping[str, str]:
        return sglang_requests.additions(path, body, owner, request_id, adapter, self._served_model)

    def adapter_of(self, path: str, body: Mapping[str, object]) -> AdapterName | None:
        if self._known is None or not _has_adapters(self._known):
            return None
        return sglang_requests.adapter_of(path, body, self._served_model)

    # --- calls -----------------------------------------------------------------------------------------------------

    def _needs(self, *any_of: str) -> None:
        if self._known is not None and self._known.features.isdisjoint(any_of):
            lacking = " or ".join(any_of)
            raise EngineRefused(
                self.engine, f"it cannot {lacking}: {self._known.reason or 'not in its features'}"
            )

    async def _command_in_parts(self, name: str, fence: Fence, owners: Sequence[Owner]) -> None:
        for part in _parts([owner for owner in owners if can_be_told(owner)]):
            await self._command(name, fence, {"owners": part})

    async def _command(
        self, name: str, fence: Fence, payload: Mapping[str, object], deadline_s: float | None = None
    ) -> dict[str, Any]:
        body = {"fence": [fence.token, fence.sequence], **payload}
        return await self._call("POST", f"{wire.PREFIX}/{name}", body, deadline_s)

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, object] | None = None,
        deadline_s: float | None = None,
    ) -> dict[str, Any]:
        response = await self._calls.send(method, path, body, deadline_s)
        self._check(response)
        return json_object(response)

    def _check(self, response: httpx.Response) -> None:
        if response.status_code == 409:
            raise FenceLost(self.engine, told(response), _token_in(response))
        if response.status_code >= 400:
            raise EngineRefused(self.engine, f"{response.request.url.path}: {told(response)}")


_NOT_UNLOADED = "has an incomplete unload"
_THERE_ALREADY = ("is already loaded", "already exists")
_UNKNOWN = "does not exist"
"""What SGLang says of an adapter; it has no other way to tell these refusals apart."""


def _has_adapters(known: Capabilities) -> bool:
    return not known.features.isdisjoint({"adapters", "fetch_adapters"})


def _plan(order: Order) -> dict[str, object]:
    """The body of a plan, of as many names as the protocol takes. What is not in force is left out."""
    optional: dict[str, object] = {
        "adapters": _nearest(order.adapters),
        "pinned_adapters": _as_many_as_fit(order.pinned_adapters),
        "no_host_copy": _as_many_as_fit(order.no_host_copy),
        "ready_first": order.ready_first,
        "by_recency": order.by_recency,
    }
    return {
        "owners": _nearest(order.distances),
        **{name: value for name, value in optional.items() if value},
    }


def _nearest(distances: Sequence[tuple[str, float]]) -> dict[str, float]:
    """What a plan may hold: names that are not in it count as farther than all that are."""
    expected = [(name, far) for name, far in distances if far < math.inf and can_be_told(name)]
    return dict(heapq.nsmallest(wire.MAX_OWNERS, expected, key=lambda pair: pair[1]))


def _as_many_as_fit(names: Sequence[str]) -> list[str]:
    return [name for name in names if can_be_told(name)][: wire.MAX_OWNERS]


def _parts(owners: Sequence[Owner]) -> Iterator[Sequence[Owner]]:
    """Pins and evictions add up, so a long list may go in several calls of the same fence."""
    return (owners[at : at + wire.MAX_OWNERS] for at in range(0, len(owners), wire.MAX_OWNERS))


def _token_in(response: httpx.Response) -> int | None:
    token = mapping(json_object(response).get("error")).get("token")
    return token if isinstance(token, int) else None


def _why(response: httpx.Response) -> str:
    """In the words of SGLang's routes for adapters."""
    return str(json_object(response).get("error_message") or told(response))
