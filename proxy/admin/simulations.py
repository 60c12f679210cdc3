"""Simulations: which there are, how they do, and what is done for them."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Response

from scalesim.proxy.core.events import EstimatorSet, ModeSet, SimulationEnded
from scalesim.proxy.core.model import Mode, SimulationId

from .answers import SimulationAnswer, SimulationsAnswer
from .bodies import ModeBody, SimulationBody, SimulationPath
from .desk import Desk


def simulation_routes(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/admin/v1/simulations", tags=["simulations"])

    @router.get("")
    async def every_simulation() -> SimulationsAnswer:
        """All simulations that called or were created."""
        return SimulationsAnswer(
            simulations=[SimulationAnswer.of(one) for one in desk.controller.simulations()]
        )

    @router.get("/{simulation}")
    async def one_simulation(simulation: SimulationPath) -> SimulationAnswer:
        """How it does: what was counted, and how well its calls were foreseen."""
        return SimulationAnswer.of(desk.simulation(simulation))

    @router.put(
        "/{simulation}", responses={201: {"description": "It was created.", "model": SimulationAnswer}}
    )
    async def create(
        simulation: SimulationPath, response: Response, body: SimulationBody | None = None
    ) -> SimulationAnswer:
        """Makes a simulation known before its first call, so that hints for it are taken. Again: changes nothing."""
        name = SimulationId(simulation)
        is_new = not desk.controller.knows(name)
        asked = body.mode if body else None
        if is_new or asked is not None:
            _set_mode(name, asked or desk.settings.mode)
        if body is not None and body.estimator is not None:
            desk.post(EstimatorSet(desk.clock(), name, body.estimator))
        if is_new:
            response.status_code = HTTPStatus.CREATED
        return SimulationAnswer.of(desk.simulation(name))

    @router.put("/{simulation}/mode")
    async def set_mode(simulation: SimulationPath, body: ModeBody) -> SimulationAnswer:
        """off: serve only; shadow: decide and count, send nothing; on: command the engine."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        _set_mode(name, body.mode)
        return SimulationAnswer.of(desk.simulation(name))

    @router.delete("/{simulation}", status_code=HTTPStatus.NO_CONTENT)
    async def end(simulation: SimulationPath) -> None:
        """Forgets the simulation and its agents. Its running calls end as usual."""
        name = SimulationId(simulation)
        desk.check_simulation(name)
        desk.post(SimulationEnded(desk.clock(), name))

    def _set_mode(name: SimulationId, mode: Mode) -> None:
        desk.post(ModeSet(desk.clock(), name, mode))
        desk.check_taken(name)

    return router
