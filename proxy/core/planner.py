"""Plans the engines, in pieces: none of them holds whoever runs the core for more than about a millisecond.

A plan is made of what was known when its pieces ran; whatever came meanwhile makes the next one due.
"""

from __future__ import annotations

from collections.abc import Generator
from copy import copy
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from . import policies
from .actions import Action
from .agenda import Agenda
from .agent import Agent
from .config import ControllerConfig
from .engine import Engine
from .estimate import Estimator
from .events import PreviewAsked
from .loading import Loading
from .model import EngineId, MemoryId, Mode, Owner
from .planning import Nearest, Reach, Sight, adapter_pin_limit, completed, keep_invariants, look
from .preview import Foreseen, Intended, Preview
from .reasons import why
from .reconciler import Belief
from .wanted import Policy, Wanted
from .world import World

PIECE = 64
"""Agents that are looked at in answer to one event."""
_LIGHT = 8
"""Passes over a plan cost so much less than looking at its agents."""

_SENT = frozenset({Mode.ON})
_COMPUTED = frozenset({Mode.ON, Mode.SHADOW})


class _Draft(NamedTuple):
    """What is wanted, before anything is left out of it that is switched off or that the engine cannot do."""

    wanted: Wanted
    nearest: Nearest
    sight: Sight
    corrected: bool
    """The policy wanted what is not allowed."""


@dataclass(slots=True)
class _Desk:
    """What is being worked at for one engine."""

    engine: Engine
    agenda: Agenda = field(default_factory=Agenda)
    plan: Generator[int, None, list[Action]] | None = None
    catching_up: Generator[int, None, None] | None = None
    asked: PreviewAsked | None = None
    """To be imagined, which takes the place of a plan."""

    @property
    def is_behind(self) -> bool:
        is_planning = self.plan is not None or self.asked is not None
        return is_planning or self.catching_up is not None or self.agenda.is_behind(self.engine)


class Planner:
    def __init__(
        self, world: World, loading: Loading, config: ControllerConfig, policy: Policy, estimate: Estimator
    ) -> None:
        self._world = world
        self._loading = loading
        self._config = config
        self._policies: dict[str, Policy] = {config.policy: policy}
        """By their names: to find one looks into a folder."""
        self._policy = config.policy
        self._estimate = estimate
        self._reach = Reach(config.prefetch_steps, config.prefetch_s)
        self._desks: dict[EngineId, _Desk] = {}
        """Of each engine known."""
        self.previews: dict[EngineId, Preview] = {}
        """The last of each."""
        self._imagined = 0
        self._at = 0.0

    def configure(self, config: ControllerConfig) -> None:
        """As `Controller.configure`: of plans that begin from now on."""
        self._config = config
        self._reach = Reach(config.prefetch_steps, config.prefetch_s)

    @property
    def behind(self) -> bool:
        """Whether `go_on` would do anything."""
        return any(desk.is_behind for desk in self._desks.values())

    @property
    def is_planning(self) -> bool:
        return any(desk.plan is not None or desk.asked is not None for desk in self._desks.values())

    def is_due(self, engine: Engine) -> bool:
        return engine.dirty and (engine.belief.is_free(engine.features) or engine.loads_ahead)

    def act(self, at: float) -> list[Action]:
        """Begins what is due, and does a piece of it. Where few agents are known that is all of it."""
        self._at = at
        left = PIECE
        for engine in self._world.engines.values():
            desk = self._desk(engine)
            if engine.wake_at <= at:
                engine.dirty = True
            if desk.plan is None:
                left = self._catch_up(desk, left)
                if self.is_due(engine) and not engine.belief.waits(at):
                    # What comes while it is made is for the next one.
                    engine.dirty, engine.planning = False, True
                    desk.plan = self._plan(desk)
        actions = self._go_on(left)
        for engine in self._world.engines.values():
            if engine.reachable:
                actions += engine.belief.renewal(engine.id, at)
        return actions

    def go_on(self, at: float, pieces: int = 1) -> list[Action]:
        """So many pieces of what was begun: plans first, and then what was told of agents that no plan waits for."""
        self._at = at
        return self._go_on(pieces * PIECE)

    def _go_on(self, left: int) -> list[Action]:
        actions: list[Action] = []
        for desk in self._desks.values():
            if desk.plan is None and desk.asked is not None:
                desk.plan = self._imagine(desk, desk.asked)
            while desk.plan is not None and left > 0:
                try:
                    left -= next(desk.plan)
                except StopIteration as end:
                    desk.plan, desk.engine.planning = None, False
                    actions += end.value
        if actions:
            return actions  # an engine waits for them: the rest is for the next piece
        for desk in self._desks.values():
            if desk.plan is None:
                left = self._catch_up(desk, left)
        return actions

    @property
    def configured_policy(self) -> str:
        """Of the settings: that of all engines until another is chosen."""
        return self._config.policy

    def policy_of(self, engine: Engine | None) -> str:
        """None: of all engines that have none of their own."""
        return self._policy if engine is None or engine.policy is None else engine.policy

    def set_policy(self, engine: Engine | None, name: str | None) -> None:
        """Raises `ValueError` for one that there is not. None of an engine: it has none of its own any more."""
        if name is not None and name not in self._policies:
            self._policies[name] = policies.find(name)
        if engine is not None:
            engine.policy = name
            self.give_up(engine)
            engine.dirty = True
        elif name is not None:
            self._policy = name
            self.give_up_all()
            self._world.population.mark_all()

    def preview(self, engine: Engine, asked: PreviewAsked) -> None:
        """`previews` has it once it was worked out. Of two that were asked for before that, the second."""
        self._desk(engine).asked = asked

    def _desk(self, engine: Engine) -> _Desk:
        desk = self._desks.get(engine.id)
        if desk is None:
            desk = self._desks[engine.id] = _Desk(engine)
        return desk

    def give_up(self, engine: Engine) -> None:
        """What is being planned for it is of no use any more."""
        desk = self._desks.get(engine.id)
        if desk is not None and desk.plan is not None:
            desk.plan, engine.planning, engine.dirty = None, False, True

    def forget(self, engine: Engine) -> None:
        """It is not there any more."""
        self._desks.pop(engine.id, None)
        self.previews.pop(engine.id, None)

    def give_up_all(self) -> None:
        for engine in self._world.engines.values():
            self.give_up(engine)

    def farthest(self, engine: Engine, limit: int) -> list[Agent]:
        """Of those for whom anything is sent: as `Agenda.farthest`."""
        desk = self._desks.get(engine.id)
        return [] if desk is None else desk.agenda.farthest(_SENT, self._at, limit)

    def sizes(self) -> dict[str, int]:
        return {
            "previews": len(self.previews),
            "agenda_agents": sum(len(desk.agenda) for desk in self._desks.values()),
            "noted_agents": sum(
                len(desk.engine.noted) + len(desk.engine.called) for desk in self._desks.values()
            ),
        }

    def _catch_up(self, desk: _Desk, left: int) -> int:
        while left > 0 and (desk.catching_up is not None or desk.agenda.is_behind(desk.engine)):
            if desk.catching_up is None:
                desk.catching_up = desk.agenda.catch_up(desk.engine, self._estimate, self._at)
            done = next(desk.catching_up, None)
            if done is None:
                desk.catching_up = None
            left -= done or 0
        return left

    def _plan(self, desk: _Desk) -> Generator[int, None, list[Action]]:
        engine, begun, totals = desk.engine, self._at, self._world.totals
        yield from desk.agenda.bring_up(engine, self._estimate, begun)
        modes = engine.modes
        budget_tokens = int(self._config.pin_share * (engine.capacity_tokens or 0))
        sent = yield from self._draft(desk, _SENT, begun, budget_tokens)
        imagined = None
        if Mode.SHADOW in modes:
            imagined = yield from self._draft(desk, _COMPUTED, begun, budget_tokens)
            totals.shadow_plans += 1
        # From here on all at once: what is wanted of the engine, its budget and what is on its way belong together.
        totals.plans += 1
        totals.corrected_plans += sent.corrected + (imagined is not None and imagined.corrected)
        engine.go_on()
        engine.plays_shadow = Mode.ON not in modes
        engine.wake_at = sent.sight.wake_at
        engine.budget_tokens, engine.adapter_pin_limit = budget_tokens, adapter_pin_limit(engine)
        engine.wanted = self._completed(sent, engine)
        engine.shadow = None if imagined is None else self._completed(imagined, engine)
        engine.rehearse((imagined if imagined and engine.plays_shadow else sent).wanted.order)
        actions = self._steps(engine, sent.sight)
        yield len(sent.nearest) // _LIGHT
        shadow_loads: frozenset[MemoryId] = frozenset()
        if imagined is not None:
            shadow_loads = yield from self._shadow_loads(engine, sent, imagined)
        totals.shadow_loads += len(shadow_loads - engine.shadow_loads)
        engine.shadow_loads = shadow_loads
        if engine.loads_ahead:
            actions += yield from self._loading.plan(engine, sent.nearest, sent.sight, self._at)
        return actions

    def _imagine(self, desk: _Desk, asked: PreviewAsked) -> Generator[int, None, list[Action]]:
        """As `_plan`, but that nothing is sent, and that the engine is left as it is."""
        engine = desk.engine
        yield from desk.agenda.bring_up(engine, self._estimate, self._at)
        budget_tokens = int(self._config.pin_share * (engine.capacity_tokens or 0))
        draft = yield from self._draft(desk, _COMPUTED if asked.shadow else _SENT, self._at, budget_tokens)
        wanted, belief, sight = self._completed(draft, engine), copy(engine.belief), draft.sight
        sizes = _sizes(wanted, belief, sight)
        actions, complete = belief.steps(engine.id, wanted, sizes, budget_tokens, engine.features, self._at)
        memories: frozenset[MemoryId] = frozenset()
        yield len(draft.nearest) // _LIGHT
        if engine.loads_ahead:
            loads, memories = yield from self._loading.imagine(engine, draft.nearest, sight, self._at)
            actions += loads
        pinned, foreseen = frozenset(wanted.pins), list[Foreseen]()
        for owner, _ in draft.wanted.order[: asked.limit]:
            foreseen.append(self._foreseen(owner, sight, owner in pinned))
            if len(foreseen) % _LIGHT == 0:
                yield _LIGHT
        self._imagined += 1
        policy = self.policy_of(engine)
        self.previews[engine.id] = Preview(
            number=self._imagined,
            at=self._at,
            engine=engine.id,
            shadow=asked.shadow,
            policy=policy,
            by_distance=engine.by_distance,
            charge="" if engine.guard is None else engine.guard.state().reason,
            order=foreseen,
            ordered=len(draft.wanted.order),
            pins=wanted.pins,
            pin_budget_tokens=budget_tokens,
            pinned_tokens=sum(sizes[owner] for owner in wanted.pins),
            adapters=wanted.adapters[: asked.limit],
            pinned_adapters=wanted.pinned_adapters,
            actions=[
                Intended(action, why(action, self._world, self._estimate, policy, self._at, memories))
                for action in actions
            ],
            waits=_why_it_waits(engine, complete, self._at),
        )
        desk.asked = None
        return []

    def _foreseen(self, owner: Owner, sight: Sight, pinned: bool) -> Foreseen:
        agent = sight.agents[owner]
        known = self._estimate(agent, self._at)
        return Foreseen(
            owner=owner,
            simulation=agent.simulation.id,
            agent=agent.name,
            distance_s=sight.seconds[owner],
            source=None if known is None else known.source,
            in_activation=owner in sight.active,
            near=owner in sight.near,
            pinned=pinned,
            size_tokens=agent.size_tokens,
        )

    def _draft(
        self, desk: _Desk, modes: frozenset[Mode], at: float, budget_tokens: int
    ) -> Generator[int, None, _Draft]:
        """What the policy wants, as far as it is allowed to, shared out among simulations."""
        engine = desk.engine
        weights = engine.weights(modes, at)
        pins = self._world.pins
        held = pins.granted(engine, modes)
        sight = yield from look(
            desk.agenda,
            engine,
            modes,
            self._estimate,
            at,
            pin_budget_tokens=budget_tokens - sum(held.values()),
            plan_limit=self._config.plan_limit,
            weights=weights,
            reach=self._reach,
        )
        sight.held, sight.held_adapters = held, pins.granted_adapters()
        asks = self._world.asks
        sight.asked_adapters = asks.adapters(at)
        sight.wake_at = min(sight.wake_at, pins.next_end, asks.next_end)
        # Each pass over all of them in a piece of its own.
        yield len(sight.agents) // _LIGHT
        asked = self._policies[self.policy_of(engine)](sight.view)
        yield len(sight.agents) // _LIGHT
        wanted = keep_invariants(asked, sight.view)
        corrected = wanted != asked
        if held:
            others = (owner for owner in wanted.pins if owner not in held)
            wanted = replace(wanted, pins=(*held, *others))
        yield len(sight.agents) // _LIGHT
        nearest = sight.nearest(wanted)
        yield len(sight.agents) // _LIGHT
        if len(weights) > 1 and engine.capacity_tokens is not None:
            wanted = replace(wanted, order=tuple(sight.shared_out(wanted.order, engine.capacity_tokens)))
            nearest = sight.shared_out(nearest, engine.capacity_tokens)
            yield len(sight.agents) // _LIGHT
        return _Draft(wanted, nearest, sight, corrected)

    def _completed(self, draft: _Draft, engine: Engine) -> Wanted:
        leaving = self._world.adapters.leaving
        return completed(draft.wanted, draft.nearest, draft.sight, engine, self._config.parts, leaving)

    def _shadow_loads(
        self, engine: Engine, sent: _Draft, imagined: _Draft
    ) -> Generator[int, None, frozenset[MemoryId]]:
        """What would be loaded ahead for those in shadow, and is not."""
        wants = self._loading.wants
        also = yield from wants(engine, sent.nearest, sent.sight, self._at)
        all_of_them = yield from wants(engine, imagined.nearest, imagined.sight, self._at)
        return frozenset(want.memory for want in all_of_them) - {want.memory for want in also}

    def _steps(self, engine: Engine, sight: Sight) -> list[Action]:
        belief = engine.belief
        sizes = _sizes(engine.wanted, belief, sight)
        engine.pinned_tokens = sum(sizes[owner] for owner in engine.wanted.pins)
        actions, complete = belief.steps(
            engine.id, engine.wanted, sizes, engine.budget_tokens, engine.features, self._at
        )
        engine.blocked = not complete
        return actions


def _sizes(wanted: Wanted, belief: Belief, sight: Sight) -> dict[Owner, int]:
    """The tokens of all that is to be pinned, and of whatever else may be pinned and is known."""
    pins = {*wanted.pins, *belief.pins, *belief.doubtful}
    sizes = {
        one.owner: one.size_tokens
        for one in sight.view.candidates
        if one.owner in pins and one.size_tokens is not None
    }
    return sizes | dict(sight.held)


def _why_it_waits(engine: Engine, complete: bool, at: float) -> str:
    if not engine.reachable:
        return "the engine cannot be reached"
    if engine.belief.waits(at):
        return "the engine failed of late, and is left alone for a moment"
    return "" if complete else "what is on its way to the engine has to arrive first"
