"""What knows the engines, made out of the settings, and what has to be done for it now and then."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import httpx

from scalesim.engine_adapters.any_engine import AnyEngine
from scalesim.engine_adapters.base import EngineAdapter
from scalesim.proxy.core.controller import Controller
from scalesim.proxy.core.placement import find
from scalesim.proxy.core.placer import Placer
from scalesim.proxy.core.placing import Bounds
from scalesim.proxy.engines.breaker import BreakerRules, Breakers
from scalesim.proxy.engines.fleet import Fleet, Lines
from scalesim.proxy.engines.models import Models
from scalesim.proxy.engines.registry import Address, Registry
from scalesim.proxy.runtime import DEADLINE_S
from scalesim.proxy.settings import Settings

TIDY_EVERY_S = 1.0
"""Between two looks at what time alone brings about."""


def fleet_of(settings: Settings, controller: Controller, lines: Lines, client: httpx.AsyncClient) -> Fleet:
    """Without an engine yet. `client` is for control calls."""

    def adapter_for(address: Address) -> EngineAdapter:
        return AnyEngine(
            address.name,
            address.base_url,
            client,
            api_key=settings.engine_api_key,
            deadline_s=DEADLINE_S,
        )

    return Fleet(
        registry=Registry(drain_s=settings.engine_drain_s),
        models=Models(dict(settings.aliases), is_registered=controller.knows_adapter),
        breakers=Breakers(
            replace(
                BreakerRules(),
                failures_in_a_row=settings.breaker_failures,
                rest_s=settings.breaker_rest_s,
                longest_rest_s=settings.breaker_longest_rest_s,
            )
        ),
        placer=Placer(
            find(settings.placement),
            Bounds(
                spare_calls=settings.placement_spare_calls,
                unhurried_calls=settings.placement_unhurried_calls,
                spare_memory=settings.placement_spare_memory,
                spare_together=settings.placement_spare_together,
            ),
            ramp_s=settings.placement_ramp_s,
        ),
        adapter_for=adapter_for,
        lines=lines,
    )


async def kept_up(fleet: Fleet, clock: Callable[[], float]) -> None:
    """Until cancelled."""
    while True:
        await asyncio.sleep(TIDY_EVERY_S)
        fleet.tidy(clock())
