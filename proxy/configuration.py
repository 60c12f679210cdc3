"""The settings in force: where each came from, and how the config file is read again while the proxy runs.

What another file would change is worked out first, all of it; then every part that can take its new values gets them, in one turn of
the event loop, so that no request meets half of a change. Values that nobody can take before the next start are named, and stay.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace

from .errors import ScaleSimError
from .settings import LIVE, Loaded, Origin, Settings, SettingsError, Sources, loaded


class NoFile(ScaleSimError):
    """There is no config file: what came from the command line and the environment holds until the process ends."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a file would change, or has changed. Names of settings, in the order of their definition."""

    applied: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()
    """They have another value in the file, and keep theirs until the proxy is started anew."""


@dataclass(frozen=True, slots=True)
class _Step:
    change: Change
    settings: Settings
    """That will be in force."""
    wanted: Loaded


Apply = Callable[[Settings, Settings, frozenset[str]], None]
"""Gets the settings that were in force, those that are now, and which of them differ. Must not fail."""
Objection = Callable[[Settings], list[str]]
"""What is in the way of settings that are right by themselves, a line each. Nothing is changed by it."""


def _takes_nothing(before: Settings, now: Settings, changed: frozenset[str]) -> None:
    """Where nothing was made of the settings yet."""


@dataclass(slots=True)
class Configuration:
    """`apply` and `objections` may be given later, once there is somebody to take new values."""

    settings: Settings
    """In force."""
    sources: Sources | None = None
    """None: the settings were made by a program."""
    origins: Mapping[str, Origin] = field(default_factory=dict)
    apply: Apply = _takes_nothing
    objections: Objection = lambda _: []
    waiting: tuple[str, ...] = ()
    """Settings that got another value when the file was last read, and need a restart."""
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    @classmethod
    def read(cls, sources: Sources) -> Configuration:
        """Raises `SettingsError`."""
        first = loaded(sources)
        return cls(first.settings, sources, first.origins)

    @property
    def file(self) -> str | None:
        return None if self.sources is None else self.sources.config

    @property
    def can_be_read_again(self) -> bool:
        """Whether there is a file of which a signal may say that it is another one now."""
        in_force = self.settings
        return any((self.file, in_force.keys_file, in_force.tls_cert, in_force.admin_tls_cert))

    def with_ports(self, port: int, admin_port: int) -> Configuration:
        """For one of several processes that began with this one: it has these ports, whatever the file says."""
        settings = replace(self.settings, port=port, admin_port=admin_port, workers=1)
        sources = self.sources
        if sources is not None:
            own = {"port": port, "admin_port": admin_port, "workers": 1}
            sources = replace(sources, arguments={**sources.arguments, **own})
        return Configuration(settings, sources, self.origins)

    def origin(self, name: str) -> Origin:
        return self.origins.get(name, Origin.DEFAULT)

    async def tried(self, text: str) -> Change:
        """What would change if `text` were in the config file, and the file were read. Raises `SettingsError`."""
        # In a thread: a long text takes its time.
        if self.sources is None:
            nothing = Sources({}, {}, None)
            return self._step(await asyncio.to_thread(loaded, nothing, needed=(), text=text)).change
        return self._step(await asyncio.to_thread(loaded, self.sources, text=text)).change

    async def reload(self) -> Change:
        """Reads the file again. Raises `NoFile`, and `SettingsError`: then nothing was changed."""
        if self.sources is None or self.sources.config is None:
            raise NoFile(
                "there is no config file to read again: start the proxy with --config FILE, or change it and start anew"
            )
        async with self._turn:
            # The file may be on a slow disk.
            step = self._step(await asyncio.to_thread(loaded, self.sources))
            before, self.settings = self.settings, step.settings
            changed = frozenset(step.change.applied)
            origins = {name: step.wanted.origins.get(name, Origin.DEFAULT) for name in changed}
            self.origins = {**self.origins, **origins}
            self.waiting = step.change.restart
            self.apply(before, step.settings, changed)
            return step.change

    def _step(self, wanted: Loaded) -> _Step:
        """Raises `SettingsError`."""
        differ = [
            one.name
            for one in fields(Settings)
            if getattr(self.settings, one.name) != getattr(wanted.settings, one.name)
        ]
        applied = tuple(name for name in differ if name in LIVE)
        restart = tuple(name for name in differ if name not in LIVE)
        try:
            settings = replace(self.settings, **{name: getattr(wanted.settings, name) for name in applied})
        except SettingsError as exc:
            # Right as a whole, and wrong together with what stays as it is until a restart.
            told = f"together with what stays as it is until a restart ({', '.join(restart)})"
            raise SettingsError(*(f"{problem}; {told}" for problem in exc.problems)) from exc
        if problems := self.objections(settings):
            raise SettingsError(*problems)
        return _Step(Change(applied, restart), settings, wanted)
