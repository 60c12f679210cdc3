"""What a measurement asks of an engine besides answers: to forget, how it tokenizes, what it is, how its time went."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from .program import Message

STEP_SECONDS = re.compile(r'^scalesim:step_seconds_total\{[^}]*kind="(\w+)"[^}]*\}\s+(\S+)', re.MULTILINE)
ADAPTER_LOOKUPS = re.compile(
    r'^scalesim:adapter_lookups_total\{[^}]*result="(\w+)"[^}]*\}\s+(\S+)', re.MULTILINE
)
LoadCounters = Mapping[str, Mapping[str, float]]
"""By kind of memory: issued, used, late, missed and others, as the plugin names them."""


def http_client(
    base_url: str, headers: Mapping[str, str] | None = None, *, timeout_s: float = 60.0
) -> httpx.AsyncClient:
    """For control and questions. It ignores web proxies of the environment, and loads certificates only if it needs them."""
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        trust_env=False,
        timeout=timeout_s,
        verify=base_url.startswith("https:"),
    )


@dataclass(frozen=True, slots=True)
class Counters:
    """What an engine has counted since it started."""

    step_seconds: Mapping[str, float] | None = None
    """By kind of step. None where it does not count."""
    adapter_lookups: Mapping[str, float] = field(default_factory=dict)
    """By what a call found: hit, loading or miss. Empty without adapters."""
    loads: LoadCounters = field(default_factory=dict)
    """Empty where nothing is loaded ahead."""

    def since(self, before: Counters) -> Counters:
        """What was counted in between. What was not yet counted before counts from 0."""
        if self.step_seconds is None and before.step_seconds is None:
            seconds = None
        else:
            seconds = _difference(self.step_seconds or {}, before.step_seconds or {})
        loads = {kind: _difference(counts, before.loads.get(kind, {})) for kind, counts in self.loads.items()}
        return Counters(seconds, _difference(self.adapter_lookups, before.adapter_lookups), loads)


def _difference(after: Mapping[str, float], before: Mapping[str, float]) -> dict[str, float]:
    return {name: value - before.get(name, 0.0) for name, value in after.items()}


@dataclass(frozen=True, slots=True)
class Facts:
    """What an SGLang says of itself."""

    version: str
    capacity_tokens: int
    host_tokens: int | None
    """Of prefixes; 0 without a host tier, None where it has one and does not say how many fit."""
    slots: int
    """Of adapters; 0 without."""
    chunk_tokens: int
    """Of prompts, in one step."""
    max_running: int
    block_tokens: int


class EngineUnfit(Exception):
    """The engine cannot be measured like this; the message says what it does not do."""


class Engine:
    def __init__(self, http: httpx.AsyncClient) -> None:
        self.url = str(http.base_url).rstrip("/")
        self._http = http

    async def forget_everything(self) -> None:
        """Empties the prefix cache. Calls that have just ended may still be on their way out: waits for them."""
        await self._ask("POST", "/flush_cache", params={"timeout": 30})

    async def model(self) -> str:
        response = await self._ask("GET", "/v1/models")
        try:
            return str(response.json()["data"][0]["id"])
        except (ValueError, KeyError, IndexError, TypeError) as exc:
            raise EngineUnfit(f"{self.url}/v1/models names no model") from exc

    async def capacity_tokens(self) -> int:
        response = await self._ask("GET", "/server_info")
        try:
            return int(response.json()["max_total_num_tokens"])
        except (ValueError, KeyError, TypeError) as exc:
            raise EngineUnfit(f"{self.url}/server_info does not say how many tokens fit") from exc

    async def must_take_plans(self) -> None:
        """Raises `EngineUnfit` for an engine whose plugin stayed out: it would be measured as if it were extended."""
        capabilities = (await self._ask("GET", "/scalesim/v1/capabilities")).json()
        if not capabilities["cache"]["active"]:
            raise EngineUnfit(f"{self.url} takes no plans: {capabilities['cache']['reason']}")

    async def must_report_its_cache(self) -> None:
        """Raises `EngineUnfit` where cached tokens would be missing from answers, which looks like a cache that never hits."""
        told = (await self._ask("GET", "/server_info")).json()
        if told.get("enable_cache_report") is False:
            raise EngineUnfit(f"{self.url} was started without --enable-cache-report")

    async def facts(self) -> Facts | None:
        """None where it does not say, as no engine but SGLang does."""
        try:
            told = (await self._ask("GET", "/server_info")).json()
            state = (told.get("internal_states") or [{}])[0]
            capacity = int(told["max_total_num_tokens"])
            most_prefill = int(told.get("max_prefill_tokens") or capacity)
            chunk = int(told.get("chunked_prefill_size") or 0)
            return Facts(
                version=str(told.get("version", "unknown")),
                capacity_tokens=capacity,
                host_tokens=_host_tokens(told, state, capacity)
                if told.get("enable_hierarchical_cache")
                else 0,
                slots=int(told.get("max_loras_per_batch") or 0) if told.get("enable_lora") else 0,
                chunk_tokens=min(chunk, most_prefill) if chunk > 0 else most_prefill,
                max_running=int(
                    told.get("max_running_requests")
                    or state.get("effective_max_running_requests_per_dp")
                    or 0
                ),
                block_tokens=max(1, int(told.get("page_size") or 1)),
            )
        except (EngineUnfit, ValueError, KeyError, TypeError, AttributeError):
            return None

    async def adapters(self) -> list[str]:
        """Those it has loaded, by name."""
        models = (await self._ask("GET", "/v1/models")).json().get("data", [])
        return [str(model["id"]) for model in models if model.get("parent") is not None]

    async def count_tokens(self, text: str) -> int:
        return len(await self._tokens({"prompt": text}))

    async def prompt_ids(self, messages: Sequence[Message]) -> list[int]:
        """A chat as the model sees it."""
        return await self._tokens({"messages": list(messages)})

    async def load_adapters(self, paths: Mapping[str, str]) -> None:
        """From disk into its host memory, but for those it has. Raises `EngineUnfit`."""
        if not paths:
            return
        models = (await self._ask("GET", "/v1/models")).json()["data"]
        there = {str(model["id"]) for model in models if model.get("parent") is not None}
        for name, path in paths.items():
            if name not in there:
                await self._ask("POST", "/load_lora_adapter", json={"lora_name": name, "lora_path": path})

    async def counters(self, *, loads: bool = False) -> Counters:
        """`loads`: also those ahead of calls, which only an engine with the plugin counts.

        Raises `EngineUnfit` where it should count these and does not.
        """
        counted = await self._loads() if loads else {}
        try:
            text = (await self._ask("GET", "/metrics")).text
        except EngineUnfit:
            return Counters(loads=counted)
        return Counters(_by_label(STEP_SECONDS, text) or None, _by_label(ADAPTER_LOOKUPS, text), counted)

    async def _loads(self) -> LoadCounters:
        response = await self._ask("GET", "/scalesim/v1/stats")
        try:
            loads = response.json()["loads"]
            return {
                str(kind): {str(name): float(count) for name, count in counts.items()}
                for kind, counts in loads.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError) as exc:
            raise EngineUnfit(f"{self.url}/scalesim/v1/stats does not count loads") from exc

    async def _tokens(self, body: dict[str, object]) -> list[int]:
        response = await self._ask("POST", "/v1/tokenize", json=body)
        try:
            return [int(token) for token in response.json()["tokens"]]
        except (ValueError, KeyError, TypeError) as exc:
            raise EngineUnfit(f"{self.url}/v1/tokenize gives no tokens") from exc

    async def _ask(
        self, method: str, path: str, *, params: dict[str, int] | None = None, json: object = None
    ) -> httpx.Response:
        try:
            response = await self._http.request(method, path, params=params, json=json)
        except httpx.HTTPError as exc:
            raise EngineUnfit(f"{method} {self.url}{path}: {exc!r}") from exc
        if response.is_error:
            raise EngineUnfit(f"{method} {self.url}{path}: {response.status_code} {response.text[:500]}")
        return response


def _host_tokens(told: Mapping[str, Any], state: Mapping[str, Any], capacity_tokens: int) -> int | None:
    """SGLang takes a size in GB (of 1e9 bytes, for each of its processes) before a ratio. What a token takes follows from its
    cache on the device, which it tells in GiB."""
    size_bytes = float(told.get("hicache_size") or 0) * 1e9
    if size_bytes <= 0:
        return int(capacity_tokens * float(told.get("hicache_ratio") or 0))
    device_bytes = float((state.get("memory_usage") or {}).get("kvcache") or 0) * 2**30
    return int(size_bytes * capacity_tokens / device_bytes) if device_bytes > 0 else None


def _by_label(pattern: re.Pattern[str], metrics: str) -> dict[str, float]:
    """Summed over an engine's processes."""
    found: dict[str, float] = {}
    for label, value in pattern.findall(metrics):
        found[label] = found.get(label, 0.0) + float(value)
    return found
