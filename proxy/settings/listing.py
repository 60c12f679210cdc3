"""All settings, for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import StrEnum

from scalesim.proxy.core.durations import Scale
from scalesim.proxy.core.model import Part
from scalesim.proxy.engines.registry import Address
from scalesim.proxy.recognition.guess import Rung

from .definitions import Settings
from .live import LIVE

_WORDS: Mapping[str, type[StrEnum]] = {"parts": Part, "recognise": Rung}


@dataclass(frozen=True, slots=True)
class Listed:
    name: str
    default: str
    """As it would be written. Empty: there is none, or nothing is set."""
    about: str
    is_secret: bool
    """Its value is never shown."""
    is_live: bool
    """A new value holds as soon as the config file was read again. The others hold from the next start on."""
    _value: object = field(repr=False)

    def is_set_in(self, settings: Settings) -> bool:
        """To another value than the default."""
        return bool(getattr(settings, self.name) != self._value)


def listed() -> list[Listed]:
    """In the order of their definition."""
    return [
        Listed(
            one.name,
            written(one.name, one.default),
            one.metadata["about"],
            is_secret=not one.repr,
            is_live=one.name in LIVE,
            _value=one.default,
        )
        for one in fields(Settings)
    ]


def written(name: str, value: object) -> str:
    """As in the environment. Not for secrets."""
    match value:
        case bool():
            return "on" if value else "off"
        case None if name == "answers":
            return "off"
        case None | dataclasses.MISSING:
            return ""
        case frozenset():
            return _words(value, frozenset(_WORDS[name]))
        case Scale():
            return f"{value.per_minute:g} {value.clock}"
        case tuple():
            return ",".join(_part(one) for one in value)
    return str(value)


def _words(value: frozenset[object], everything: frozenset[object]) -> str:
    if value == everything:
        return "all"
    return ",".join(sorted(map(str, value))) or "none"


def _part(one: object) -> str:
    match one:
        case Address():
            return f"{one.name}={one.base_url}"
        case (str(alias), str(model)):
            return f"{alias}={model}"
    return str(one)
