"""Puts the admin API together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fastapi import FastAPI

import scalesim
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.recording_status import RecordingStatus
from scalesim.proxy.settings import Settings

from . import problems
from .adapters import adapter_routes
from .answer_rules import answer_routes
from .desk import Desk, Loop, Sized
from .engines import engine_routes
from .gate import Gate
from .graphs import graph_routes
from .hints import hint_routes
from .live import Live, live_routes
from .pages import page_routes
from .simulations import simulation_routes
from .spaces import space_routes
from .status import status_routes
from .stories import story_routes


def create_admin(
    runtime: Loop,
    controller: Controller,
    relay: Sized,
    callers: Ladder,
    settings: Settings,
    clock: Callable[[], float],
    *tables: Sized,
    fleet: Fleet,
    is_ending: Callable[[], bool] = lambda: False,
    recording: Callable[[], RecordingStatus] | None = None,
) -> FastAPI:
    """An ASGI app that must run on the event loop of `runtime`. `tables` are others whose sizes are told; `is_ending`, whether
    new calls are refused."""
    app = FastAPI(
        title="ScaleSim admin API",
        version=scalesim.__version__,
        description="Tell the proxy what a simulation knows, and look at what it makes of it.",
        docs_url=None,  # ours, which loads nothing from elsewhere
        redoc_url=None,
        responses=problems.RESPONSES,
    )
    problems.install(app)
    desk = Desk(
        runtime,
        controller,
        fleet,
        callers,
        (relay, callers, *tables),
        settings,
        clock,
        began=clock(),
        is_ending=is_ending,
        recording=recording,
    )
    live = Live(desk)
    desk = replace(desk, tables=(*desk.tables, live))
    for routes in (
        status_routes,
        engine_routes,
        simulation_routes,
        story_routes,
        hint_routes,
        space_routes,
        graph_routes,
        adapter_routes,
        answer_routes,
    ):
        app.include_router(routes(desk))
    app.include_router(live_routes(live))
    app.include_router(page_routes())
    app.add_middleware(Gate, keys=settings.admin_keys)
    return app
