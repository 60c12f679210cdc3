"""What knows the engines, made out of the settings, and what has to be done for it now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import httpx

from scalesim.engine_adapters.any_engine import AnyEngine
from scalesim.engine_adapters.base import EngineAdapter
from scalesim.engine_adapters.control_calls import ControlCalls
from scalesim.engine_adapters.front import FrontAdapter
from scalesim.engine_adapters.front_kinds import KINDS
from scalesim.engine_adapters.sglang import SGLangAdapter
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.model import EngineId
from scalesim.proxy.core.placement import find
from scalesim.proxy.core.placer import Placer
from scalesim.proxy.core.placing import Bounds
from scalesim.proxy.engines.breaker import Breakers
from scalesim.proxy.engines.fleet import Fleet, Lines
from scalesim.proxy.engines.models import Models
from scalesim.proxy.engines.registry import Address, Registry
from scalesim.proxy.runtime import DEADLINE_S
from scalesim.proxy.settings import Settings

from .making import breaker_rules

TIDY_EVERY_S = 1.0
"""Between two looks at what time alone brings about."""


def fleet_of(
    settings: Settings,
    controller: Controller,
    lines: Lines,
    client: httpx.AsyncClient,
    known: Callable[[str], EngineId | None],
) -> Fleet:
    """Without an engine yet. `client` is for control calls; `known`: where the group knows an agent to live."""
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
            known=known,
        ),
        adapter_for=lambda address: adapter_for(address, client, settings.engine_api_key),
        lines=lines,
    )


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


async def kept_up(fleet: Fleet, clock: Callable[[], float]) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(TIDY_EVERY_S)
        fleet.tidy(clock())
