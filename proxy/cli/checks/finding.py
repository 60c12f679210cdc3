"""One thing that the doctor looked at."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    OK = "ok"
    WARNING = "warning"
    """It works, but not as well or as safely as it could."""
    FAULT = "fault"
    """It does not work, or not for long."""


@dataclass(frozen=True, slots=True)
class Finding:
    about: str
    """What was looked at, like `engine a` or `port 8000`."""
    level: Level
    says: str
    todo: str = ""
    """What to do; empty: nothing."""
    unreachable: bool = False
    """Somebody else has to answer first."""


def ok(about: str, says: str, todo: str = "") -> Finding:
    return Finding(about, Level.OK, says, todo)


def warning(about: str, says: str, todo: str) -> Finding:
    return Finding(about, Level.WARNING, says, todo)


def fault(about: str, says: str, todo: str, *, unreachable: bool = False) -> Finding:
    return Finding(about, Level.FAULT, says, todo, unreachable)
