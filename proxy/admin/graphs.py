"""Graphs along which activations spread, and the activations."""

from __future__ import annotations

from collections.abc import Iterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import ClientDisconnect

from scalesim.proxy.core.events import Activated, EdgesGiven, Event, GraphCleared, Idled
from scalesim.proxy.core.model import AgentName, SimulationId

from .answers import TakenAnswer
from .bodies import ActivationsBody, GraphBody, SimulationPath
from .desk import Desk
from .edges import Edges
from .pieces import all_known, all_taken, caught_up, pieces, posted
from .problems import Problem

_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": GraphBody.model_json_schema(),
                "example": {"edges": [["Ann", "Bob"], ["Bob", "Cleo"]], "directed": False},
            },
            "application/x-ndjson": {
                "schema": {"type": "string", "description": "An edge a line."},
                "example": '["Ann", "Bob"]\n["Bob", "Cleo"]\n',
            },
        },
    }
}


class GraphAnswer(BaseModel):
    model_config = ConfigDict(json_schema_extra={"example": {"simulation": "town", "agents": 3, "edges": 2}})

    simulation: str
    agents: int = Field(description="That have edges.")
    edges: int


def graph_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/simulations/{simulation}", tags=["graphs"])
    coming: set[SimulationId] = set()
    """Of which a graph is on its way in: two at once would become a mixture."""

    @router.put("/graph", openapi_extra=_BODY)
    async def give_graph(
        simulation: SimulationPath,
        request: Request,
        directed: Annotated[bool, Query(description="Of a body in lines.")] = False,
        create_agents: Annotated[bool, Query(description="Of a body in lines.")] = False,
    ) -> GraphAnswer:
        """Along which edges activations spread. It takes the place of the graph that was given before, and ends all
        waves. Large graphs are sent as lines (`application/x-ndjson`), an edge each: `["Ann", "Bob"]`.

        An agent that leaves is passed by; one that was only forgotten for want of room keeps its edges."""
        name = SimulationId(simulation)
        desk.simulation(name)
        _check_free(name)
        coming.add(name)
        try:
            edges = Edges(desk.controller.edge_room(name))
            if _is_lines(request):
                await edges.read(request.stream())
            else:
                body = _parsed(await request.body())
                directed, create_agents = body.directed, body.create_agents
                for edge in body.edges:
                    edges.add(edge)
            await all_known(desk, name, edges.names, create=create_agents)
            await posted(desk, name, _told(name, edges, directed))
            await all_taken(desk, name, edges.names)
        except ClientDisconnect as exc:
            raise Problem(HTTPStatus.BAD_REQUEST, "the body broke off; nothing was changed") from exc
        finally:
            coming.discard(name)
        agents, taken = desk.controller.graph_size(name) or (0, 0)
        if taken < len(edges):
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE,
                f"there is no room for {len(edges) - taken} of the edges; the others were taken",
                edges=taken,
            )
        return GraphAnswer(simulation=name, agents=agents, edges=taken)

    @router.delete("/graph", status_code=HTTPStatus.NO_CONTENT)
    async def forget_graph(simulation: SimulationPath) -> None:
        """With all waves on it."""
        name = SimulationId(simulation)
        desk.simulation(name)
        _check_free(name)
        desk.runtime.post(GraphCleared(desk.clock(), name))

    @router.post("/activations")
    async def activate(
        simulation: SimulationPath, body: ActivationsBody, background: BackgroundTasks
    ) -> TakenAnswer:
        """A wave reaches these agents now, or begins with them: their neighbours on the graph are expected to call in
        the next step, theirs in the one after. Who has called is not expected again in the same wave.

        A wave is also followed by the calls themselves, so that it is enough to tell where it begins. It needs ticks: a
        hop is a step. Of agents without edges nothing follows."""
        name = SimulationId(simulation)
        agents = list(dict.fromkeys(body.agents))
        desk.check_known(name, agents, create=body.create_agents)
        _check_free(name)
        if desk.controller.graph_size(name) is None:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"the simulation {name!r} has no graph; PUT /admin/v1/simulations/{name}/graph gives it one; "
                "nothing was changed",
                simulation=name,
            )
        now = desk.clock()
        told = (
            Activated(now, name, [AgentName(one) for one in piece], body.wave) for piece in pieces(agents)
        )
        await posted(desk, name, told)
        desk.check_taken(name, agents)
        # A small wave is there with the answer; who tells a large one does not wait for it.
        desk.runtime.post(Idled(desk.clock()))
        background.add_task(caught_up, desk)
        return TakenAnswer(simulation=name, agents=len(agents))

    def _told(name: SimulationId, edges: Edges, directed: bool) -> Iterator[Event]:
        yield GraphCleared(desk.clock(), name)
        yield EdgesGiven(desk.clock(), name, (), directed)  # a graph without edges is one too
        for piece in pieces(edges):
            yield EdgesGiven(desk.clock(), name, piece, directed)

    def _check_free(name: SimulationId) -> None:
        if name in coming:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"a graph of the simulation {name!r} is on its way in; nothing was changed",
                simulation=name,
            )

    return router


def _is_lines(request: Request) -> bool:
    return request.headers.get("content-type", "").lower().startswith("application/x-ndjson")


def _parsed(body: bytes) -> GraphBody:
    """As the framework does it where there is but one type of body."""
    try:
        return GraphBody.model_validate_json(body)
    except ValidationError as exc:
        raise RequestValidationError(exc.errors()) from exc
