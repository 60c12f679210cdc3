"""Puts calls on engines: what a rule needs to know of agents and engines, kept up to date by those who tell.

Engines come up, start anew, are lost and leave; calls begin and end. An engine that comes up while others have work gets its
share little by little, so that not all that the others are glad to be rid of arrives at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from heapq import nlargest
from typing import NamedTuple

from .homes import Home, Homes
from .model import AdapterName, EngineId
from .placing import MOVING, Asked, Bounds, Placed, Rule, Site, Why, is_crowded, least_loaded
from .rebalancing import Allowance, better_home

FIRST_SHARE = 0.1
"""Of what an engine is entitled to, when it has just come up."""
_LOOKED_AT = 4
"""Times as many agents as may move are looked at: those that live where there is room stay."""
_AT_HOME = MOVING | {Why.HOME}


class Caller(NamedTuple):
    """What is known of a call before it has a place."""

    key: str | None
    """As in `Asked`. Where engines serve several models, it should name the model, too: an agent has memory for each."""
    adapter: AdapterName | None = None
    prefix: str | None = None


class Move(NamedTuple):
    key: str
    before: EngineId
    after: EngineId


@dataclass(slots=True, eq=False)
class _Engine:
    site: Site
    weight: float = 1.0
    boot_id: str | None = None
    up_at: float | None = None
    """Since when its share grows; None: it has all of it."""
    keeps: bool = True
    """What it holds will be of use again: it is neither lost nor draining."""
    leaving: bool = False
    """It is in no list any more, and only its last calls are waited for."""


class Placer:
    def __init__(
        self,
        rule: Rule,
        bounds: Bounds | None = None,
        *,
        agent_limit: int = 200_000,
        ramp_s: float = 30.0,
        moves_per_s: float = 1.0,
        moves_at_once: int = 16,
        known: Callable[[str, str | None], EngineId | None] = lambda key, prefix: None,
    ) -> None:
        """`known`: where others, who place the same agents, know one to live whose prompts begin so."""
        self._rule = rule
        self._bounds = bounds or Bounds()
        self._homes = Homes(agent_limit)
        self._ramp_s = ramp_s
        self._known = known
        self._moves = Allowance(moves_per_s, moves_at_once)
        self._engines: dict[EngineId, _Engine] = {}
        self._growing: dict[EngineId, _Engine] = {}
        self._turn = 0
        self.placed: dict[Why, int] = dict.fromkeys(Why, 0)
        """Calls, by the reason for their place."""
        self.moved = 0
        """Agents that got another home while they did not call."""

    def sizes(self) -> dict[str, int]:
        return {"placed_agents": len(self._homes), "placed_engines": len(self._engines)}

    # Engines

    def expect(self, name: EngineId) -> None:
        """It is to come up: until then it is one of the lost."""
        engine = self._engines.get(name)
        if engine is None:
            self._engines[name] = _Engine(Site(name), keeps=False)
        else:
            engine.leaving = False

    def come_up(self, name: EngineId, boot_id: str | None, at: float, *, weight: float = 1.0) -> None:
        """It answers. With another `boot_id` than before it has forgotten everything; asked again and again, it is as it
        was. `weight`: its size against that of others, best the tokens of its cache."""
        if not weight > 0:
            raise ValueError(f"engine {name!r} has the weight {weight}, and it has to be above 0")
        engine = self._engines.get(name)
        is_back = engine is None or not engine.keeps
        if engine is None:
            engine = self._engines[name] = _Engine(Site(name))
        if engine.boot_id != boot_id and engine.boot_id is not None:
            self._homes.forget(engine.site)
            is_back = True
        engine.boot_id, engine.keeps, engine.leaving = boot_id, True, False
        engine.weight = weight
        self._entitle(engine, engine.site.share)
        others = (one.site for one in self._engines.values() if one is not engine and one.keeps)
        if is_back and self._ramp_s > 0 and any(site.running or site.held_tokens for site in others):
            engine.up_at = at
            self._growing[name] = engine
            self._grow(at)

    def weigh(self, name: EngineId, weight: float) -> None:
        """Of an engine that is known; as in `come_up`."""
        engine = self._engines.get(name)
        if engine is not None:
            engine.weight = weight
            self._entitle(engine, engine.site.share)

    def lose(self, name: EngineId) -> None:
        """It does not answer, or drains: from their next call on, its agents live elsewhere. Who does not call until it comes
        up, as the same process, still has memory there."""
        engine = self._engines.get(name)
        if engine is not None:
            engine.keeps = False

    def remove(self, name: EngineId) -> None:
        """It will not come back."""
        engine = self._engines.get(name)
        if engine is not None:
            engine.keeps, engine.leaving = False, True
            self._homes.forget(engine.site)
            self._drop_if_left(engine)

    # Calls

    def place(
        self, caller: Caller, usable: Collection[EngineId], at: float, *, lost: bool = False
    ) -> Placed | None:
        """The engine of a call that begins now. None: no engine may be used. `usable`: those that serve its model, and have
        neither an open breaker nor failed this very call; best a set. `lost`: those that are not up are meant. To be ended with `end`, also before it is placed again."""
        if self._growing:
            self._grow(at)
        sites = self._lost_sites(usable) if lost else self._sites(usable)
        if not sites:
            return None
        placed = self._rule(self._asked(caller), sites, self._bounds)
        self._turn += 1
        self.placed[placed.why] += 1
        site = self._engines[placed.engine].site
        site.running += 1
        if caller.key is not None and placed.why in _AT_HOME:
            self._homes.settle(caller.key, site, caller.adapter, caller.prefix)
        return placed

    def end(self, name: EngineId, key: str | None = None, size_tokens: int | None = None) -> None:
        """A call there has ended. `size_tokens`: what its agent's memory takes up by now, if that is known."""
        engine = self._engines.get(name)
        if engine is None:
            return
        engine.site.running = max(0, engine.site.running - 1)
        self._drop_if_left(engine)
        if key is not None and size_tokens is not None:
            self._homes.resize(key, size_tokens)

    def forget(self, key: str) -> None:
        """The agent left."""
        self._homes.drop(key)

    def look_again(self, keys: Iterable[str]) -> None:
        """Others may know these to live elsewhere by now."""
        for key in keys:
            home = self._homes.peek(key)
            if home is not None and self._known(key, home.prefix) not in (None, home.site.engine):
                self._homes.drop(key)

    def home_of(self, key: str) -> EngineId | None:
        home = self._homes.of(key)
        return None if home is None or self._lost(home.site, home.life) else home.site.engine

    def loads(self) -> dict[EngineId, tuple[int, int]]:
        """Calls that run, and tokens of agents that live there."""
        return {name: (one.site.running, one.site.held_tokens) for name, one in self._engines.items()}

    def running(self, name: EngineId) -> int:
        """Calls; none of an engine that is not known."""
        engine = self._engines.get(name)
        return 0 if engine is None else engine.site.running

    def least_loaded(self, usable: Collection[EngineId], *, lost: bool = False) -> EngineId | None:
        """For what is no call and is not counted. As in `place`."""
        sites = self._lost_sites(usable) if lost else self._sites(usable)
        return least_loaded(sites).engine if sites else None

    # Agents that do not call

    def crowded(self, usable: Collection[EngineId], at: float) -> list[EngineId]:
        """Those that hold more than their bound, as long as agents may move; the fullest first."""
        self._grow(at)
        sites = self._sites(usable)
        if len(sites) < 2 or self._moves.left(at) <= 0:
            return []
        found = [site for site in sites if is_crowded(site, sites, self._bounds)]
        return [one.engine for one in sorted(found, key=lambda one: -one.held_tokens / one.part)]

    def rebalance(
        self, far: Iterable[tuple[str, float]], usable: Collection[EngineId], at: float, horizon: float
    ) -> list[Move]:
        """Gives other homes to agents beyond the horizon, the farthest first, as far as moves are allowed. `far`: agents that
        do not call, with their distances; all of one clock."""
        self._grow(at)
        left = self._moves.left(at)
        sites = self._sites(usable)
        moves: list[Move] = []
        if left <= 0 or len(sites) < 2:
            return moves
        beyond = ((distance, key) for key, distance in far if distance > horizon)
        for _, key in nlargest(_LOOKED_AT * left, beyond):
            home = self._homes.peek(key)
            if home is None or self._lost(home.site, home.life):
                continue
            asked = Asked(key, home.site.engine, home.adapter, home.prefix, home.size_tokens)
            target = better_home(asked, home.site, sites, self._bounds)
            if target is None:
                continue
            moves.append(Move(key, home.site.engine, target.engine))
            self._homes.settle(key, target, home.adapter, home.prefix)
            self._moves.take()
            self.moved += 1
            if len(moves) >= left:
                break
        return moves

    def _sites(self, usable: Collection[EngineId]) -> list[Site]:
        """In the order in which they were first heard of, whatever the order of `usable` is."""
        return [one.site for name, one in self._engines.items() if one.keeps and name in usable]

    def _lost_sites(self, usable: Collection[EngineId]) -> list[Site]:
        return [one.site for name, one in self._engines.items() if not one.keeps and name in usable]

    def _asked(self, caller: Caller) -> Asked:
        key, turn = caller.key, self._turn
        if key is None:
            return Asked(None, adapter=caller.adapter, prefix=caller.prefix, turn=turn)
        home = self._homes.of(key)
        if home is None or self._homes.is_forgotten(home) or self._lost(home.site, home.life):
            home = self._settled_as_known(key, caller) or home
        if home is None:
            usual = self._homes.usual_tokens
            return Asked(key, None, caller.adapter, caller.prefix, usual, turn)
        size = home.size_tokens
        if self._homes.is_forgotten(home) or self._lost(home.site, home.life):
            engine = self._engines.get(home.site.engine)
            is_gone = engine is None or engine.site is not home.site or not engine.keeps
            why = Why.LOST if is_gone else Why.FORGOTTEN
            return Asked(key, None, caller.adapter, caller.prefix, size, turn, why)
        return Asked(key, home.site.engine, caller.adapter, caller.prefix, size, turn)

    def _settled_as_known(self, key: str, caller: Caller) -> Home | None:
        known, home = self._known(key, caller.prefix), self._homes.peek(key)
        engine = None if known is None else self._engines.get(known)
        # That an engine forgot somebody, others need not know yet.
        if engine is None or not engine.keeps or (home is not None and home.site is engine.site):
            return None
        self._homes.settle(key, engine.site, caller.adapter, caller.prefix)
        return self._homes.peek(key)

    def _lost(self, site: Site, life: int) -> bool:
        engine = self._engines.get(site.engine)
        return engine is None or engine.site is not site or not engine.keeps or life != site.life

    def _grow(self, at: float) -> None:
        for name, engine in list(self._growing.items()):
            assert engine.up_at is not None
            share = FIRST_SHARE + (1 - FIRST_SHARE) * (at - engine.up_at) / self._ramp_s
            self._entitle(engine, min(1.0, max(FIRST_SHARE, share)))
            if engine.site.share == 1.0:
                engine.up_at = None
                del self._growing[name]

    def _entitle(self, engine: _Engine, share: float) -> None:
        engine.site.share, engine.site.part = share, share * engine.weight

    def _drop_if_left(self, engine: _Engine) -> None:
        if engine.leaving and not engine.site.running:
            self._engines.pop(engine.site.engine, None)
            self._growing.pop(engine.site.engine, None)
