"""Adapters: which there are, whose calls run on them, and what has a copy in host memory.

Whether an adapter can be loaded is found out by the engine: what it says is told with the adapter, and the calls that
need it get the engine's own error. Who assigns an adapter is answered once it is there, or it is known why not.
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from scalesim.proxy.core.events import AdapterAssigned, AdapterForgotten, AdapterRegistered, HostCopySet
from scalesim.proxy.core.model import AgentName, SimulationId

from .adapter_answers import AdapterAnswer, AdaptersAnswer, AssignedAgentAnswer, AssignedAnswer
from .answers import AgentAnswer, SimulationAnswer
from .arrival import arrived
from .bodies import (
    AdapterBody,
    AdapterPath,
    AgentPath,
    AssignmentBody,
    AssignmentsBody,
    HostCopyBody,
    SimulationPath,
)
from .desk import Desk
from .incoming import of_many, whole
from .paging import Cursor
from .pieces import PIECE, all_known, all_taken, in_turns, posted
from .problem_types import ProblemType
from .problems import SHOWN, Problem, some


def adapter_routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["adapters"])
    of_adapters = "/admin/v1/adapters"
    of_a_simulation = "/admin/v1/simulations/{simulation}"
    of_an_agent = of_a_simulation + "/agents/{agent:path}"

    @router.get(of_adapters)
    async def every_adapter(
        after: Cursor = None,
        limit: Annotated[int, Query(ge=1, le=10_000, description="At most so many.")] = 1000,
        offset: Annotated[
            int | None, Query(ge=0, le=1_000_000_000, description="In place of `after`.")
        ] = None,
    ) -> AdaptersAnswer:
        """Registered adapters in the order in which they became known."""
        total = desk.controller.adapter_count
        if offset is None:
            page = desk.controller.adapters_after(int(after or 0), limit + 1)
        elif after is None:
            page = desk.controller.adapters(offset, limit + 1)
        else:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, "offset does not go with after", ProblemType.INVALID
            )
        shown, now = page[:limit], desk.clock()
        return AdaptersAnswer(
            total=total,
            adapters=[AdapterAnswer.of(one, now) for one in shown],
            next=str(shown[-1].number) if len(page) > limit else None,
        )

    @router.get(of_adapters + "/{name}")
    async def one_adapter(name: AdapterPath) -> AdapterAnswer:
        """Where it lies, where it is, and why not where it should be."""
        return AdapterAnswer.of(desk.adapter(name), desk.clock())

    @router.put(
        of_adapters + "/{name}", responses={201: {"description": "It was new.", "model": AdapterAnswer}}
    )
    async def register(name: AdapterPath, body: AdapterBody, response: Response) -> AdapterAnswer:
        """Says where an adapter lies. Again with the same path: tries anew what failed; with another: a new version.

        One that is assigned already is waited for, as in assigning it."""
        is_new = not desk.controller.knows_adapter(name)
        desk.post(AdapterRegistered(desk.clock(), name, body.path))
        known = desk.controller.adapter(name)
        if known is None:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"there is no room for the adapter {name!r}",
                ProblemType.NO_ROOM,
                adapters=[name],
            )
        if is_new:
            response.status_code = HTTPStatus.CREATED
        if known.agents:
            await arrived(desk, [name])
            known = desk.controller.adapter(name) or known
        return AdapterAnswer.of(known, desk.clock())

    @router.delete(of_adapters + "/{name}", status_code=HTTPStatus.NO_CONTENT)
    async def forget(name: AdapterPath) -> None:
        """It is assigned to nobody any more, and dropped from the engines once no call runs on it."""
        desk.adapter(name)
        desk.post(AdapterForgotten(desk.clock(), name))

    @router.put(of_a_simulation + "/adapters", openapi_extra=of_many(AssignmentsBody))
    async def assign_many(simulation: SimulationPath, request: Request) -> AssignedAnswer:
        """On which adapter the calls of these agents run, unless a call names one itself. It needs a name given
        outright: by the header X-Agent-ID or the URL.

        Waits up to ten seconds for the adapters to come to the engine's host memory, so that calls work after it."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        body = await whole(request, AssignmentsBody, desk.uploads)
        await _assign(name, body.agents, create=body.create_agents)
        problems = await arrived(desk, (one for one in body.agents.values() if one is not None))
        return AssignedAnswer(simulation=name, agents=len(body.agents), problems=problems)

    @router.put(of_an_agent + "/adapter")
    async def assign(
        simulation: SimulationPath, agent: AgentPath, body: AssignmentBody
    ) -> AssignedAgentAnswer:
        """On which adapter this agent's calls run, unless a call names one itself.

        Waits up to ten seconds for the adapter to come to the engine's host memory, so that calls work after it."""
        name = SimulationId(simulation)
        await _assign(name, {agent: body.name}, create=body.create_agents)
        told = _agent(name, agent)
        problems = await arrived(desk, [body.name])
        return AssignedAgentAnswer(**told.model_dump(), problem=problems.get(body.name, ""))

    @router.delete(of_an_agent + "/adapter", status_code=HTTPStatus.NO_CONTENT)
    async def assign_none(simulation: SimulationPath, agent: AgentPath) -> None:
        """The agent's calls run on what they name, else on the base model."""
        await _assign(SimulationId(simulation), {agent: None}, create=False)

    @router.put(of_a_simulation + "/host-copy")
    async def set_host_copy(simulation: SimulationPath, body: HostCopyBody) -> SimulationAnswer:
        """For all agents of a simulation but those for which it was set one by one."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        desk.post(HostCopySet(desk.clock(), name, None, body.kind, body.wanted))
        return SimulationAnswer.of(desk.simulation(name))

    @router.put(of_an_agent + "/host-copy")
    async def set_host_copy_of_one(
        simulation: SimulationPath, agent: AgentPath, body: HostCopyBody
    ) -> AgentAnswer:
        """For one agent."""
        name = SimulationId(simulation)
        desk.check_known(name, [agent], create=False)
        desk.post(HostCopySet(desk.clock(), name, AgentName(agent), body.kind, body.wanted))
        return _agent(name, agent)

    def _agent(simulation: SimulationId, agent: str) -> AgentAnswer:
        desk.check_taken(simulation, [agent])
        known = desk.controller.agent(simulation, AgentName(agent))
        assert known is not None  # it was taken just now
        return AgentAnswer.of(known, desk.clock())

    async def _assign(simulation: SimulationId, agents: Mapping[str, str | None], *, create: bool) -> None:
        """As a whole or not at all, but for want of room."""
        async for piece in in_turns(agents.values()):
            named = sorted({name for name in piece if name is not None})
            unknown = [name for name in named if not desk.controller.knows_adapter(name)]
            if unknown:
                raise Problem(
                    HTTPStatus.NOT_FOUND,
                    f"not registered as adapters: {some(unknown)}; nothing was changed",
                    ProblemType.UNKNOWN_ADAPTER,
                    adapters=unknown[:SHOWN],
                )
        now = desk.clock()
        async with desk.turn(simulation):
            await all_known(desk, simulation, agents, create=create)
            assigned = (
                AdapterAssigned(now, simulation, AgentName(agent), name) for agent, name in agents.items()
            )
            await posted(desk, simulation, assigned, together=PIECE)
            await all_taken(desk, simulation, agents)

    return router
