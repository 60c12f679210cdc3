"""What SGLang and its plugin answer, as words of the domain. Pure; what cannot be meant raises `ValueError`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from scalesim.proxy.core.model import (
    AdapterName,
    Capabilities,
    EngineReport,
    LoadResult,
    LoadState,
    MemoryId,
    MemoryReport,
    Owner,
    Pool,
)

from .sglang_plugin import wire

STOCK_FEATURES = frozenset({"abort", "warm_up"})


def of_plugin(answer: Mapping[str, Any]) -> Capabilities:
    """Where the plugin stays out it is not extended, and the features are those of a stock engine without LoRA."""
    cache, engine = mapping(answer.get("cache")), mapping(answer.get("engine"))
    protocol = answer["protocol"]
    reason = ""
    if protocol != wire.PROTOCOL:
        reason = f"its plugin speaks protocol {protocol!r:.32}, this proxy {wire.PROTOCOL}"
    elif cache.get("active") is not True:
        reason = str(cache.get("reason") or "its plugin is not active, and does not say why")
    features = answer.get("features")
    told = frozenset(map(str, features)) if isinstance(features, list) else frozenset()
    return Capabilities(
        kind=str(engine.get("name") or "sglang"),
        version=str(engine.get("version") or "unknown"),
        extended=not reason,
        features=told if not reason else STOCK_FEATURES,
        boot_id=str(answer["boot_id"]) if answer.get("boot_id") else None,
        capacity_tokens=whole(answer.get("capacity_tokens")),
        adapter_slots=whole(answer.get("adapter_slots")),
        host_adapters=whole(answer.get("host_adapters")),
        reason=reason,
    )


def of_stock(info: Mapping[str, Any]) -> Capabilities:
    """`info` is the answer of `/server_info`."""
    lora = info.get("enable_lora") is True
    return Capabilities(
        kind="sglang",
        version=str(info.get("version") or "unknown"),
        extended=False,
        features=STOCK_FEATURES | {"fetch_adapters"} if lora else STOCK_FEATURES,
        boot_id=_stock_boot_id(info),
        capacity_tokens=whole(info.get("max_total_num_tokens")),
        adapter_slots=whole(info.get("max_loras_per_batch")) if lora else None,
        host_adapters=whole(info.get("max_loaded_loras")) if lora else None,
        reason="it is an SGLang without ScaleSim's plugin, so its cache evicts by recency alone",
    )


def report_of(answer: Mapping[str, Any]) -> EngineReport:
    """Raises `ValueError` and, for what is missing, `KeyError`. An engine need not tell of memories, but not nonsense."""
    memories = {
        MemoryId(kind, name): MemoryReport(*_pair_of_sizes(sizes))
        for kind, of_kind in _object(answer.get("memories", {}), "memories").items()
        for name, sizes in _object(of_kind, f"memories of {kind!r:.64}").items()
    }
    return EngineReport(
        boot_id=str(answer["boot_id"]),
        plan_in_force=bool(answer["plan_in_force"]),
        pinned_owners=frozenset(Owner(name) for name in _names(answer["pins"], "pins")),
        pinned_tokens=_size(answer["pinned_tokens"]),
        capacity_tokens=_size(answer["capacity_tokens"]),
        pools=tuple(_pool(one) for one in _list(answer.get("pools", []), "pools")),
        memories=memories,
        loading=frozenset(_memory(one) for one in _list(answer.get("loading", []), "loading")),
        running_adapters=frozenset(
            AdapterName(name) for name in _names(answer.get("running_adapters", []), "running_adapters")
        ),
    )


def load_result_of(answer: Mapping[str, Any]) -> LoadResult:
    """Raises `ValueError` and `KeyError`."""
    return LoadResult(LoadState(answer["state"]), _size(answer.get("moved_bytes", 0)))


def mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def whole(value: object) -> int | None:
    """None as well for what no engine can have so many of, which would not fit into a float further on."""
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= wire.MAX_INTEGER:
        return None
    return value


def _stock_boot_id(info: Mapping[str, Any]) -> str | None:
    """A stock SGLang has no id of its start, but a seed drawn at each start (unless given as a flag) and the seconds
    that its start-up phases took; together they do not come twice. None if it tells neither."""
    told = [info.get("random_seed"), info.get("startup_time")]
    if told == [None, None]:
        return None
    return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]


def _pool(value: object) -> Pool:
    pool = _object(value, "a pool")
    capacity_bytes, free_bytes = _size(pool["capacity_bytes"]), _size(pool["free_bytes"])
    if free_bytes > capacity_bytes:
        raise ValueError(f"a pool of {capacity_bytes} bytes has {free_bytes} free")
    kinds = frozenset(_names(pool["kinds"], "the kinds of a pool"))
    return Pool(_name(pool["name"], "the name of a pool"), kinds, capacity_bytes, free_bytes)


def _memory(value: object) -> MemoryId:
    names = _names(value, "a memory")
    if len(names) != 2:
        raise ValueError(f"{value!r:.64} is not [kind, key]")
    return MemoryId(*names)


def _pair_of_sizes(value: object) -> tuple[int, int]:
    sizes = _list(value, "the sizes of a memory")
    if len(sizes) != 2:
        raise ValueError(f"{value!r:.64} is not [device_bytes, missing_bytes]")
    return _size(sizes[0]), _size(sizes[1])


def _size(value: object) -> int:
    if (number := whole(value)) is None:
        raise ValueError(f"{value!r:.64} is no number of tokens or bytes")
    return number


def _object(value: object, what: str) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"{what}: {value!r:.64} is no object")
    return value


def _list(value: object, what: str) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{what}: {value!r:.64} is no list")
    return value


def _names(value: object, what: str) -> list[str]:
    return [_name(one, what) for one in _list(value, what)]


def _name(value: object, what: str) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{what}: {value!r:.64} is no name")
    return value
