"""Engines and front ends: whether they answer, what they can do, and what they were started without."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from scalesim.engine_adapters.any_engine import NEED_NO_PLUGIN
from scalesim.engine_adapters.base import Behind, EngineError
from scalesim.engine_adapters.sglang_plugin import wire

from ...app.engines import adapter_for
from ...core.model import Capabilities
from ...engines.registry import Address
from ...runtime import DEADLINE_S
from ...settings import Settings
from .finding import Finding, fault, ok, warning

_PLUGIN = "install the plugin into the engine's environment, and start the engine with --radix-cache-backend scalesim; until then the proxy serves it, without a say in its cache"
_TO_START = "start it, or give its address (--engine, or engines or fronts in the config file)"


@dataclass(frozen=True, slots=True)
class Told:
    """What an SGLang tells besides, to whoever asks; empty where it does not."""

    flags: Mapping[str, Any] = field(default_factory=dict)
    """Its settings, by SGLang's names."""
    plugin: Mapping[str, Any] = field(default_factory=dict)
    clock_s: float | None = None
    """Its clock before ours."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What was found of an address."""

    address: Address
    problem: str
    """Why it did not answer; empty if it did."""
    capabilities: Capabilities | None = None
    behind: tuple[Behind, ...] = ()
    told: Mapping[str, Told] = field(default_factory=dict)
    """By base URL, of all that are commanded."""


async def look_at(settings: Settings, address: Address) -> Looked:
    async with httpx.AsyncClient(trust_env=False) as client:
        adapter = adapter_for(address, client, settings.engine_api_key)
        try:
            async with asyncio.timeout(DEADLINE_S):
                found = await adapter.probe()
        except (EngineError, TimeoutError) as exc:
            return Looked(address, str(exc) or "not in time")
        behind = () if adapter.front is None else tuple(adapter.front.behind())
        urls = [address.base_url] if adapter.front is None else [one.base_url for one in behind if one.up]
        told = await asyncio.gather(*(_ask(client, url, settings.engine_api_key) for url in urls))
        return Looked(address, "", found, behind, dict(zip(urls, told, strict=True)))


async def _ask(client: httpx.AsyncClient, url: str, api_key: str | None) -> Told:
    headers = {} if api_key is None else {"Authorization": f"Bearer {api_key}"}
    answers = []
    for path in ("/server_info", f"{wire.PREFIX}/capabilities"):
        try:
            answer = await client.get(url + path, headers=headers, timeout=DEADLINE_S)
        except httpx.HTTPError:
            return Told()  # it answered a moment ago: it is busy, and nothing can be said of its settings
        answers.append(answer)
    flags, plugin = map(_object, answers)
    return Told(flags, plugin, _clock_of(answers[-1].headers.get("date"), time.time()))


def _object(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        value = answer.json() if answer.is_success else None
    except ValueError:
        value = None
    return value if isinstance(value, dict) else {}


def _clock_of(date: str | None, now: float) -> float | None:
    try:
        return None if date is None else parsedate_to_datetime(date).timestamp() - now
    except ValueError:
        return None


def findings(looked: Looked) -> list[Finding]:
    address, found = looked.address, looked.capabilities
    about = f"{'engine' if address.front is None else 'front end'} {address.name}"
    if found is None:
        return [
            fault(about, f"no answer at {address.base_url}: {looked.problem}", _TO_START, unreachable=True)
        ]
    listed = [ok(about, f"answers at {address.base_url}: {found.kind} {found.version}".rstrip())]
    if address.front is None:
        listed += _of_memory(about, found, looked.told.get(address.base_url, Told()))
        listed += _of_flags(about, looked.told.get(address.base_url, Told()).flags)
    else:
        listed += _of_front(about, found, looked)
    features = ", ".join(sorted(found.features)) or "none"
    listed.append(ok(about, f"can do: {features}"))
    if found.capacity_tokens is not None:
        listed.append(ok(about, f"its cache takes {found.capacity_tokens} tokens"))
    if found.adapter_slots is not None:
        held = "any number" if found.host_adapters is None else found.host_adapters
        listed.append(ok(about, f"adapters: {found.adapter_slots} slots, {held} in host memory"))
    return listed


def _of_memory(about: str, found: Capabilities, told: Told) -> list[Finding]:
    """Whether the proxy has a say in what its cache holds."""
    takes_plugin = found.kind not in NEED_NO_PLUGIN
    if found.extended:
        if not takes_plugin:
            return [ok(about, "its memory is controlled")]
        version = told.plugin.get("plugin_version")
        return [ok(about, "the plugin is active" + (f", version {version}" if version else ""))]
    reason = found.reason or "no reason given"
    if takes_plugin:
        if "API key" in reason:
            return [fault(about, reason, "set engine_api_key (SCALESIM_ENGINE_API_KEY) to the engine's key")]
        return [fault(about, f"the plugin is not active: {reason}", _PLUGIN)]
    return [
        fault(
            about,
            f"its memory is not controlled: {reason}",
            "see what it can be started with, in docs/engines.md; the proxy serves it as it is",
        )
    ]


def _of_front(about: str, found: Capabilities, looked: Looked) -> list[Finding]:
    listed = []
    for one in looked.behind:
        name = f"{about} > {one.base_url}"
        if not one.up or one.capabilities is None:
            listed.append(
                fault(
                    name,
                    f"no answer: {one.problem}",
                    "start it, or take it out of `fronts`",
                    unreachable=True,
                )
            )
            continue
        told = looked.told.get(one.base_url, Told())
        listed += _of_memory(name, one.capabilities, told)
        listed += _of_flags(name, told.flags)
    if not found.extended and not any(one.todo for one in listed):
        listed.append(
            fault(
                about,
                found.reason or "no reason given",
                "what is lacking stands here; the proxy serves it as it is",
            )
        )
    return listed


def _of_flags(about: str, flags: Mapping[str, Any]) -> list[Finding]:
    """Of SGLang's settings. What it does not tell is not judged."""
    listed = []
    if flags.get("disable_radix_cache") is True:
        listed.append(
            fault(
                about,
                "it was started without a prefix cache: nothing of an agent stays",
                "start it without --disable-radix-cache",
            )
        )
    if flags.get("enable_cache_report") is False:
        listed.append(
            warning(
                about,
                "it does not say what calls found in its cache: no hit rates, and the guard cannot judge",
                "start it with --enable-cache-report",
            )
        )
    if flags.get("enable_hierarchical_cache") is False:
        listed.append(
            warning(
                about,
                "it keeps no copies in host memory: prefixes that left are computed again",
                "start it with --enable-hierarchical-cache --hicache-write-policy write_through, if there is host memory for it",
            )
        )
    if flags.get("enable_lora") is False:
        listed.append(ok(about, "LoRA adapters are off", "if agents need any: --enable-lora"))
    return listed
