"""What would be done for an engine now, and why, without doing it."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, JsonValue

from scalesim.proxy.core.actions import Order
from scalesim.proxy.core.events import PreviewAsked
from scalesim.proxy.core.model import EngineId, Source
from scalesim.proxy.core.preview import Foreseen, Intended, Preview
from scalesim.proxy.core.reasons import memories_of
from scalesim.proxy.dispatch import kind_of

from .actions import MemoryName
from .answers import example
from .bodies import EnginePath
from .desk import Desk
from .paging import Limit
from .problem_types import ProblemType
from .problems import Problem

WAIT_S = 2.0
"""A plan is begun every 50 ms, and made in pieces."""
_LOOK_EVERY_S = 0.005
_AGENT: dict[str, JsonValue] = {
    "simulation": "town",
    "agent": "Ann",
    "distance_s": 7.2,
    "source": "hinted",
    "in_activation": False,
    "near": True,
    "pinned": False,
    "size_tokens": 2210,
}
_ACTION: dict[str, JsonValue] = {
    "kind": "load",
    "memories": [{"kind": "kv_prefix", "key": "town/Ann"}],
    "count": 1,
    "why": "town/Ann is expected in 7.2 s (hinted); to be copied",
}


class PlannedAgentAnswer(BaseModel):
    simulation: str
    agent: str
    distance_s: float = Field(description="A policy may rank it otherwise.")
    source: Source | None
    in_activation: bool
    near: bool = Field(description="Its memory is loaded ahead, if it is away.")
    pinned: bool
    size_tokens: int | None

    @classmethod
    def of(cls, known: Foreseen) -> PlannedAgentAnswer:
        return cls(
            simulation=known.simulation,
            agent=known.agent,
            distance_s=round(known.distance_s, 4),
            source=known.source,
            in_activation=known.in_activation,
            near=known.near,
            pinned=known.pinned,
            size_tokens=known.size_tokens,
        )


class PlannedActionAnswer(BaseModel):
    kind: str = Field(description="As in the list of actions.")
    memories: list[MemoryName] = Field(description="The first of them; none of an order.")
    count: int
    why: str

    @classmethod
    def of(cls, known: Intended, limit: int) -> PlannedActionAnswer:
        action = known.action
        memories = memories_of(action)
        return cls(
            kind=kind_of(action),
            memories=[MemoryName(kind=one.kind, key=one.key) for one in memories[:limit]],
            count=len(action.distances) if isinstance(action, Order) else len(memories),
            why=known.why,
        )


class PlanAnswer(BaseModel):
    model_config = example(
        {
            "engine": "engine-0",
            "shadow": False,
            "policy": "nearest_first",
            "in_charge": "distance",
            "in_charge_why": "from the beginning, until recency does better",
            "order": [_AGENT],
            "ordered": 24,
            "pins": ["town/Bob"],
            "pinned": 1,
            "pinned_tokens": 2100,
            "pin_budget_tokens": 5500,
            "adapters": {"pirate": 7.2},
            "pinned_adapters": [],
            "actions": [_ACTION],
            "waits": "",
        }
    )

    engine: str
    shadow: bool = Field(description="As if the simulations in shadow were on.")
    policy: str
    in_charge: str = Field(description="distance, or lru: then this order is not sent.")
    in_charge_why: str = Field(description="Empty where there is no guard.")
    order: list[PlannedAgentAnswer] = Field(
        description="The first of those whose memory leaves last, as the policy has them."
    )
    ordered: int = Field(description="All of them. Whoever is not among them leaves first.")
    pins: list[str] = Field(description="The first of the owners.")
    pinned: int
    pinned_tokens: int
    pin_budget_tokens: int
    adapters: dict[str, float] = Field(description="The first of them, with seconds until they are needed.")
    pinned_adapters: list[str]
    actions: list[PlannedActionAnswer] = Field(
        description="What would be sent now, and why. None: all that is wanted is in force, or on its way."
    )
    waits: str = Field(description="Why not all of it would be sent at once; empty if it would.")

    @classmethod
    def of(cls, known: Preview, limit: int) -> PlanAnswer:
        return cls(
            engine=known.engine,
            shadow=known.shadow,
            policy=known.policy,
            in_charge="distance" if known.by_distance else "lru",
            in_charge_why=known.charge,
            order=[PlannedAgentAnswer.of(one) for one in known.order],
            ordered=known.ordered,
            pins=list(known.pins[:limit]),
            pinned=len(known.pins),
            pinned_tokens=known.pinned_tokens,
            pin_budget_tokens=known.pin_budget_tokens,
            adapters={name: round(away, 4) for name, away in known.adapters},
            pinned_adapters=list(known.pinned_adapters),
            actions=[PlannedActionAnswer.of(one, limit) for one in known.actions],
            waits=known.waits,
        )


def plan_routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["engines"])
    turn = asyncio.Lock()

    @router.get(
        "/admin/v1/engines/{engine}/plan",
        responses={503: {"description": "No plan was made in time, or the engine was never found."}},
    )
    async def plan(
        engine: EnginePath,
        limit: Limit = 100,
        shadow: Annotated[bool, Query(description="As if the simulations in shadow were on.")] = False,
    ) -> PlanAnswer:
        """What would be done for it now, and why. It is worked out as the next plan would be, and nothing of it is sent."""
        name = EngineId(desk.check_engine(engine).address.name)
        async with turn:  # one at a time: they take the place of plans
            before = desk.controller.preview(name)
            desk.runtime.post(PreviewAsked(desk.clock(), name, shadow, limit))
            began = desk.clock()
            while (made := desk.controller.preview(name)) is before or made is None:
                if desk.clock() - began >= WAIT_S:
                    raise Problem(
                        HTTPStatus.SERVICE_UNAVAILABLE,
                        f"no plan was made for {name!r} within {WAIT_S:g} s: it was never found, or there is too much to do",
                        ProblemType.NO_PLAN,
                        engine=name,
                    )
                await asyncio.sleep(_LOOK_EVERY_S)
            return PlanAnswer.of(made, limit)

    return router
