"""Everything but the agents at one glance, for the feed: as JSON, small, and without what is not known."""

from __future__ import annotations

from typing import Any

import scalesim
from scalesim.proxy.core.snapshot import EngineSnapshot, SimulationSnapshot
from scalesim.proxy.dashboard.patch import Json, without_none
from scalesim.proxy.engine_status import EngineStatus, describe
from scalesim.proxy.engines.breaker import State as Breaker
from scalesim.proxy.engines.fleet import EngineState

from .desk import Desk

SIMULATIONS = 50
"""That were seen last; of more, only how many there are is told."""


def overview(desk: Desk) -> Json:
    """Costs what simulations (as many as are told) and engines there are, never what agents there are."""
    now, runtime = desk.clock(), desk.runtime
    sizes = desk.relay.sizes()  # the other tables are many, and nobody looks at them here
    loads: Json = {}
    for (kind, state), total in runtime.loads.items():
        seconds = round(total.seconds, 3)
        loads.setdefault(kind, {})[state] = {"count": total.count, "s": seconds, "bytes": total.moved_bytes}
    actions: Json = {}
    for (kind, result), count in runtime.actions.items():
        actions.setdefault(kind, {})[result] = count
    return without_none(
        {
            "version": scalesim.__version__,
            "mode": desk.settings.mode.value,
            "policy": desk.controller.policy(),
            "port": desk.settings.port or None,
            "ending": desk.is_ending() or None,
            "known": desk.controller.simulation_count,
            "waiting": sizes.get("queue_waiting"),
            "requests": sizes.get("requests_in_flight"),
            "plans": runtime.plans,
            "planning_s": round(runtime.planning_s, 3),
            "actions": actions,
            "loads": loads,
            "named": dict(desk.callers.named),
            "unsure": dict(desk.callers.unsure),
            "failures": dict(runtime.failures),
            "simulations": {
                one.id: _of_simulation(one) for one in reversed(desk.controller.latest(SIMULATIONS))
            },
            "engines": _engines(desk, now),
        }
    )


def _of_simulation(known: SimulationSnapshot) -> Json:
    counted = known.counters
    return {
        "mode": known.mode.value,
        "step": known.step,
        "pace_s": None if known.pace_s is None else round(known.pace_s, 3),
        "resting": known.resting or None,
        "agents": known.agents,
        "running": known.running_calls,
        "calls": counted.calls,
        "failed": counted.failed_calls,
        "activations": counted.activations,
        "prompt": counted.prompt_tokens,
        "cached": counted.cached_tokens,
        "first_prompt": counted.first_prompt_tokens,
        "first_cached": counted.first_cached_tokens,
        "misses": {cause.value: count for cause, count in counted.misses.items()},
        "accuracy": {
            source.value: round(score.order, 2) for source, score in known.accuracy.items() if score.count
        },
        "in_charge": known.in_charge,
    }


def _engines(desk: Desk, now: float) -> Json:
    known = {one.id: one for one in desk.controller.engines()}
    placed = {one.entry.address.name: one for one in desk.fleet.states()}
    breakers = desk.fleet.breakers.states(now)
    return {
        one.engine: _of_engine(
            one, known.get(one.engine), placed.get(one.engine), breakers.get(one.engine, Breaker.CLOSED)
        )
        for one in desk.runtime.engines()
    }


def _of_engine(
    status: EngineStatus, known: EngineSnapshot | None, placed: EngineState | None, breaker: Breaker
) -> Json:
    found, report = status.capabilities, status.report
    told: dict[str, Any] = {
        "url": status.base_url,
        "up": status.up,
        "since": round(status.since, 1),
        "commanded": status.commanded,
        "extended": found is not None and found.extended,
        "about": describe(found) if found else "not found yet",
        "problem": status.problem or (placed.problem if placed else "") or None,
        "state": placed.entry.state.value if placed else None,
        "calls": placed.running if placed else None,
        "breaker": None if breaker is Breaker.CLOSED else breaker.value,
        "actions": status.waiting,
        "loads": status.loads,
        "capacity_tokens": report.capacity_tokens if report else found.capacity_tokens if found else None,
        "pinned_tokens": report.pinned_tokens if report else None,
        "pools": {
            pool.name: {
                "kinds": sorted(pool.kinds),
                "capacity": pool.capacity_bytes,
                "free": pool.free_bytes,
            }
            for pool in (report.pools if report else ())
        },
    }
    if known is not None:
        told |= {
            "agents": known.agents,
            "calls": known.running_calls,
            "ordered": None if known.order is None else len(known.order),
            "pinned": len(known.pins),
            "loading_bytes": known.loading_bytes,
            "adapters": known.adapters,
        }
        if known.guard is not None:
            guard = known.guard
            told["guard"] = {
                "in_charge": guard.in_charge.value,
                "reason": guard.reason,
                "since": guard.since,
                "calls": guard.calls,
                "lru": guard.hits_lru,
                "distance": guard.hits_distance,
                "guarded": guard.hits_guarded,
                "rehearses": known.guard_rehearses or None,
            }
    return told
