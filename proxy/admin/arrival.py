"""Waits for adapters to come to engines, so that calls work as soon as an operator was answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from scalesim.proxy.core.actions import DropAdapter, FetchAdapter
from scalesim.proxy.core.model import EngineId
from scalesim.proxy.core.snapshot import AdapterSnapshot

from .desk import Desk
from .problems import some

WAIT_S = 10.0
"""At most. A disk may be slower; the fetch goes on."""
FULL_S = 1.5
"""A full engine that has not begun by then to make room for what waits will not: more than the time between two plans."""
LOOK_EVERY_S = 0.02


async def arrived(desk: Desk, names: Iterable[str]) -> dict[str, str]:
    """Returns once these registered adapters are in host memory of every engine that can be told to get them, or it is
    known why not, after WAIT_S at the latest. The answer says for which of them calls fail for now, and why."""
    names = list(dict.fromkeys(names))
    began = desk.clock()
    awaited = list(names)
    while awaited and (waited := desk.clock() - began) < WAIT_S:
        missing = _missing(desk, awaited[-1])
        if waited >= FULL_S:
            missing = [engine for engine in missing if not _is_full(desk, engine)]
        if missing:
            await asyncio.sleep(LOOK_EVERY_S)
        else:
            awaited.pop()
    return {name: why for name in names if (why := _problem(desk, name))}


def _missing(desk: Desk, name: str) -> list[EngineId]:
    """Where it may still come to; nowhere if it is not registered (any more)."""
    known = desk.controller.adapter(name)
    return [] if known is None else [one for one in _without(desk, known) if one not in known.problems]


def _without(desk: Desk, known: AdapterSnapshot) -> list[EngineId]:
    return [
        one.engine
        for one in desk.runtime.engines()
        if one.up
        and one.commanded
        and one.capabilities is not None
        and "fetch_adapters" in one.capabilities.features
        and one.engine not in known.ready
    ]


def _is_full(desk: Desk, engine: EngineId) -> bool:
    for one in desk.controller.engines():
        if one.id == engine:
            limit = None if one.capabilities is None else one.capabilities.host_adapters
            moves = any(isinstance(action, FetchAdapter | DropAdapter) for action in one.in_flight)
            return limit is not None and one.adapters >= limit and not moves
    return False


def _problem(desk: Desk, name: str) -> str:
    known = desk.controller.adapter(name)
    if known is None:
        return ""
    said = sorted(set(known.problems.values()))
    absent = [engine for engine in _without(desk, known) if engine not in known.problems]
    return "; ".join(said + ([f"it is not in host memory of {some(absent)} yet"] if absent else []))
