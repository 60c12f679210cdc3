"""Where agents are and where they go, and who has interacted with whom."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from http import HTTPStatus

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from scalesim.proxy.core.events import Event, Interacted, Moved, SpaceCleared, SpaceSet
from scalesim.proxy.core.model import AgentName, Clock, SimulationId
from scalesim.proxy.core.space import Motion, SpaceRules

from .answers import TakenAnswer
from .bodies import InteractionsBody, PositionsBody, SimulationPath, SpaceBody
from .desk import Desk
from .incoming import of_many, whole
from .pieces import all_known, all_taken, in_turns, pieces, posted
from .problems import SHOWN, Problem, some


class SpaceAnswer(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "simulation": "town",
                "unit": "steps",
                "radius": 4,
                "speed": 30,
                "cooldown": 26.67,
                "horizon": 12,
            }
        }
    )

    simulation: str
    unit: Clock
    radius: float
    speed: float
    cooldown: float
    horizon: float = Field(description="So far ahead meetings are looked for.")


def space_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/simulations/{simulation}", tags=["spaces"])

    @router.put("/space")
    async def set_space(simulation: SimulationPath, body: SpaceBody) -> SpaceAnswer:
        """Says that agents have places, and when two of them may interact. With other numbers than before all positions
        are forgotten; with the same ones nothing changes."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        desk.post(SpaceSet(desk.clock(), name, body.rules()))
        return _space(name)

    @router.get("/space")
    async def space(simulation: SimulationPath) -> SpaceAnswer:
        """By which rules its agents meet."""
        return _space(SimulationId(simulation))

    @router.delete("/space", status_code=HTTPStatus.NO_CONTENT)
    async def forget_space(simulation: SimulationPath) -> None:
        """With all positions: agents are expected by what else is known of them."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        desk.post(SpaceCleared(desk.clock(), name))

    @router.post("/positions", openapi_extra=of_many(PositionsBody))
    async def tell_positions(simulation: SimulationPath, request: Request) -> TakenAnswer:
        """Where agents are and where they go, from now on. Agents that are left out stay, or go on, as was told before.

        From that the proxy expects each to call when it comes within the radius of another one, unless the two have
        just interacted."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        body = await whole(request, PositionsBody, desk.uploads)
        motions: dict[AgentName, Motion] = {}
        try:
            async for agents in in_turns(body.agents()):
                motions.update((AgentName(agent), body.motion(agent)) for agent in agents)
        except ValueError as exc:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, f"{exc}; nothing was changed") from exc
        async with desk.turn(name):
            await all_known(desk, name, motions, create=body.create_agents)
            _rules(name)
            await _all_placed(name, (agent for agent, motion in motions.items() if motion.position is None))
            now = desk.clock()
            await posted(desk, name, (Moved(now, name, dict(piece)) for piece in pieces(motions.items())))
            await all_taken(desk, name, motions)
        desk.catch_up()
        return TakenAnswer(simulation=name, agents=len(motions))

    @router.post("/interactions", openapi_extra=of_many(InteractionsBody))
    async def tell_interactions(simulation: SimulationPath, request: Request) -> TakenAnswer:
        """These have just interacted: they do not do so again before their cooldown is over."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        body = await whole(request, InteractionsBody, desk.uploads)
        agents: dict[str, None] = {}
        async for pairs in in_turns(body.pairs):
            agents.update((agent, None) for pair in pairs for agent in pair)
        async with desk.turn(name):
            await all_known(desk, name, agents, create=False)
            _rules(name)
            await _all_placed(name, agents)
            await posted(desk, name, _interacted(name, body.pairs))
        desk.catch_up()
        return TakenAnswer(simulation=name, agents=len(agents))

    def _interacted(name: SimulationId, pairs: Iterable[tuple[str, str]]) -> Iterator[Event]:
        now = desk.clock()
        for piece in pieces(pairs):
            yield Interacted(now, name, [(AgentName(one), AgentName(other)) for one, other in piece])

    def _space(name: SimulationId) -> SpaceAnswer:
        rules = _rules(name, HTTPStatus.NOT_FOUND)
        return SpaceAnswer(
            simulation=name,
            unit=rules.clock,
            radius=rules.radius,
            speed=rules.speed,
            cooldown=rules.cooldown,
            horizon=rules.horizon,
        )

    def _rules(name: SimulationId, otherwise: HTTPStatus = HTTPStatus.CONFLICT) -> SpaceRules:
        desk.check_simulation(name)
        rules = desk.controller.space_rules(name)
        if rules is None:
            raise Problem(
                otherwise,
                f"the simulation {name!r} has no space; PUT /admin/v1/simulations/{name}/space gives it one; "
                "nothing was changed",
                simulation=name,
            )
        return rules

    async def _all_placed(name: SimulationId, agents: Iterable[str]) -> None:
        async for piece in in_turns(agents):
            lost = [one for one in piece if not desk.controller.has_position(name, AgentName(one))]
            if lost:
                raise Problem(
                    HTTPStatus.CONFLICT,
                    f"no position is known of {some(lost)}; nothing was changed",
                    simulation=name,
                    agents=lost[:SHOWN],
                )

    return router
