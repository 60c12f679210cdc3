"""The engines and proxies that the lanes of a comparison need, started when they are first asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .configurations import EngineKey, Lane
from .servers import Flavour, Server, Servers


class Fleet(Protocol):
    async def engines(self, keys: Collection[EngineKey]) -> Mapping[EngineKey, str]:
        """The base URLs of these engines, all up."""
        ...

    async def proxy(self, lane: Lane, engine_url: str) -> tuple[str, str]:
        """The URL for clients and the URL for hints of a new proxy for this lane."""
        ...

    def stop_proxies(self) -> None: ...


@dataclass(slots=True)
class ChildProcesses:
    """A fleet of child processes, but for engines that are running already."""

    servers: Servers
    capacity_tokens: int
    most_engines: int
    given: Mapping[Flavour, str] = field(default_factory=dict)
    """URLs of running engines, one of a flavour."""
    _engines: dict[EngineKey, Server] = field(default_factory=dict)
    _proxies: list[Server] = field(default_factory=list)

    async def engines(self, keys: Collection[EngineKey]) -> Mapping[EngineKey, str]:
        urls = {}
        missing = []
        for key in keys:
            build, _ = key
            if build.flavour in self.given:
                urls[key] = self.given[build.flavour]
            elif key not in self._engines:
                missing.append(key)
        self._make_room(len(missing), keys)
        for build, number in missing:
            name = f"engine-{build.name}-{number}"
            engine = self.servers.start_engine(name, build, self.capacity_tokens)
            self._engines[build, number] = engine
        for key in missing:
            await self.servers.engine_is_up(self._engines[key])
        return urls | {key: self._engines[key].url for key in keys if key not in urls}

    def _make_room(self, wanted: int, needed: Collection[EngineKey]) -> None:
        for key in [key for key in self._engines if key not in needed]:
            if len(self._engines) + wanted > self.most_engines:
                self.servers.stop(self._engines.pop(key))

    async def proxy(self, lane: Lane, engine_url: str) -> tuple[str, str]:
        configuration = lane.configuration
        assert configuration.mode is not None
        proxy = await self.servers.proxy(
            f"proxy-{lane.name}", engine_url, configuration.mode, configuration.parts
        )
        self._proxies.append(proxy)
        assert proxy.admin_url is not None
        return proxy.url, proxy.admin_url

    def stop_proxies(self) -> None:
        if self._proxies:
            self.servers.stop(*self._proxies)
        self._proxies.clear()
