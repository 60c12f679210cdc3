"""Graphs along which activations spread, and the activations."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, Field

from scalesim.proxy.core.events import Activated, EdgesGiven, Event, GraphCleared
from scalesim.proxy.core.model import AgentName, SimulationId

from .answers import TakenAnswer, example
from .bodies import ActivationsBody, GraphBody, SimulationPath
from .desk import Desk
from .edges import Edges
from .gate import is_lines
from .incoming import of_many, received, whole
from .pieces import all_known, all_taken, in_turns, pieces, posted
from .problems import Problem


class GraphAnswer(BaseModel):
    model_config = example({"simulation": "town", "agents": 3, "edges": 2})

    simulation: str
    agents: int = Field(description="That have edges.")
    edges: int


def graph_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/simulations/{simulation}", tags=["graphs"])
    coming: set[SimulationId] = set()
    """Of which a graph is on its way in: of two at once nobody could say which is the later one."""

    @router.put(
        "/graph",
        openapi_extra=of_many(GraphBody, "An edge a line.", '["Ann", "Bob"]\n["Bob", "Cleo"]\n'),
    )
    async def give_graph(
        simulation: SimulationPath,
        request: Request,
        directed: Annotated[bool | None, Query(description="Of a body in lines.")] = None,
        create_agents: Annotated[bool | None, Query(description="Of a body in lines.")] = None,
    ) -> GraphAnswer:
        """Along which edges activations spread. It takes the place of the graph that was given before, and ends all
        waves. Large graphs are sent as lines (`application/x-ndjson`), an edge each: `["Ann", "Bob"]`.

        An agent that leaves is passed by; one that was only forgotten for want of room keeps its edges."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        _check_free(name)
        coming.add(name)
        try:
            edges = Edges(desk.controller.edge_room(name), desk.controller.agent_limit)
            if is_lines(request):
                async with received(request, desk.uploads):
                    await edges.read(request.stream())
            else:
                if directed is not None or create_agents is not None:
                    raise Problem(
                        HTTPStatus.UNPROCESSABLE_ENTITY,
                        "directed and create_agents stand in a body of JSON, and not in the URL; nothing was changed",
                    )
                body = await whole(request, GraphBody, desk.uploads)
                directed, create_agents = body.directed, body.create_agents
                async for piece in in_turns(body.edges):
                    for edge in piece:
                        edges.add(edge)
            async with desk.turn(name):
                await all_known(desk, name, edges.names, create=create_agents or False)
                await posted(desk, name, _told(name, edges, directed or False))
                await all_taken(desk, name, edges.names)
        finally:
            coming.discard(name)
        answer = _graph(name)
        if answer.edges < len(edges):
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"there is no room for {len(edges) - answer.edges} of the edges; the others were taken",
                edges=answer.edges,
            )
        return answer

    @router.get("/graph")
    async def graph(simulation: SimulationPath) -> GraphAnswer:
        """How large it is."""
        return _graph(SimulationId(simulation), HTTPStatus.NOT_FOUND)

    @router.delete("/graph", status_code=HTTPStatus.NO_CONTENT)
    async def forget_graph(simulation: SimulationPath) -> None:
        """With all waves on it."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        _check_free(name)
        desk.post(GraphCleared(desk.clock(), name))

    @router.post("/activations", openapi_extra=of_many(ActivationsBody))
    async def activate(simulation: SimulationPath, request: Request) -> TakenAnswer:
        """A wave reaches these agents now, or begins with them: their neighbours on the graph are expected to call in
        the next step, theirs in the one after. Who has called is not expected again in the same wave.

        A wave is also followed by the calls themselves, so that it is enough to tell where it begins. It needs ticks: a
        hop is a step. Of agents without edges nothing follows."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        body = await whole(request, ActivationsBody, desk.uploads)
        agents: dict[str, None] = {}
        async for piece in in_turns(body.agents):
            agents.update(dict.fromkeys(piece))
        async with desk.turn(name):
            await all_known(desk, name, agents, create=body.create_agents)
            _graph(name)
            await posted(desk, name, _activated(name, agents, body.wave))
            await all_taken(desk, name, agents)
        desk.catch_up()
        return TakenAnswer(simulation=name, agents=len(agents))

    def _activated(name: SimulationId, agents: Iterable[str], wave: str) -> Iterator[Event]:
        now = desk.clock()
        for piece in pieces(agents):
            yield Activated(now, name, [AgentName(one) for one in piece], wave)

    def _told(name: SimulationId, edges: Edges, directed: bool) -> Iterator[Event]:
        yield GraphCleared(desk.clock(), name)
        yield EdgesGiven(desk.clock(), name, (), directed)  # a graph without edges is one too
        for piece in pieces(edges):
            yield EdgesGiven(desk.clock(), name, piece, directed)

    def _graph(name: SimulationId, otherwise: HTTPStatus = HTTPStatus.CONFLICT) -> GraphAnswer:
        desk.check_simulation(name)
        size = desk.controller.graph_size(name)
        if size is None:
            raise Problem(
                otherwise,
                f"the simulation {name!r} has no graph; PUT /admin/v1/simulations/{name}/graph gives it one; "
                "nothing was changed",
                simulation=name,
            )
        agents, edges = size
        return GraphAnswer(simulation=name, agents=agents, edges=edges)

    def _check_free(name: SimulationId) -> None:
        if name in coming:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"a graph of the simulation {name!r} is on its way in; nothing was changed",
                simulation=name,
            )

    return router
