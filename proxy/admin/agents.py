"""Agents of a simulation: which there are, and what is known of each."""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query

from scalesim.proxy.core.agent_pages import AgentFilter
from scalesim.proxy.core.model import SimulationId, Source
from scalesim.proxy.core.snapshot import AgentSnapshot

from .agent_answers import AgentDetailAnswer
from .answers import AgentAnswer, AgentsAnswer
from .bodies import MOST, AgentPath, SimulationPath
from .desk import Desk
from .paging import Cursor, Limit
from .problem_types import ProblemType
from .problems import Problem

LOOKED_AT = 2_000
"""Agents, in answer to one request: where few of them fit, the rest is for the next page."""
_AT_ONCE = 50
"""Of these, before everybody else has a turn."""


def agent_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/simulations/{simulation}/agents", tags=["agents"])

    @router.get("")
    async def agents(
        simulation: SimulationPath,
        after: Cursor = None,
        limit: Limit = 100,
        offset: Annotated[
            int | None, Query(ge=0, le=1_000_000_000, description="In place of `after`; without filters.")
        ] = None,
        name_begins: Annotated[str, Query(max_length=256)] = "",
        engine: Annotated[str | None, Query(max_length=64, description="Where its memory is.")] = None,
        adapter: Annotated[
            str | None, Query(max_length=140, description="On which its next call is expected to run.")
        ] = None,
        running: Annotated[bool | None, Query(description="In an activation, or not.")] = None,
        pinned: Annotated[bool | None, Query(description="By an operator, or not.")] = None,
        source: Annotated[Source | None, Query(description="Who knows when it calls next.")] = None,
        nearer_than_s: Annotated[
            float | None,
            Query(ge=0, le=MOST, allow_inf_nan=False, description="Expected within these seconds."),
        ] = None,
    ) -> AgentsAnswer:
        """Agents that fit all filters, in the order in which they became known. A page may have fewer than `limit`, or none,
        where few fit: the list is over when `next` is null."""
        name = SimulationId(simulation)
        total = desk.simulation(name).agents
        wanted = AgentFilter(name_begins, engine, adapter, running, pinned, source, nearer_than_s)
        if offset is None:
            shown, then = await _page(name, int(after or 0), limit, wanted)
        elif after is not None or wanted != AgentFilter():
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                "offset goes neither with after nor with filters",
                ProblemType.INVALID,
            )
        else:
            shown = desk.controller.agents(name, offset, limit)
            then = shown[-1].number if shown and offset + limit < total else None
        now = desk.clock()
        return AgentsAnswer(
            simulation=name,
            total=total,
            agents=[AgentAnswer.of(one, now) for one in shown],
            next=None if then is None else str(then),
        )

    async def _page(
        name: SimulationId, after: int, limit: int, wanted: AgentFilter
    ) -> tuple[list[AgentSnapshot], int | None]:
        """And after which number to go on."""
        found: list[AgentSnapshot] = []
        last = after
        for looked_at, (number, known) in enumerate(desk.controller.walk_agents(name, after, wanted), 1):
            if len(found) == limit or looked_at > LOOKED_AT:
                return found, last
            last = number
            if known is not None:
                found.append(known)
            if looked_at % _AT_ONCE == 0:
                await asyncio.sleep(0)
        return found, None

    return router


def agent_route(desk: Desk) -> APIRouter:
    """Apart, because it takes every path below it that is nobody else's: names of agents may have slashes."""
    router = APIRouter(tags=["agents"])

    @router.get("/admin/v1/simulations/{simulation}/agents/{agent:path}")
    async def one_agent(simulation: SimulationPath, agent: AgentPath) -> AgentDetailAnswer:
        """What is known of it: when it calls next, as the proxy has it and as each source says; and where its memory is."""
        name = SimulationId(simulation)
        known = desk.agent(name, agent)
        return AgentDetailAnswer.of_agent(known, desk.controller.estimates(name, known.name), desk.clock())

    return router
