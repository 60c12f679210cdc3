"""The feed over REST, as server-sent events."""

from __future__ import annotations

from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Header, Query
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from scalesim.proxy.core.model import SimulationId

from .bodies import SIMULATION_PATTERN
from .live import LISTENERS, Live
from .problems import Problem

_EXAMPLE = (
    'id: 5f0c-1\nevent: picture\ndata: {"at":812.5,"overview":{"simulations":{"town":{"mode":"on","agents":24}}},'
    '"field":{"words":[[0,"engine-0"],[1,"device"],[2,"steps"],[3,"hinted"]],'
    '"agents":[[0,0,0,1,2,17.0,3,null,"Ann"]]}}\n\n'
    'id: 5f0c-2\nevent: change\ndata: {"at":813.5,"overview":{"simulations":{"town":{"calls":311}}}}\n\n'
)


class _Stream(StreamingResponse):
    """Begins to listen when it is sent, and not before; whatever ends it, it listens no more."""

    media_type = "text/event-stream"

    def __init__(self, live: Live, simulation: SimulationId | None, last_id: str) -> None:
        super().__init__(_nothing(), headers={"cache-control": "no-store", "x-accel-buffering": "no"})
        self._listening = live.listening(simulation, last_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._listening as listener:
            self.body_iterator = listener.messages()
            await super().__call__(scope, receive, send)


async def _nothing() -> AsyncIterator[bytes]:
    return
    yield b""


def live_routes(live: Live) -> APIRouter:
    router = APIRouter(tags=["live"])

    @router.get(
        "/admin/v1/live",
        response_class=StreamingResponse,
        responses={
            200: {
                "description": "Events, until the client leaves.",
                "content": {"text/event-stream": {"example": _EXAMPLE}},
            },
            503: {"description": "There are as many listeners as there may be. None was dropped."},
        },
    )
    async def changes(
        simulation: Annotated[
            str | None,
            Query(pattern=SIMULATION_PATTERN, description="Whose agents are told; none: nobody's."),
        ] = None,
        last_event_id: Annotated[
            str | None, Header(max_length=64, description="Of the last event that came: go on after it.")
        ] = None,
    ) -> _Stream:
        """Server-sent events: a `picture` first, then a `change` each second. `overview` of a change is a JSON merge patch (RFC
        7396) of that of the picture. `field` holds a row for each agent that is new or not as it was: number, engine, state (0
        idle, 1 between two calls of an activation, 2 calling), place of its prefix, clock, moment on that clock at which its
        next call is expected, who says so, how sure it is who calls, and, if it is new, its name. Words stand in `words`, by
        their numbers; `clocks` are where each clock stands now, and how many seconds one unit of it takes. A simulation that
        is not known yet is waited for."""
        if live.is_full:
            raise Problem(
                HTTPStatus.SERVICE_UNAVAILABLE, f"{LISTENERS} listeners are there already", limit=LISTENERS
            )
        return _Stream(live, None if simulation is None else SimulationId(simulation), last_event_id or "")

    return router
