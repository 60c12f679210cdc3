"""The last actions over REST: what was done to engines, and why."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, JsonValue

from scalesim.proxy.action_log import Entry
from scalesim.proxy.core.model import KV_PREFIX, LORA

from .answers import example
from .bodies import SIMULATION_PATTERN, Name
from .desk import Desk
from .paging import Cursor, Limit

_EXAMPLE: dict[str, JsonValue] = {
    "number": 812,
    "ago_s": 1.4,
    "engine": "engine-0",
    "kind": "load",
    "memories": [{"kind": "kv_prefix", "key": "town/Ann"}],
    "count": 1,
    "distance_s": 2.4,
    "why": "town/Ann is expected in 2.4 s (hinted); to be copied",
    "result": "loaded",
    "error": "",
    "took_s": 0.03,
}
ActionKind = Literal[
    "order", "pin", "unpin", "load", "stopload", "fetchadapter", "dropadapter", "renew", "evict"
]


class MemoryName(BaseModel):
    kind: str
    key: str


class ActionAnswer(BaseModel):
    model_config = example(_EXAMPLE)

    number: int
    ago_s: float = Field(description="Seconds since it was asked for.")
    engine: str
    kind: str = Field(
        description="order, pin, unpin, load (to the device ahead of a call), stopload, fetchadapter (to host memory), "
        "dropadapter, or renew (only those that failed)"
    )
    memories: list[MemoryName] = Field(description="The first of them; none of an order.")
    count: int = Field(description="Of its memories; of an order, of its agents.")
    distance_s: float | None = Field(description="Of whom it is loaded for.")
    why: str
    result: str = Field(
        description="Empty: it is under way. loaded, resident, stopped, absent or no_room, of a load; else done, refused, "
        "fenced, unreachable, timeout, failed, superseded or dropped."
    )
    error: str
    took_s: float | None = Field(description="null: it is under way.")

    @classmethod
    def of(cls, known: Entry, now: float) -> ActionAnswer:
        return cls(
            number=known.number,
            ago_s=round(now - known.at, 3),
            engine=known.engine,
            kind=known.kind,
            memories=[MemoryName(kind=one.kind, key=one.key) for one in known.memories],
            count=known.count,
            distance_s=None if known.distance is None else round(known.distance, 3),
            why=known.why,
            result=known.result,
            error=known.error,
            took_s=None if known.took_s is None else round(known.took_s, 6),
        )


class ActionsAnswer(BaseModel):
    model_config = example({"actions": [_EXAMPLE], "next": "812"})

    actions: list[ActionAnswer] = Field(description="The newest first.")
    next: str | None = Field(description="For `after`, to get older ones; null: there are none.")


def action_routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["actions"])

    @router.get("/admin/v1/actions")
    async def actions(
        after: Cursor = None,
        limit: Limit = 100,
        engine: Annotated[str | None, Query(max_length=64)] = None,
        kind: ActionKind | None = None,
        result: Annotated[
            str | None, Query(max_length=32, description="As in the answer; empty: those that are under way.")
        ] = None,
        simulation: Annotated[str | None, Query(pattern=SIMULATION_PATTERN)] = None,
        agent: Annotated[Name | None, Query(description="Of `simulation`, or of any.")] = None,
        adapter: Annotated[str | None, Query(max_length=140, description="As engines call it.")] = None,
    ) -> ActionsAnswer:
        """The last of all engines, the newest first, that fit all filters. An order names no agents."""

        def fitting() -> Iterator[Entry]:
            for one in desk.action_log:
                if (
                    (after is None or one.number < int(after))
                    and (engine is None or one.engine == engine)
                    and (kind is None or one.kind == kind)
                    and (result is None or one.result == result)
                    and (adapter is None or any((LORA, adapter) == memory for memory in one.memories))
                    and _is_of(one, simulation, agent)
                ):
                    yield one

        found, now = list(islice(fitting(), limit + 1)), desk.clock()
        shown = found[:limit]
        return ActionsAnswer(
            actions=[ActionAnswer.of(one, now) for one in shown],
            next=str(shown[-1].number) if len(found) > limit else None,
        )

    return router


def _is_of(entry: Entry, simulation: str | None, agent: str | None) -> bool:
    if simulation is None and agent is None:
        return True
    owners = (memory.key.partition("/") for memory in entry.memories if memory.kind == KV_PREFIX)
    return any(
        (simulation is None or its == simulation) and (agent is None or name == agent)
        for its, _, name in owners
    )
