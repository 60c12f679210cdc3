"""What simulations tell of their agents. Each call is taken as a whole or refused as a whole; only where the core has
no room (503) is the part taken that had some."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header

from scalesim.proxy.core.events import ActionStarted, AgentLeft, DistanceHinted, StepTicked
from scalesim.proxy.core.model import FAR, AgentName, Clock, SimulationId

from .answers import StepAnswer, TakenAnswer
from .bodies import SIMULATION_PATTERN, ActionsBody, DistancesBody, SimulationPath, TickBody, UpdateBody
from .desk import Desk
from .problems import Problem


def hint_routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["hints"])
    of_a_simulation = "/admin/v1/simulations/{simulation}"

    @router.post(of_a_simulation + "/distances")
    async def tell_distances(simulation: SimulationPath, body: DistancesBody) -> TakenAnswer:
        """How soon agents call next. Agents that are left out keep what was known of them."""
        name = SimulationId(simulation)
        desk.check_known(name, body.distances, create=body.create_agents)
        distances = {AgentName(agent): FAR if at is None else at for agent, at in body.distances.items()}
        desk.runtime.post(DistanceHinted(desk.clock(), name, body.unit.clock, distances))
        desk.check_taken(name, distances)
        return TakenAnswer(simulation=name, agents=len(distances))

    @router.post(of_a_simulation + "/actions")
    async def tell_actions(simulation: SimulationPath, body: ActionsBody) -> TakenAnswer:
        """How long agents act from now on, in the simulated world, without calling."""
        name = SimulationId(simulation)
        desk.check_known(name, body.durations, create=body.create_agents)
        now = desk.clock()
        for agent, duration in body.durations.items():
            desk.runtime.post(ActionStarted(now, name, AgentName(agent), duration, body.unit.clock))
        desk.check_taken(name, body.durations)
        return TakenAnswer(simulation=name, agents=len(body.durations))

    @router.post(of_a_simulation + "/ticks")
    async def tick(simulation: SimulationPath, body: TickBody | None = None) -> StepAnswer:
        """A step of the simulation begins. Without a number: the next one."""
        name = SimulationId(simulation)
        desk.simulation(name)
        desk.runtime.post(StepTicked(desk.clock(), name, body.step if body else None))
        return StepAnswer(simulation=name, step=desk.simulation(name).step)

    @router.post(of_a_simulation + "/agents/{agent:path}/leave")
    async def leave(simulation: SimulationPath, agent: str) -> TakenAnswer:
        """The agent will not call again and is forgotten."""
        name = SimulationId(simulation)
        desk.check_known(name, [agent], create=False)
        desk.runtime.post(AgentLeft(desk.clock(), name, AgentName(agent)))
        return TakenAnswer(simulation=name, agents=1)

    @router.post("/v1/update")
    async def update(
        body: UpdateBody,
        x_simulation_id: Annotated[str, Header(pattern=SIMULATION_PATTERN)] = "default",
    ) -> TakenAnswer:
        """KVFlow's call: distances in steps. Each is also a step of the simulation (do not send ticks as well), and it
        creates the simulation and its agents: that API has no other way for either."""
        try:
            told = body.distances()
        except ValueError as exc:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(exc)) from exc
        name = SimulationId(x_simulation_id)
        distances = {AgentName(agent): steps for agent, steps in told.items()}
        now = desk.clock()
        # KVFlow's own client sends one update per step and nothing else that says that time passes. Without the tick
        # what an update tells of an agent would still stand when later updates leave that agent out.
        desk.runtime.post(StepTicked(now, name))
        desk.runtime.post(DistanceHinted(now, name, Clock.STEPS, distances))
        desk.check_taken(name, distances)
        return TakenAnswer(simulation=name, agents=len(distances))

    return router
