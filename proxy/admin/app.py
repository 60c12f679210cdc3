"""Puts the admin API together."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import httpx
from fastapi import FastAPI

import scalesim
from scalesim.proxy.action_log import ActionLog
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.events import Event
from scalesim.proxy.engines.fleet import Fleet
from scalesim.proxy.group_status import MemberStatus
from scalesim.proxy.observed import Observed
from scalesim.proxy.recognition.ladder import Ladder
from scalesim.proxy.recording_status import RecordingStatus
from scalesim.proxy.settings import Settings

from . import problems
from .actions import action_routes
from .adapters import adapter_routes
from .agents import agent_route, agent_routes
from .answer_rules import answer_routes
from .choices import choice_routes
from .configuration import configuration_routes
from .desk import Desk, Loop, Sized
from .engine_views import engine_view_routes
from .engines import engine_routes
from .gate import Gate
from .graphs import graph_routes
from .hints import hint_routes
from .keys import key_routes
from .live import Live, live_routes
from .loads import load_routes
from .office import Office
from .operation_routes import operation_routes
from .operations import Operations
from .pages import page_routes
from .passing import Passing
from .pins import pin_routes
from .plans import plan_routes
from .problem_routes import problem_routes
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
    operations: Operations | None = None,
    action_log: ActionLog | None = None,
) -> FastAPI:
    """An ASGI app that must run on the event loop of `runtime`. `tables` are others whose sizes are told; `is_ending`, whether
    new calls are refused; `tell` takes what is told, if it is not the runtime. `group`: who leads the proxies that serve together,
    and what to reach the leader by; `office`, what can be changed of the proxy itself, else nothing can; `operations`, those of who
    ends them in time (else none of them is ended); `action_log`, what `runtime` tells of its actions."""
    office = office or Office.of(settings)
    app = FastAPI(
        title="ScaleSim admin API",
        version=scalesim.__version__,
        description="Tell the proxy what a simulation knows, and look at what it makes of it.",
        docs_url=None,  # ours, which loads nothing from elsewhere
        redoc_url=None,
        responses=problems.RESPONSES,
    )
    problems.install(app)
    operations = operations or Operations(clock)
    action_log = action_log or ActionLog(clock, controller.why)
    desk = Desk(
        runtime,
        controller,
        fleet,
        callers,
        relay,
        (callers, operations, action_log, *tables),
        office.configuration,
        clock,
        began=clock(),
        is_ending=is_ending,
        recording=recording,
        operations=operations,
        action_log=action_log,
        group=None if group is None else group[0],
        tell=tell,
        observed=observed or Observed(),
    )
    live = Live(desk)
    desk = replace(desk, tables=(*desk.tables, live))
    for routes in (
        status_routes,
        engine_routes,
        engine_view_routes,
        plan_routes,
        choice_routes,
        simulation_routes,
        agent_routes,
        pin_routes,
        load_routes,
        story_routes,
        hint_routes,
        space_routes,
        graph_routes,
        adapter_routes,
        answer_routes,
        operation_routes,
        action_routes,
        agent_route,
        problem_routes,
    ):
        app.include_router(routes(desk))
    app.include_router(live_routes(live))
    app.include_router(page_routes())
    for office_routes in (configuration_routes, recipe_routes, trace_routes, key_routes):
        app.include_router(office_routes(desk, office))
    if group is not None:
        app.add_middleware(Passing, status=group[0], client=group[1])
    app.add_middleware(Gate, keyring=office.keyring)
    return app
