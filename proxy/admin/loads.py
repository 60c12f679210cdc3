"""What an operator has loaded now: an agent's memory, or an adapter. Each is an operation, since it takes as long as it takes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Response
from pydantic import BaseModel, Field

from scalesim.proxy.core.events import AdapterAsked, AdapterLetGo, Event, PrefetchAsked
from scalesim.proxy.core.loading import Standing
from scalesim.proxy.core.model import AgentName, EngineId, MemoryId, Mode, SimulationId
from scalesim.proxy.core.snapshot import Place

from .bodies import AdapterPath, AgentPath, SimulationPath, body_example
from .desk import Desk
from .operation_routes import BEGUN, OperationAnswer, begun
from .operations import Operation, OperationFailed
from .problem_types import ProblemType
from .problems import Problem

LOOK_EVERY_S = 0.02
_WANTED_FOR_S = 30.0


class LoadBody(BaseModel):
    model_config = body_example(for_s=30)

    for_s: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False, strict=True)] = Field(
        default=_WANTED_FOR_S,
        description="Seconds: so long it is tried, and so long it counts as needed next, unless it is called for before.",
    )


class UnloadBody(BaseModel):
    model_config = body_example(within_s=30)

    within_s: Annotated[float, Field(gt=0, le=600, allow_inf_nan=False, strict=True)] = Field(
        default=_WANTED_FOR_S, description="Seconds: so long it is waited for calls that run on it."
    )


def load_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/admin/v1")
    of_an_agent = "/simulations/{simulation}/agents/{agent:path}"
    controller = desk.controller

    @router.post(of_an_agent + "/prefetch", status_code=HTTPStatus.ACCEPTED, responses=BEGUN, tags=["agents"])
    async def prefetch(
        simulation: SimulationPath, agent: AgentPath, response: Response, body: LoadBody | None = None
    ) -> OperationAnswer:
        """Brings its memory (prefix and adapter) to the device of its engine now, as if it called next. Farther memory makes room
        for it; memory in use, and what recency protects while that is in charge, does not. Done when all of it is there."""
        name, for_s = SimulationId(simulation), (body or LoadBody()).for_s
        desk.agent(name, agent)
        _check_loadable(name, AgentName(agent))

        async def work(operation: Operation) -> None:
            def asked(seconds: float) -> Event:
                return PrefetchAsked(desk.clock(), name, AgentName(agent), seconds)

            with _asking(desk, asked, for_s):
                while True:
                    if _is_there(operation, controller.standing(name, AgentName(agent))):
                        return
                    _check_time(desk, operation, for_s)
                    await asyncio.sleep(LOOK_EVERY_S)

        return begun(desk, response, "prefetch", {"simulation": name, "agent": agent}, work)

    @router.post("/adapters/{name}/load", status_code=HTTPStatus.ACCEPTED, responses=BEGUN, tags=["adapters"])
    async def load(name: AdapterPath, response: Response, body: LoadBody | None = None) -> OperationAnswer:
        """Brings it to the host memory of every engine, and to a slot where engines load adapters ahead. Done when it is there."""
        desk.adapter(name)
        for_s = (body or LoadBody()).for_s
        if not controller.adapter_places():
            raise Problem(
                HTTPStatus.CONFLICT,
                "no engine is up that can be told to get adapters; nothing was changed",
                ProblemType.CANNOT_LOAD,
            )

        async def work(operation: Operation) -> None:
            with _asking(desk, lambda seconds: AdapterAsked(desk.clock(), name, seconds), for_s):
                while True:
                    if _has_come(operation, desk, name):
                        return
                    _check_time(desk, operation, for_s)
                    await asyncio.sleep(LOOK_EVERY_S)

        return begun(desk, response, "load_adapter", {"adapter": name}, work)

    @router.post(
        "/adapters/{name}/unload", status_code=HTTPStatus.ACCEPTED, responses=BEGUN, tags=["adapters"]
    )
    async def unload(
        name: AdapterPath, response: Response, body: UnloadBody | None = None
    ) -> OperationAnswer:
        """Takes it out of the slots and host memory of all engines, once no call runs on it. It stays registered, and comes back
        for a call or an agent that needs it. Done when it is nowhere."""
        known = desk.adapter(name)
        within_s = (body or UnloadBody()).within_s
        if known.agents or known.pin is not None:
            what = f"assigned to {known.agents} agents" if known.agents else "pinned by an operator"
            raise Problem(
                HTTPStatus.CONFLICT,
                f"the adapter {name!r} is {what}, and would come back at once; nothing was changed",
                ProblemType.ADAPTER_IN_USE,
                adapters=[name],
            )

        async def work(operation: Operation) -> None:
            desk.runtime.post(AdapterLetGo(desk.clock(), name, within_s))
            while not _has_gone(operation, desk, name):
                _check_time(desk, operation, within_s)
                await asyncio.sleep(LOOK_EVERY_S)

        return begun(desk, response, "unload_adapter", {"adapter": name}, work)

    def _check_loadable(name: SimulationId, agent: AgentName) -> None:
        """Raises `Problem` where nothing would come of it."""
        if controller.mode(name) is not Mode.ON:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"the simulation {name!r} is {controller.mode(name)}: nothing is loaded for it; nothing was changed",
                ProblemType.MODE_NOT_ON,
                simulation=name,
            )
        standing = controller.standing(name, agent)
        if standing is None:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"no engine has memory of {agent!r}, as far as is known: no call of it has ended yet; nothing was changed",
                ProblemType.NO_MEMORY,
                simulation=name,
            )
        if all(one is Standing.IMPOSSIBLE for one in standing.values()):
            raise Problem(
                HTTPStatus.CONFLICT,
                f"the engine of {agent!r} is not up, or loads nothing ahead; nothing was changed",
                ProblemType.CANNOT_LOAD,
                simulation=name,
            )

    return router


@contextmanager
def _asking(desk: Desk, asked: Callable[[float], Event], for_s: float) -> Iterator[None]:
    """What did not come in time, or was stopped, is asked for no longer."""
    desk.runtime.post(asked(for_s))
    try:
        yield
    except BaseException:
        desk.runtime.post(asked(0.0))
        raise


def _check_time(desk: Desk, operation: Operation, for_s: float) -> None:
    if desk.clock() - operation.began_at >= for_s:
        raise OperationFailed(f"it was not done within {for_s:g} s: {operation.says}")


def _is_there(operation: Operation, standing: Mapping[MemoryId, Standing] | None) -> bool:
    """Raises `OperationFailed` where it never will be."""
    if standing is None:
        raise OperationFailed("the agent left, or its memory was forgotten")
    if not standing:
        raise OperationFailed("its engine was lost")
    here = [memory for memory, one in standing.items() if one is Standing.HERE]
    operation.go_on(
        len(here) / len(standing),
        f"{len(here)} of {len(standing)} memories are on the device",
        memories={f"{memory.kind}:{memory.key}": one.value for memory, one in standing.items()},
    )
    never = [f"{memory.kind} ({one.value})" for memory, one in standing.items() if one.is_over]
    if never and not any(one.may_change for one in standing.values()):
        raise OperationFailed(f"{operation.says}; not so {', '.join(never)}")
    return len(here) == len(standing)


def _has_come(operation: Operation, desk: Desk, name: str) -> bool:
    """Raises `OperationFailed` where it never will."""
    known = desk.controller.adapter(name)
    if known is None:
        raise OperationFailed("the adapter was forgotten")
    meant = desk.controller.adapter_places()
    places = {engine: known.engines[engine] for engine in meant}
    come = [engine for engine, place in places.items() if _is_at(place, meant[engine])]
    missing = [engine for engine in places if engine not in come]
    operation.go_on(
        len(come) / len(meant) if meant else 0.0,
        f"it has come to {len(come)} of {len(meant)} engines",
        engines={engine: place.value for engine, place in places.items()},
    )
    problems = {engine: known.problems[engine] for engine in missing if engine in known.problems}
    if not meant or (missing and len(problems) == len(missing)):
        said = "; ".join(sorted(set(problems.values()))) or "no engine is up"
        raise OperationFailed(f"{operation.says}; {said}")
    return not missing


def _is_at(place: Place, meant: Place) -> bool:
    return place is meant or (place is Place.SLOT and meant is Place.HOST)


def _has_gone(operation: Operation, desk: Desk, name: str) -> bool:
    known = desk.controller.adapter(name)
    if known is None:
        return True  # whoever forgets an adapter has it dropped
    places: dict[EngineId, Place] = known.engines
    left = [engine for engine, place in places.items() if place is not Place.UNKNOWN]
    operation.go_on(
        1.0 - len(left) / max(1, len(places)),
        f"it is left on {len(left)} of {len(places)} engines",
        engines={engine: place.value for engine, place in places.items()},
    )
    return not left
