"""`scalesim doctor`: what each engine can do for the proxy, and what to change."""

from __future__ import annotations

import asyncio

import httpx
import typer

from scalesim.engine_adapters.base import EngineError

from ..app import CannotJoin, store_of
from ..app.engines import adapter_for
from ..core.model import Capabilities
from ..engines.registry import Address
from ..runtime import DEADLINE_S
from ..settings import Settings
from .configured import settings_of
from .ending import PROBLEM, fail
from .options import Config, Engines


def doctor(engine: Engines = None, config: Config = None) -> None:
    """Ask each engine what it can do for the proxy, and Redis if there is one, and say what to change."""
    settings = settings_of({"engine": engine, "config": config})
    are_well = [_examine(settings, address) for address in settings.addresses]
    if settings.redis is not None:
        are_well.append(asyncio.run(_redis_is_well(settings)))
    if not all(are_well):
        raise typer.Exit(PROBLEM)


def _examine(settings: Settings, address: Address) -> bool:
    """Whether there is nothing to change."""
    print(f"engine        {address.base_url}")
    try:
        found = asyncio.run(_probe(settings, address))
    except (EngineError, TimeoutError) as exc:
        print(f"answers       no: {exc or 'not in time'}")
        print("to do         start the engine, or give its address with --engine")
        return False
    print("answers       yes")
    print(f"kind          {found.kind} {found.version}")
    print(
        f"plugin        {'active' if found.extended else 'not active: ' + (found.reason or 'no reason given')}"
    )
    print(f"capabilities  {', '.join(sorted(found.features)) or 'none'}")
    if found.capacity_tokens is not None:
        print(f"capacity      {found.capacity_tokens} tokens")
    if found.adapter_slots is not None:
        held = "any number" if found.host_adapters is None else found.host_adapters
        print(f"adapters      {found.adapter_slots} slots, {held} in host memory")
    if found.extended:
        print("to do         nothing")
        return True
    if address.front is not None:
        print("to do         what is lacking stands above; the proxy serves it as it is")
        return False
    print("to do         install the plugin into the engine's environment, and start the engine with")
    print(
        "              --radix-cache-backend scalesim; until then the proxy serves it, without a say in its cache"
    )
    return False


async def _redis_is_well(settings: Settings) -> bool:
    """Whether there is nothing to change."""
    print(f"group         {settings.group}, by Redis")
    try:
        store = store_of(settings)
    except CannotJoin as exc:
        fail(str(exc))
    from ..state.store import StateAway

    try:
        found = await store.about()
    except StateAway as exc:
        print(f"answers       no: {exc}")
        print("to do         start it, or give its address (redis), and its password where it wants one")
        return False
    finally:
        await store.close()
    print("answers       yes")
    print(f"kind          {found.server}{', a cluster' if found.is_cluster else ''}")
    print(f"leader        {found.leader or 'nobody now'}")
    if found.drops_keys:
        print("to do         set its maxmemory-policy to noeviction: it drops what other proxies still need")
        return False
    print("to do         nothing")
    return True


async def _probe(settings: Settings, address: Address) -> Capabilities:
    async with httpx.AsyncClient(trust_env=False) as client, asyncio.timeout(DEADLINE_S):
        return await adapter_for(address, client, settings.engine_api_key).probe()
