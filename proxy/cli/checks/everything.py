"""All parts, looked at side by side."""

from __future__ import annotations

import asyncio
import os

from ...settings import Settings
from . import engines, group, keys, machine, ports
from .finding import Finding, fault


async def look_at_everything(settings: Settings, config: str | None) -> list[Finding]:
    """`config`: the file that the settings were read from, if any."""
    at_engines = [engines.look_at(settings, address) for address in settings.addresses]
    looked, redis, at_ports = await asyncio.gather(
        asyncio.gather(*at_engines),
        _redis(settings),
        asyncio.to_thread(ports.look_at, settings),
    )
    clocks = {
        one.address.name if url == one.address.base_url else url: told.clock_s
        for one in looked
        for url, told in one.told.items()
    }
    if redis is not None and not redis.problem:
        clocks["redis"] = redis.clock_s
    found = [*keys.findings(settings, os.environ, config), *ports.findings(at_ports)]
    if not looked:
        found.append(fault("engines", "there is none", "give --engine URL, or `engines` in the config file"))
    for one in looked:
        found += engines.findings(one)
    if redis is not None:
        found += group.findings(settings, redis)
    found += machine.of_clock({name: seconds for name, seconds in clocks.items() if seconds is not None})
    found += machine.of_files(settings, machine.files_limit())
    found += machine.of_disk(settings)
    return found


async def _redis(settings: Settings) -> group.Looked | None:
    return None if settings.redis is None else await group.look_at(settings)
