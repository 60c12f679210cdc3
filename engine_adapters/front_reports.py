"""Several engines behind one front end, seen as one. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scalesim.proxy.core.model import (
    KV_PREFIX,
    Capabilities,
    EngineReport,
    MemoryId,
    MemoryReport,
    Owner,
    Pool,
)

_EACH_BY_ITSELF = frozenset({"order", "pin", "evict", "residency", "owners", "routing_keys", "abort"})
"""And loads: what is asked of those that can, whatever the others can. All else has to hold wherever a call may go."""
_NEEDS_A_CHOICE = frozenset({"warm_up"})
"""Whoever sends such a prompt has to know which engine computes it."""


def as_one(kind: str, engines: Mapping[str, Capabilities | None], gap: str) -> Capabilities:
    """By URL, None: it does not answer. `gap`: what their front end keeps from them."""
    there = [one for one in engines.values() if one is not None]
    silent = [url for url, one in engines.items() if one is None]
    if not there:
        why = f"{', '.join(silent)}: no answer" if silent else "no engines are listed behind it"
        return Capabilities(kind, "", extended=False, reason=why)
    reasons = [gap] if gap else []
    reasons += [
        f"{url}: {one.reason}" for url, one in engines.items() if one is not None and not one.extended
    ]
    reasons += [f"{url}: no answer" for url in silent]
    some = frozenset[str]().union(*(one.features for one in there))
    every = there[0].features.intersection(*(one.features for one in there))
    by_itself = {name for name in some if name in _EACH_BY_ITSELF or name.startswith("load_")}
    versions = sorted({f"{one.kind} {one.version}" for one in there})
    return Capabilities(
        kind,
        f"in front of {len(there)} of {len(engines)} ({', '.join(versions)})",
        extended=not reasons,
        features=(every | by_itself) - _NEEDS_A_CHOICE,
        boot_id=boot_id_of({url: one.boot_id for url, one in engines.items() if one is not None}),
        capacity_tokens=sum(one.capacity_tokens or 0 for one in there) or None,
        adapter_slots=_least(one.adapter_slots for one in there) if all(_slots(there)) else None,
        host_adapters=_least(one.host_adapters for one in there),
        reason="; ".join(reasons),
    )


def boot_id_of(boot_ids: Mapping[str, str | None]) -> str:
    """Another one as soon as any of them starts anew, falls silent, or is back."""
    return " ".join(f"{url}={boot_ids[url] or '-'}" for url in sorted(boot_ids))


def reported_as_one(
    reports: Mapping[str, EngineReport], boot_id: str, homes: Mapping[Owner, str]
) -> EngineReport:
    """By URL. `homes`: where the calls of an agent go, as far as that is known: there its prefix has to be."""
    all_of_them = list(reports.values())
    return EngineReport(
        boot_id=boot_id,
        plan_in_force=all(one.plan_in_force for one in all_of_them),
        pinned_owners=frozenset[Owner]().union(*(one.pinned_owners for one in all_of_them)),
        pinned_tokens=sum(one.pinned_tokens for one in all_of_them),
        capacity_tokens=sum(one.capacity_tokens for one in all_of_them),
        pools=_pools(all_of_them),
        memories={memory: _memory(memory, reports, homes) for one in all_of_them for memory in one.memories},
        loading=frozenset[MemoryId]().union(*(one.loading for one in all_of_them)),
        running_adapters=all_of_them[0].running_adapters.union(
            *(one.running_adapters for one in all_of_them)
        ),
    )


def holder_of(memory: MemoryId, reports: Mapping[str, EngineReport], home: str | None) -> str | None:
    """Who would bring a prefix back for its next call: the engine where its agent's calls go, if that is known; else the one that
    has most of it. None: nobody has any."""
    if home is not None and home in reports:
        return home if _held(reports[home], memory) else None
    held = {url: _held(one, memory) for url, one in reports.items()}
    most = max(sorted(held), key=lambda url: held[url], default=None)
    return most if most is not None and held[most] else None


def _held(report: EngineReport, memory: MemoryId) -> int:
    one = report.memories.get(memory)
    return 0 if one is None else one.device_bytes + one.missing_bytes


def _memory(
    memory: MemoryId, reports: Mapping[str, EngineReport], homes: Mapping[Owner, str]
) -> MemoryReport:
    """What takes room takes it wherever it is; of a prefix, only what its home misses is worth a load."""
    parts = [part for one in reports.values() if (part := one.memories.get(memory)) is not None]
    device_bytes = sum(part.device_bytes for part in parts)
    if memory.kind != KV_PREFIX:
        return MemoryReport(device_bytes, sum(part.missing_bytes for part in parts))
    home = holder_of(memory, reports, homes.get(Owner(memory.key)))
    return MemoryReport(device_bytes, 0 if home is None else reports[home].memories[memory].missing_bytes)


def _pools(reports: Iterable[EngineReport]) -> tuple[Pool, ...]:
    found: dict[str, Pool] = {}
    for report in reports:
        for pool in report.pools:
            so_far = found.get(pool.name)
            found[pool.name] = (
                pool
                if so_far is None
                else Pool(
                    pool.name,
                    so_far.kinds | pool.kinds,
                    so_far.capacity_bytes + pool.capacity_bytes,
                    so_far.free_bytes + pool.free_bytes,
                )
            )
    return tuple(found.values())


def _slots(engines: Iterable[Capabilities]) -> Iterable[bool]:
    return (one.adapter_slots is not None for one in engines)


def _least(numbers: Iterable[int | None]) -> int | None:
    return min((number for number in numbers if number is not None), default=None)
