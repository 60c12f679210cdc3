"""What a placement rule is shown of a call and of the engines, and what it answers. Pure; a rule keeps nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple, Protocol

from .hashing import weighted_score
from .model import AdapterName, EngineId


class Why(StrEnum):
    """The reason for a place, as it is told to a person who asks."""

    HOME = "home"
    """Its memory is there."""
    DETOUR = "detour"
    """Its memory stays where it is: there are too many calls, or none may be sent there now. This call alone comes here."""
    NEW = "new"
    """Nobody knows of memory of it."""
    FORGOTTEN = "forgotten"
    """The engine with its memory started anew."""
    LOST = "lost"
    """The engine with its memory is gone, or drains."""
    ALONE = "alone"
    """It has no memory of its own: nobody knows who calls."""
    RULE = "rule"
    """The rule looks at no memory."""


MOVING = frozenset({Why.NEW, Why.FORGOTTEN, Why.LOST})
"""The caller's memory is to be where the call goes, from now on."""


class Asked(NamedTuple):
    """A call that wants a place."""

    key: str | None
    """Whose memory it needs; the same in every process. None: nobody knows, and nobody will call for it again."""
    home: EngineId | None = None
    """Where that memory is, whether or not the engine may be used now."""
    adapter: AdapterName | None = None
    prefix: str | None = None
    """The name of a beginning that its prompt shares with those of others."""
    size_tokens: int = 0
    """Of its memory, as far as it is known."""
    turn: int = 0
    """How many calls have been placed before it."""
    without_home: Why = Why.NEW
    """Why it has no home, where it has none."""


@dataclass(slots=True, eq=False)
class Site:
    """An engine, as placement sees it."""

    engine: EngineId
    part: float = 1.0
    """What it is entitled to, against that of the others: its size, times its share. Above 0."""
    share: float = 1.0
    """Less than 1, and above 0, as long as it has not been back for long."""
    running: int = 0
    """Calls."""
    held_tokens: int = 0
    """Memory of the agents that have their home here, on whichever of its tiers."""
    adapters: dict[AdapterName, int] = field(default_factory=dict)
    """How many of these agents use each; none is zero."""
    prefixes: dict[str, int] = field(default_factory=dict)
    """How many of these agents begin with each; none is zero."""
    life: int = 0
    """How often it started anew: what came to it in another life is forgotten."""


class Placed(NamedTuple):
    engine: EngineId
    why: Why


@dataclass(frozen=True, slots=True)
class Bounds:
    """How uneven it may get."""

    spare_calls: float = 0.25
    """An engine may run so much more than its fair share of the calls, as a share of that..."""
    unhurried_calls: int = 16
    """... and always so many: a batch of a few costs no more than one."""
    spare_memory: float = 0.1
    """So much more than its fair share of all agents' memory an engine may hold, and still get new agents..."""
    spare_together: float = 0.25
    """... and so much more, if they share an adapter or a beginning with those it has; as long as no engine has so much less."""

    def __post_init__(self) -> None:
        for name in ("spare_calls", "unhurried_calls", "spare_memory", "spare_together"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, and has to be at least 0")


class Rule(Protocol):
    def __call__(self, asked: Asked, sites: Sequence[Site], bounds: Bounds) -> Placed:
        """`sites` are those that may be used for the call, at least one. O(sites)."""
        ...


def has_room_for_a_call(site: Site, sites: Sequence[Site], bounds: Bounds) -> bool:
    """It is one of `sites`, and with one call more it is still within its bounds."""
    # A whole number below a bound: with one more it is at most that bound, rounded up.
    return site.running < bounds.unhurried_calls * site.share or site.running < site.part * _most_calls(
        sites, bounds
    )


def with_room_for_calls(sites: Sequence[Site], bounds: Bounds) -> list[Site]:
    """Those that have room for a call. Never none."""
    few, most = bounds.unhurried_calls, _most_calls(sites, bounds)
    found = [site for site in sites if site.running < few * site.share or site.running < site.part * most]
    return found or [min(sites, key=lambda site: (site.running / site.part, site.engine))]


def with_room_for_memory(sites: Sequence[Site], size_tokens: int, spare: float) -> list[Site]:
    """Those that hold so much more than their fair share at most. Never none."""
    together = sum([site.held_tokens for site in sites]) + max(1, size_tokens)
    most = _most(together, sites, spare)
    found = [site for site in sites if site.held_tokens < site.part * most]
    return found or [min(sites, key=lambda site: (site.held_tokens / site.part, site.engine))]


def left_behind(sites: Sequence[Site], size_tokens: int, spare: float) -> list[Site]:
    """Those that hold so much less than their fair share, or even less."""
    together = sum([site.held_tokens for site in sites]) + max(1, size_tokens)
    least = _most(together, sites, -spare)
    return [site for site in sites if site.held_tokens < site.part * least]


def is_crowded(site: Site, sites: Sequence[Site], bounds: Bounds) -> bool:
    """It holds more than its bound."""
    together = sum([one.held_tokens for one in sites])
    return site.held_tokens > site.part * _most(together, sites, bounds.spare_memory)


def _most_calls(sites: Sequence[Site], bounds: Bounds) -> float:
    return _most(sum([site.running for site in sites]) + 1, sites, bounds.spare_calls)


def _most(together: float, sites: Sequence[Site], spare: float) -> float:
    """For each unit of an engine's part."""
    return (1 + spare) * together / sum([site.part for site in sites])


def highest(key: str, sites: Sequence[Site]) -> Site:
    """By rendezvous."""
    if len(sites) == 1:
        return sites[0]
    return max(sites, key=lambda site: (weighted_score(key, site.engine, site.part), site.engine))


def least_loaded(sites: Sequence[Site]) -> Site:
    return min(sites, key=lambda site: ((site.running + 1) / site.part, site.engine))


def drawn_together(asked: Asked, sites: Sequence[Site], more: Sequence[Site] = ()) -> Site:
    """Where its adapter or the beginning of its prompt is already. Where that is at none of these engines, all that share it
    open the same one next. `more` take it only to bring it together with others, where none of `sites` does."""
    if asked.adapter is not None:
        holding = [site for site in sites if asked.adapter in site.adapters]
        holding = holding or [site for site in more if asked.adapter in site.adapters]
        if not holding:
            return highest(asked.adapter, sites)
        sites, more = holding, ()
    if asked.prefix is not None:
        holding = [site for site in sites if asked.prefix in site.prefixes]
        holding = holding or [site for site in more if asked.prefix in site.prefixes]
        if not holding:
            # Nobody is known by a call that nobody is: all of a kind would pile up where the first of them went.
            return least_loaded(sites) if asked.key is None else highest(asked.prefix, sites)
        sites = holding
    return least_loaded(sites) if asked.key is None else highest(asked.key, sites)
