"""What simulations tell of their agents. Each call is taken as a whole or refused as a whole; only where the core has
no room (503) is the part taken that had some."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Path, Request
from pydantic import BaseModel

from scalesim.proxy.core.events import ActionStarted, AgentLeft, DistanceHinted, Event, StepTicked
from scalesim.proxy.core.model import FAR, AgentName, Clock, SimulationId

from .answers import TakenAnswer, example
from .bodies import SIMULATION_PATTERN, ActionsBody, DistancesBody, SimulationPath, TickBody, UpdateBody
from .desk import Desk
from .incoming import of_many, whole
from .pieces import PIECE, all_known, all_taken, in_turns, pieces, posted
from .problems import SHOWN, Problem, some


class StepAnswer(BaseModel):
    model_config = example({"simulation": "town", "step": 17})

    simulation: str
    step: float | None


def hint_routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["hints"])
    of_a_simulation = "/admin/v1/simulations/{simulation}"

    @router.post(of_a_simulation + "/distances", openapi_extra=of_many(DistancesBody))
    async def tell_distances(simulation: SimulationPath, request: Request) -> TakenAnswer:
        """How soon agents call next. Agents that are left out keep what was known of them."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        body = await whole(request, DistancesBody, desk.uploads)
        async with desk.turn(name):
            await all_known(desk, name, body.distances, create=body.create_agents)
            await posted(desk, name, _hinted(name, body.unit.clock, body.distances.items()))
            await all_taken(desk, name, body.distances)
        return TakenAnswer(simulation=name, agents=len(body.distances))

    @router.post(of_a_simulation + "/actions", openapi_extra=of_many(ActionsBody))
    async def tell_actions(simulation: SimulationPath, request: Request) -> TakenAnswer:
        """How long agents act from now on, in the simulated world, without calling."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        body = await whole(request, ActionsBody, desk.uploads)
        clock, now = body.unit.clock, desk.clock()
        async with desk.turn(name):
            await all_known(desk, name, body.durations, create=body.create_agents)
            started = (
                ActionStarted(now, name, AgentName(agent), duration, clock)
                for agent, duration in body.durations.items()
            )
            await posted(desk, name, started, together=PIECE)
            await all_taken(desk, name, body.durations)
        return TakenAnswer(simulation=name, agents=len(body.durations))

    @router.post(of_a_simulation + "/ticks")
    async def tick(simulation: SimulationPath, body: TickBody | None = None) -> StepAnswer:
        """A step of the simulation begins. Without a number: the next one."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        async with desk.turn(name):
            desk.check_simulation(name)
            desk.post(StepTicked(desk.clock(), name, body.step if body else None))
        return StepAnswer(simulation=name, step=desk.simulation(name).step)

    @router.post(of_a_simulation + "/agents/{agent:path}/leave")
    async def leave(simulation: SimulationPath, agent: Annotated[str, Path(examples=["Ann"])]) -> TakenAnswer:
        """The agent will not call again and is forgotten."""
        name = SimulationId(simulation)
        desk.check_known(name, [agent], create=False)
        desk.post(AgentLeft(desk.clock(), name, AgentName(agent)))
        return TakenAnswer(simulation=name, agents=1)

    @router.post("/v1/update", openapi_extra=of_many(UpdateBody))
    async def update(
        request: Request,
        x_simulation_id: Annotated[str, Header(pattern=SIMULATION_PATTERN)] = "default",
    ) -> TakenAnswer:
        """KVFlow's call: distances in steps. Each is also a step of the simulation (do not send ticks as well), and it
        creates the simulation and its agents: that API has no other way for either."""
        body = await whole(request, UpdateBody, desk.uploads)
        distances: dict[str, float] = {}
        contradicted: list[str] = []
        try:
            async for piece in in_turns(body.distances()):
                for agent, steps in piece:
                    if distances.setdefault(agent, steps) != steps:
                        contradicted.append(agent)
        except ValueError as exc:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(exc)) from exc
        if contradicted:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY,
                f"different distances are given for {some(contradicted)}; nothing was changed",
                agents=contradicted[:SHOWN],
            )
        name = SimulationId(x_simulation_id)
        async with desk.turn(name):
            # KVFlow's own client sends one update per step and nothing else that says that time passes. Without the tick
            # what an update tells of an agent would still stand when later updates leave that agent out.
            desk.post(StepTicked(desk.clock(), name))
            desk.check_taken(name)
            await posted(desk, name, _hinted(name, Clock.STEPS, distances.items()))
            await all_taken(desk, name, distances)
        return TakenAnswer(simulation=name, agents=len(distances))

    def _hinted(
        name: SimulationId, clock: Clock, distances: Iterable[tuple[str, float | None]]
    ) -> Iterator[Event]:
        now = desk.clock()
        for piece in pieces(distances):
            told = {AgentName(agent): FAR if at is None else at for agent, at in piece}
            yield DistanceHinted(now, name, clock, told)

    return router
