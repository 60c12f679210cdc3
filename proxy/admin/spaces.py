"""Where agents are and where they go, and who has interacted with whom."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, BackgroundTasks
from pydantic import BaseModel, ConfigDict, Field

from scalesim.proxy.core.events import Idled, Interacted, Moved, SpaceSet
from scalesim.proxy.core.model import AgentName, Clock, SimulationId

from .answers import TakenAnswer
from .bodies import InteractionsBody, PositionsBody, SimulationPath, SpaceBody
from .desk import Desk
from .pieces import caught_up, pieces, posted
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
        desk.simulation(name)
        rules = body.rules()
        desk.runtime.post(SpaceSet(desk.clock(), name, rules))
        return SpaceAnswer(
            simulation=name,
            unit=rules.clock,
            radius=rules.radius,
            speed=rules.speed,
            cooldown=rules.cooldown,
            horizon=rules.horizon,
        )

    @router.post("/positions")
    async def tell_positions(
        simulation: SimulationPath, body: PositionsBody, background: BackgroundTasks
    ) -> TakenAnswer:
        """Where agents are and where they go, from now on. Agents that are left out stay, or go on, as was told before.

        From that the proxy expects each to call when it comes within the radius of another one, unless the two have
        just interacted."""
        name = SimulationId(simulation)
        try:
            motions = body.motions()
        except ValueError as exc:
            raise Problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(exc)) from exc
        desk.check_known(name, motions, create=body.create_agents)
        _check_space(name)
        _check_placed(name, [agent for agent, motion in motions.items() if motion.position is None])
        now = desk.clock()
        await posted(desk, name, (Moved(now, name, dict(piece)) for piece in pieces(motions.items())))
        desk.check_taken(name, motions)
        _catch_up(background)
        return TakenAnswer(simulation=name, agents=len(motions))

    @router.post("/interactions")
    async def tell_interactions(
        simulation: SimulationPath, body: InteractionsBody, background: BackgroundTasks
    ) -> TakenAnswer:
        """These have just interacted: they do not do so again before their cooldown is over."""
        name = SimulationId(simulation)
        agents = list(dict.fromkeys(agent for pair in body.pairs for agent in pair))
        desk.check_known(name, agents, create=False)
        _check_space(name)
        _check_placed(name, agents)
        now = desk.clock()
        pairs = [(AgentName(one), AgentName(other)) for one, other in body.pairs]
        await posted(desk, name, (Interacted(now, name, piece) for piece in pieces(pairs)))
        _catch_up(background)
        return TakenAnswer(simulation=name, agents=len(agents))

    def _catch_up(background: BackgroundTasks) -> None:
        # A small town's meetings are there with the answer; who tells of a large one does not wait for them.
        desk.runtime.post(Idled(desk.clock()))
        background.add_task(caught_up, desk)

    def _check_space(name: SimulationId) -> None:
        if desk.controller.space_rules(name) is None:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"the simulation {name!r} has no space; PUT /admin/v1/simulations/{name}/space gives it one; "
                "nothing was changed",
                simulation=name,
            )

    def _check_placed(name: SimulationId, agents: list[str] | list[AgentName]) -> None:
        lost = [one for one in agents if not desk.controller.has_position(name, AgentName(one))]
        if lost:
            raise Problem(
                HTTPStatus.CONFLICT,
                f"no position is known of {some(lost)}; nothing was changed",
                simulation=name,
                agents=lost[:SHOWN],
            )

    return router
