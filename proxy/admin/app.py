"""Puts the admin API together."""

from __future__ import annotations

from collections.abc import Callable

import httpx
from fastapi import FastAPI

import scalesim
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.events import Event
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.group_status import MemberStatus
from scalesim.proxy.observed import Observed
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.recording_status import RecordingStatus
from scalesim.proxy.settings import Settings

from . import problems
from .adapters import adapter_routes
from .answer_rules import answer_routes
from .configuration import configuration_routes
from .desk import Desk, Loop, Sized
from .engines import engine_routes
from .gate import Gate
from .graphs import graph_routes
from .hints import hint_routes
from .keys import key_routes
from .office import Office
from .passing import Passing
from .recipes import recipe_routes
from .simulations import simulation_routes
from .spaces import space_routes
from .status import status_routes
from .stories import story_routes
from .traces import trace_routes


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
    recording: Callable[[], RecordingStatus | None] = lambda: None,
    tell: Callable[[Event], None] | None = None,
    group: tuple[Callable[[], MemberStatus], httpx.AsyncClient] | None = None,
    observed: Observed | None = None,
    office: Office | None = None,
) -> FastAPI:
    """An ASGI app that must run on the event loop of `runtime`. `tables` are others whose sizes are told; `is_ending`, whether
    new calls are refused; `tell` takes what is told, if it is not the runtime. `group`: who leads the proxies that serve together,
    and what to reach the leader by; `office`, what can be changed of the proxy itself, else nothing can."""
    office = office or Office.of(settings)
    app = FastAPI(
        title="ScaleSim admin API",
        version=scalesim.__version__,
        description="Tell the proxy what a simulation knows, and look at what it makes of it.",
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
        office.configuration,
        clock,
        began=clock(),
        is_ending=is_ending,
        recording=recording,
        group=None if group is None else group[0],
        tell=tell,
        observed=observed or Observed(),
    )
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
    for office_routes in (configuration_routes, recipe_routes, trace_routes, key_routes):
        app.include_router(office_routes(desk, office))
    if group is not None:
        app.add_middleware(Passing, status=group[0], client=group[1])
    app.add_middleware(Gate, keyring=office.keyring)
    return app
