"""What there is to know of a contestant."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from scalesim.workloads.servers import ROOT, free_port

PROXIES = ROOT / ".proxies"
"""As `make proxies` leaves them, each in a folder of its own."""


class NotThere(Exception):
    """It cannot be started here; the text says why, and what would help."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a contestant runs."""

    host: str
    port: int
    engine_url: str
    folder: Path
    """Its own, there already, for what it needs to have in files."""
    proxies: Path = PROXIES

    def other_port(self) -> int:
        return free_port(self.host)

    def program(self, *parts: str) -> str:
        """Of the environment of a contestant. Raises `NotThere`."""
        path = self.proxies.joinpath(*parts)
        if not path.exists():
            raise NotThere(f"{path} is missing; `make proxies` makes it")
        return str(path)


@dataclass(frozen=True, slots=True)
class Start:
    command: Sequence[str]
    ready_url: str
    """Answers 200 once it serves."""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contestant:
    name: str
    start: Callable[[Place], Start]
    """Writes what it needs into its folder. Raises `NotThere`."""
    to_the_byte: bool = True
    """Whether its answers are the engine's own, or are written anew."""
    timeout_s: float = 60.0
    """To come up."""
    about: str = ""
    """What one has to know of it to compare it with others."""
