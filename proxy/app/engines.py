"""What knows the engines, made out of the settings, and what has to be done for it now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import httpx

from scalesim.engine_adapters.any_engine import AnyEngine
from scalesim.engine_adapters.base import EngineAdapter
from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.engine_adapters.front import FrontAdapter
from scalesim.engine_adapters.front_kinds import KINDS
from scalesim.engine_adapters.sglang import SGLangAdapter
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.events import Event, Rehomed
from scalesim.proxy.core.model import AgentName, EngineId, SimulationId
from scalesim.proxy.core.placement import BY_MEMORY, find
from scalesim.proxy.core.placer import Placer
from scalesim.proxy.core.placing import Bounds
from scalesim.proxy.core.rebalancing import Far
from scalesim.proxy.engines.breaker import Breakers
from scalesim.proxy.engines.fleet import Fleet, Lines
from scalesim.proxy.engines.models import Models
from scalesim.proxy.engines.registry import Address, Registry
from scalesim.proxy.runtime import DEADLINE_S
from scalesim.proxy.settings import Settings

from .making import breaker_rules

TIDY_EVERY_S = 1.0
"""Between two looks at what time alone brings about."""
LOOKED_AT = 256
"""Agents of an engine that holds too much, of whom some may move: the farthest of all."""


def fleet_of(
    settings: Settings,
    controller: Controller,
    lines: Lines,
    client: httpx.AsyncClient,
    known: Callable[[str, str | None], EngineId | None],
) -> Fleet:
    """Without an engine yet. `client` is for control calls; `known`: as in `Placer`."""
    return Fleet(
        registry=Registry(drain_s=settings.engine_drain_s),
        models=Models(dict(settings.aliases), is_registered=controller.knows_adapter),
        breakers=Breakers(breaker_rules(settings)),
        placer=Placer(
            find(settings.placement),
            Bounds(
                spare_calls=settings.placement_spare_calls,
                unhurried_calls=settings.placement_unhurried_calls,
                spare_memory=settings.placement_spare_memory,
                spare_together=settings.placement_spare_together,
            ),
            ramp_s=settings.placement_ramp_s,
            # The other rules look at no memory: where it is would only be kept, and counted.
            known=known if settings.placement == BY_MEMORY else _nobody_knows,
        ),
        adapter_for=lambda address: adapter_for(address, client, settings.engine_api_key),
        lines=lines,
    )


def _nobody_knows(key: str, prefix: str | None) -> EngineId | None:
    return None


def known_here(controller: Controller, key: str) -> EngineId | None:
    """Where the core knows the memory of an agent to be that placement calls so; it may have been told by the process before this one.
    Not of one with memory for several models: the core knows where its last call went, and not for which of them."""
    simulation, _, agent = key.partition("/")
    if "\n" in agent:
        return None
    return controller.keeping.engine_of(SimulationId(simulation), AgentName(agent))


def adapter_for(address: Address, client: httpx.AsyncClient, api_key: str | None) -> EngineAdapter:
    """Of an engine, or of a front end and the engines that are listed behind it."""

    def calls(name: EngineId, url: str) -> ControlCalls:
        return ControlCalls(name, url, client, api_key=api_key, deadline_s=DEADLINE_S)

    itself, front = calls(address.name, address.base_url), address.front
    if front is None:
        return AnyEngine(itself)
    return FrontAdapter(
        KINDS[front.kind],
        itself,
        SGLangAdapter(itself),
        [SGLangAdapter(calls(EngineId(f"{address.name} > {url}"), url)) for url in front.engines],
        hints=dict(front.hints),
    )


async def kept_up(fleet: Fleet, clock: Callable[[], float], move: Callable[[float], object]) -> None:
    """Until cancelled. `move`: see `Moves`."""
    while True:
        await asyncio.sleep(TIDY_EVERY_S)
        fleet.tidy(clock())
        move(clock())


class Moves:
    """Has agents that call late leave engines that hold too much: nobody waits for that, and what they left behind has no distance
    there any more, so it leaves first. One process of a group does it for all."""

    def __init__(
        self,
        fleet: Fleet,
        controller: Controller,
        post: Callable[[Event], None],
        leads: Callable[[], bool],
        beyond_s: float,
    ) -> None:
        self._fleet = fleet
        self._controller = controller
        self._post = post
        self._leads = leads
        self._beyond_s = beyond_s

    def __call__(self, at: float) -> None:
        if not self._leads():
            return
        for far, engine in self._fleet.move_far(self._far_on, at, self._beyond_s):
            self._post(Rehomed(at, far.simulation, far.agent, engine))

    def _far_on(self, engine: EngineId) -> Sequence[Far]:
        return self._controller.far(engine, self._beyond_s, LOOKED_AT)
