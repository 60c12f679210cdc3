"""Engines: which there are, how they are, and who gets the calls. They come and go here while the proxy runs."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Query, Response

from scalesim.proxy.core.model import EngineId
from scalesim.proxy.engines.registry import Address, EngineRejected, NameTaken, RegistryFull
from scalesim.proxy.settings import leads_to_ourselves

from .bodies import EngineBody, EnginePath
from .desk import Desk
from .engine_answers import EngineAnswer, EnginesAnswer, PlacementAnswer, engines_of
from .problem_types import ProblemType
from .problems import Problem


def engine_routes(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["engines"])
    of_engines = "/admin/v1/engines"
    fleet = desk.fleet

    @router.get(of_engines)
    async def engines() -> EnginesAnswer:
        """What each engine is, what is believed of it, and what runs there."""
        return EnginesAnswer(engines=engines_of(desk))

    @router.post(of_engines, responses={201: {"description": "It was new.", "model": EngineAnswer}})
    async def register(body: EngineBody, response: Response) -> EngineAnswer:
        """From now on it is looked for, and gets calls as soon as it answers. Again, with the same URL: changes nothing but its
        weight, or ends its draining; so an engine may register itself as often as it likes."""
        name = EngineId(body.name)
        if problems := leads_to_ourselves(desk.settings, body.url):
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"{problems[0]}; nothing was changed", ProblemType.INVALID
            )
        is_new = fleet.registry.get(name) is None
        try:
            fleet.add(Address(name, body.url, body.weight), desk.clock())
        except NameTaken as exc:
            raise Problem(
                HTTPStatus.CONFLICT, f"{exc}; nothing was changed", ProblemType.NAME_TAKEN, engine=name
            ) from exc
        except RegistryFull as exc:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{exc}; nothing was changed", ProblemType.REGISTRY_FULL
            ) from exc
        except EngineRejected as exc:
            raise Problem(
                HTTPStatus.UNPROCESSABLE_ENTITY, f"{exc}; nothing was changed", ProblemType.INVALID
            ) from exc
        if is_new:
            response.status_code = HTTPStatus.CREATED
        return _answer(name)

    @router.get(of_engines + "/{engine}")
    async def one_engine(engine: EnginePath) -> EngineAnswer:
        """What it is, what is believed of it, and what runs there."""
        return _answer(desk.check_engine(engine).address.name)

    @router.delete(
        of_engines + "/{engine}",
        status_code=HTTPStatus.NO_CONTENT,
        response_model=None,
        responses={202: {"description": "Calls run there: it leaves with the last.", "model": EngineAnswer}},
    )
    async def remove(
        engine: EnginePath,
        response: Response,
        drain: Annotated[
            bool, Query(description="false: at once. What runs there goes on, but nothing is asked of it.")
        ] = True,
    ) -> EngineAnswer | Response:
        """It gets no more calls, and leaves with its last one."""
        name = desk.check_engine(engine).address.name
        fleet.remove(name, desk.clock(), drain=drain)
        if fleet.registry.get(name) is None:
            return Response(status_code=HTTPStatus.NO_CONTENT)
        response.status_code = HTTPStatus.ACCEPTED
        return _answer(name)

    @router.get("/admin/v1/placement")
    async def placement() -> PlacementAnswer:
        """Which engine gets a call, and why: counted since the start."""
        return PlacementAnswer.of(desk)

    def _answer(engine: EngineId) -> EngineAnswer:
        return next(one for one in engines_of(desk) if one.engine == engine)

    return router
